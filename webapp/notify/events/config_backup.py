"""The application's own settings were saved as a file."""

from dataclasses import dataclass
from typing import ClassVar, Self

from webapp.core import text
from webapp.notify.events.base import Event, Group
from webapp.notify.message import Field, Reader, Severity, Text


@dataclass(frozen=True, kw_only=True)
class ConfigBackup(Event):
    """A configuration backup was written."""

    type: ClassVar[str] = "config_backup"
    label: ClassVar[str] = "Configuration Backup"
    description: ClassVar[str] = "All settings of DBackup were saved as one file."
    group: ClassVar[Group | None] = Group.SYSTEM

    file: str
    size: int
    encrypted: bool
    destination: str

    def say(self, reader: Reader) -> Text:
        """Say which file was written where."""
        return Text(
            title="Configuration backup written",
            text=f"The settings of {reader.instance} were saved as one file. Destination: "
            f"{self.destination}.",
            severity=Severity.SUCCESS,
            fields=(
                Field("File", self.file, short=False),
                Field("Size", text.size(self.size)),
                Field("Encrypted", "yes" if self.encrypted else "no"),
                Field("Destination", self.destination),
            ),
            path="/settings/configuration-backup",
            link_label="Open configuration backup",
        )

    @classmethod
    def sample(cls) -> Self:
        """Return a plausible configuration backup."""
        return cls(
            file="dbackup-config-2026-03-01T02-15-04Z.json",
            size=18_400,
            encrypted=True,
            destination="Download by Mara Lindqvist",
        )
