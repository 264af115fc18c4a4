"""The channel types. A new one is its file and one line here."""

from typing import Final

from webapp.notify.channels.base import Channel
from webapp.notify.channels.discord import Discord
from webapp.notify.channels.email import Email
from webapp.notify.channels.webhook import Webhook

CHANNELS: Final[tuple[type[Channel], ...]] = (
    Discord,
    Webhook,
    Email,
)
BY_TYPE: Final[dict[str, type[Channel]]] = {channel.type: channel for channel in CHANNELS}
