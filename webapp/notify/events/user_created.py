"""An account was added."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.base import Event, Group
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class UserCreated(Event):
    """An account was added; the direct mail is the new person's welcome."""

    type: ClassVar[str] = "user_created"
    label: ClassVar[str] = "User Created"
    description: ClassVar[str] = "An account was added, and by whom."
    group: ClassVar[Group | None] = Group.AUTHENTICATION
    can_notify_user: ClassVar[bool] = True

    user: str
    email: str
    created_by: str
    ip_address: str
    browser: str

    @property
    def user_email(self) -> str:
        """The new person."""
        return self.email

    def say(self, reader: Reader) -> Text:
        """Say whose account was added and by whom, or welcome the person."""
        if reader.is_the_user:
            return Text(
                title=f"Welcome to {reader.instance}, {self.user}",
                text=f"{self.created_by} made an account for you. Sign in with {self.email} and "
                "the password that you were given, then choose your own in your profile.",
                severity=Severity.INFO,
                fields=(Field("Email", self.email), Field("Created by", self.created_by)),
                path="/login",
                link_label="Sign in",
            )
        return Text(
            title=f"User created: {self.user}",
            text=f"{self.created_by} created an account for {self.user}.",
            severity=Severity.INFO,
            fields=(
                Field("User", self.user),
                Field("Email", self.email),
                Field("Created by", self.created_by),
                Field("IP address", self.ip_address),
                Field("Browser", self.browser),
            ),
            path="/users",
            link_label="Open users",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible new account."""
        return cls(
            user="Jonas Berg",
            email="jonas@example.org",
            created_by="Mara Lindqvist",
            ip_address="192.0.2.14",
            browser="Firefox on Linux",
        )
