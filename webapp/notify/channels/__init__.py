"""The channel types. A new one is its file and one line here."""

from typing import Final

from webapp.notify.channels.base import Channel

CHANNELS: Final[tuple[type[Channel], ...]] = ()
BY_TYPE: Final[dict[str, type[Channel]]] = {channel.type: channel for channel in CHANNELS}
