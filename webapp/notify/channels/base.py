"""What every channel type is: a form, a rendering, a way to send."""

import builtins
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from webapp.core.buckets import Rate
from webapp.notify.channels.fields import ChannelForm
from webapp.notify.message import Message
from webapp.notify.outbound import Outbound, Way

EXCERPT_LIMIT = 2000
"""Characters of a service's answer that are kept for the log."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The very bytes to send, and where. `url` and `headers` may hold secrets; the body may too."""

    body: bytes
    content_type: str
    method: str = "POST"
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A service's word that it took the message."""

    status: str
    """The service's own code: "200", "250 2.0.0"."""
    words: str
    """One sentence for the person who pressed Test: "Discord answered 200."."""
    excerpt: str = ""
    """What the service said, at most EXCERPT_LIMIT characters."""
    config_changes: Mapping[str, Any] = field(default_factory=dict)
    """Values to store in the channel's configuration (a migrated chat id)."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a template needs to draw a message as the service shows it."""

    look: str
    """Names the template notifications/previews/_<look>.html."""
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Trouble:
    """One row of a channel type's troubleshooting."""

    sign: str
    """The error as the log shows it: "404 / 10015"."""
    meaning: str
    advice: str


class Channel(ABC):
    """A configured channel. It never logs, retries, or reads the database.

    Configurations are plain JSON-ready mappings, made by `form` and with references to secrets
    already resolved. A channel type may fall back to a simpler format within one `send`.
    """

    type: ClassVar[str]
    label: ClassVar[str]
    icon: ClassVar[str]
    """Bootstrap icon, without the prefix "bi-"."""
    tagline: ClassVar[str]
    """For the type picker: "Webhook to one channel"."""
    setup_hint: ClassVar[str]
    """One sentence above the form: where to find what it asks for."""
    form: ClassVar["builtins.type[ChannelForm]"]
    """See webapp/notify/channels/fields.py for how a page uses it."""
    recipients_apart: ClassVar[bool] = False
    """True when each of `recipients` gets a delivery of its own, with its own attempts."""
    rate: ClassVar[Rate | None] = None
    bundle_characters: ClassVar[int] = 3000
    """How long the lines of a message that names several events may be in all, so that none is cut
    away, whatever escaping adds."""
    troubles: ClassVar[tuple[Trouble, ...]] = ()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    @classmethod
    @abstractmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return what may be shown of the configuration, shortened: "webhook …/1174…"."""

    @classmethod
    def people_in(cls, _summary: str) -> str:
        """Return what a summary says of whom the channel writes to; "" where it is one room."""
        return ""

    @property
    @abstractmethod
    def target(self) -> str:
        """Return what the service counts messages against; it may be secret, so it is hashed."""

    @property
    def buckets(self) -> tuple[tuple[str, Rate], ...]:
        """Return the token buckets that a message is taken from; channels may share them."""
        return () if self.rate is None else ((self.target, self.rate),)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Return the mail addresses or phone numbers that the channel writes to."""
        return ()

    @property
    def way(self) -> Way:
        """Return the authorities, client certificate and proxy that are the channel's own."""
        ca_file, certificate, proxy = (
            str(self.config.get(name) or "") for name in ("ca_file", "client_certificate", "proxy")
        )
        return Way(
            ca_file=Path(ca_file) if ca_file else None,
            client_certificate=Path(certificate) if certificate else None,
            proxy=proxy,
        )

    @property
    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """Return every secret value and secret part of an address, to be masked in texts."""

    @abstractmethod
    def render(self, message: Message) -> Rendered:
        """Return the very bytes to send, within the service's limits and escaped for it."""

    @abstractmethod
    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Deliver.

        `progress` is kept between the attempts of one delivery and may be changed, also when the
        attempt fails (recipients who accepted already).

        Raises:
            PermanentError: trying again cannot help.
            TransientError: it may.
        """

    @classmethod
    @abstractmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return how the service shows a body made by `render`."""
