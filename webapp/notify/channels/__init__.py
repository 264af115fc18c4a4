"""The channel types. A new one is its file and one line here."""

from typing import Final

from webapp.notify.channels.apprise import Apprise
from webapp.notify.channels.base import Channel
from webapp.notify.channels.discord import Discord
from webapp.notify.channels.email import Email
from webapp.notify.channels.gotify import Gotify
from webapp.notify.channels.ntfy import Ntfy
from webapp.notify.channels.slack import Slack
from webapp.notify.channels.sms import Sms
from webapp.notify.channels.teams import Teams
from webapp.notify.channels.telegram import Telegram
from webapp.notify.channels.webhook import Webhook

CHANNELS: Final[tuple[type[Channel], ...]] = (
    Discord,
    Slack,
    Teams,
    Gotify,
    Ntfy,
    Webhook,
    Telegram,
    Sms,
    Email,
    Apprise,
)
BY_TYPE: Final[dict[str, type[Channel]]] = {channel.type: channel for channel in CHANNELS}
