"""Samples from a channel that need not be stored: one that is sent, one that is only drawn."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.errors import MessageError
from typing import Any, Final

from webapp.core import clock, ids
from webapp.core.errors import AppError, ChannelError
from webapp.core.scrub import conceal
from webapp.notify.channels.base import EXCERPT_LIMIT, Channel, Preview
from webapp.notify.events import Event
from webapp.notify.events.backup_failure import BackupFailure
from webapp.notify.events.backup_success import BackupSuccess
from webapp.notify.events.channel_test import ChannelTest
from webapp.notify.message import Message, Reader, compose
from webapp.services import channels, preferences, system_errors
from webapp.services.installation import installation

logger = logging.getLogger(__name__)

# What rendering may stumble over in a form that nobody has checked yet.
_INCOMPLETE: Final = (
    AppError, ValueError, LookupError, TypeError, AttributeError, MessageError,
)  # fmt: skip
SAMPLES: Final[dict[str, type[Event]]] = {"failure": BackupFailure, "success": BackupSuccess}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of a sample."""

    ok: bool
    words: str
    """The service's answer in one sentence, or what went wrong."""
    at: datetime
    took: timedelta
    excerpt: str = ""
    advice: str = ""


def send(channel_type: type[Channel], config: Mapping[str, Any], name: str, asker: str) -> Trial:
    """Send a sample through a channel as it was typed. Nothing is stored or left in the log."""
    sample = ChannelTest(channel=name or channel_type.label, requested_by=asker)
    at, began = clock.now(), time.perf_counter()

    def trial(ok: bool, words: str, excerpt: str = "", advice: str = "") -> Trial:
        return Trial(
            ok=ok,
            words=conceal(words, secrets),
            excerpt=conceal(excerpt, secrets)[:EXCERPT_LIMIT],
            advice=advice,
            at=at,
            took=timedelta(seconds=time.perf_counter() - began),
        )

    secrets: tuple[str, ...] = ()
    try:
        channel = channels.assemble(channel_type, config)
        secrets = channel.secrets
        rendered = channel.render(_message(sample, is_test=True))
        receipt = channel.send(rendered, installation().outbound, {})
    except ChannelError as error:
        return trial(False, str(error), error.excerpt, error.advice)
    except AppError as error:  # a reference to a secret that leads nowhere
        return trial(False, str(error))
    except Exception as error:
        logger.exception("sample failed by a fault of ours", extra={"type": channel_type.type})
        system_errors.report("Channel test", error)
        return trial(
            False,
            f"DBackup could not make or send the sample ({type(error).__name__}).",
            advice="This is a fault in DBackup. The server's log has the details.",
        )
    return trial(True, receipt.words, receipt.excerpt)


def draw(
    channel_type: type[Channel], config: Mapping[str, Any], sample: str = "failure"
) -> Preview | None:
    """Return how the service would show a sample; nothing while the form is too incomplete.

    The network is not touched, and references to secrets are not followed.
    """
    event = SAMPLES.get(sample, BackupFailure).sample()
    try:
        rendered = channel_type(config).render(_message(event))
        return channel_type.preview(rendered.body.decode(), rendered.content_type)
    except _INCOMPLETE:
        return None


def _message(event: Event, *, is_test: bool = False) -> Message:
    now = preferences.current()
    reader = Reader(timezone=now.timezone, base_url=now.base_url, instance=now.instance_name)
    return compose(
        event.say(reader),
        reader,
        event_id=ids.uuid7(),
        delivery_id=ids.uuid7(),
        event_type=event.type,
        occurred_at=clock.now(),
        is_test=is_test,
    )
