"""Somebody signed in."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.notify.events.base import Event, Group
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class UserLogin(Event):
    """Somebody signed in to DBackup."""

    type: ClassVar[str] = "user_login"
    label: ClassVar[str] = "User Login"
    description: ClassVar[str] = "Someone signed in to DBackup. Includes the address and browser."
    group: ClassVar[Group | None] = Group.AUTHENTICATION
    can_notify_user: ClassVar[bool] = True

    user: str
    email: str
    ip_address: str
    browser: str

    @property
    def user_email(self) -> str:
        """The person who signed in."""
        return self.email

    def say(self, reader: Reader) -> Text:
        """Say who signed in, from where."""
        fields = (
            Field("User", self.user),
            Field("Email", self.email),
            Field("IP address", self.ip_address),
            Field("Browser", self.browser),
        )
        if reader.is_the_user:
            return Text(
                title=f"New sign-in to {reader.instance}",
                text="Someone signed in with your account. If this was you, there is nothing to "
                "do. If not, change your password at once and tell an administrator.",
                severity=Severity.INFO,
                fields=fields,
                path="/profile",
                link_label="Open your profile",
            )
        return Text(
            title=f"User login: {self.user}",
            text=f"{self.user} signed in.",
            severity=Severity.INFO,
            fields=fields,
            path="/users",
            link_label="Open users",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible sign-in."""
        return cls(
            user="Mara Lindqvist",
            email="mara@example.org",
            ip_address="192.0.2.14",
            browser="Firefox on Linux",
        )
