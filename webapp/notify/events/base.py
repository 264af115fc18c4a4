"""What every event type is: plain facts that can say themselves."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

from webapp.notify.message import Reader, Text


class Group(StrEnum):
    """Groups of Settings → Notifications, in the order of the page."""

    AUTHENTICATION = "Authentication"
    RESTORE = "Restore"
    SYSTEM = "System"


@dataclass(frozen=True, kw_only=True)
class Event(ABC):
    """One occurrence. Subclasses are frozen dataclasses of JSON-ready fields, all with meaning
    for the reader; moments are ISO 8601 text with offset.
    """

    type: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str] = ""
    group: ClassVar[Group | None] = None
    """None: not a system event, it is announced per job or by its own page."""
    on_by_default: ClassVar[bool] = False
    can_notify_user: ClassVar[bool] = False

    @abstractmethod
    def say(self, reader: Reader) -> Text:
        """Return the event in plain words for this reader."""

    @classmethod
    @abstractmethod
    def sample(cls) -> Self:
        """Return a plausible occurrence for tests and previews."""

    @property
    def user_email(self) -> str | None:
        """Return the address of the person the event is about, if there is one."""
        return None

    def payload(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return dataclasses.asdict(self)

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Rebuild the event; fields that this version does not know are ignored.

        Raises:
            TypeError: a field that this version needs is missing.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in payload.items() if key in known})
