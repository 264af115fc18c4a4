"""The catalogue of event types. A new one is its file and one line here."""

from typing import Final

from webapp.notify.events.backup_cancelled import BackupCancelled
from webapp.notify.events.backup_failure import BackupFailure
from webapp.notify.events.backup_interrupted import BackupInterrupted
from webapp.notify.events.backup_missed import BackupMissed
from webapp.notify.events.backup_partial import BackupPartial
from webapp.notify.events.backup_success import BackupSuccess
from webapp.notify.events.base import Event, Group
from webapp.notify.events.channel_test import ChannelTest
from webapp.notify.events.config_backup import ConfigBackup
from webapp.notify.events.restore_complete import RestoreComplete
from webapp.notify.events.restore_failure import RestoreFailure
from webapp.notify.events.system_error import SystemError
from webapp.notify.events.user_created import UserCreated
from webapp.notify.events.user_login import UserLogin

EVENTS: Final[tuple[type[Event], ...]] = (
    UserLogin,
    UserCreated,
    RestoreComplete,
    RestoreFailure,
    ConfigBackup,
    SystemError,
    BackupSuccess,
    BackupPartial,
    BackupFailure,
    BackupCancelled,
    BackupInterrupted,
    BackupMissed,
    ChannelTest,
)
BY_TYPE: Final = {event.type: event for event in EVENTS}
SYSTEM_EVENTS: Final = tuple(event for event in EVENTS if event.group is not None)

__all__ = ["BY_TYPE", "EVENTS", "SYSTEM_EVENTS", "Event", "Group"]
