"""Opens stored channels: their sealed configuration and the secrets that it refers to."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from sqlalchemy.orm import Session

from webapp.core.errors import PermanentError
from webapp.models.channel import ChannelRow
from webapp.notify.channels import BY_TYPE
from webapp.notify.channels.base import Channel
from webapp.services.installation import installation

SUMMARY_LIMIT: Final = 200  # of the column


@dataclass(frozen=True)
class ChannelCopy:
    """What sending needs of a channel's row, as it was when it was read."""

    id: int
    type: str
    name: str
    config: str
    """Sealed, as in the row."""


StoredChannel: TypeAlias = ChannelRow | ChannelCopy


def config_of(row: StoredChannel) -> dict[str, Any]:
    """Return the stored configuration; references to secrets kept elsewhere stay references.

    Raises:
        SecretError: it was sealed with another key.
    """
    return installation().sealer.open(row.config)


def open_channel(row: StoredChannel) -> Channel:
    """Return the channel, ready to send, with every referenced secret read just now.

    Raises:
        SecretError: the configuration cannot be opened, or a reference leads nowhere.
        PermanentError: this version has no such channel type.
    """
    return _opened(row.type, row.config) or assemble(type_of(row.type), config_of(row))


@lru_cache(maxsize=128)
def _opened(type_name: str, sealed: str) -> Channel | None:
    """Return a channel that keeps its own secrets; None when it refers to secrets elsewhere,
    which are read anew for each message. An edit seals the configuration anew, so what is cached
    by it never goes stale.
    """
    channel_type = type_of(type_name)
    config = installation().sealer.open(sealed)
    resolved = channel_type.form.resolved(config)
    return channel_type(resolved) if resolved == config else None


def type_of(name: str) -> type[Channel]:
    """Return the channel type.

    Raises:
        PermanentError: this version has no such type.
    """
    if name not in BY_TYPE:
        raise PermanentError(
            f"This version of DBackup does not know the channel type “{name}”.",
            advice="Update DBackup, or delete the channel and add one of another type.",
            breaks_channel=True,
        )
    return BY_TYPE[name]


def assemble(channel_type: type[Channel], config: Mapping[str, Any]) -> Channel:
    """Return a channel of this type from a configuration that may refer to secrets elsewhere.

    Raises:
        SecretError: a reference leads nowhere.
    """
    return channel_type(channel_type.form.resolved(config))


def store_config_changes(session: Session, channel_id: int, changes: Mapping[str, Any]) -> None:
    """Store what a service told about the channel (a migrated chat id).

    The version stays: a form that is open meanwhile is not refused for it.
    """
    row = session.get(ChannelRow, channel_id)
    if row is None or not changes:
        return
    seal_into(row, config_of(row) | dict(changes))


def seal_into(row: ChannelRow, config: Mapping[str, Any]) -> None:
    """Put the configuration, and what may be shown of it, into the row."""
    row.config = installation().sealer.seal(config)
    row.summary = type_of(row.type).summarize(config)[:SUMMARY_LIMIT]
