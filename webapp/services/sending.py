"""Makes one attempt of one delivery. No transaction is open here, and nothing is stored."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from webapp.core import clock, shortage
from webapp.core.errors import AppError, ChannelError, PermanentError, SecretError, TransientError
from webapp.core.scrub import conceal
from webapp.core.secrets import mask
from webapp.notify import outbound
from webapp.notify.channels.base import EXCERPT_LIMIT, Channel, Rendered
from webapp.notify.events import BY_TYPE, Event
from webapp.notify.message import Message, Reader, Text, compose
from webapp.services import bundles, channels, system_errors
from webapp.services.claims import Claim
from webapp.services.installation import installation
from webapp.services.outcomes import Result

logger = logging.getLogger(__name__)

LATE_AFTER: Final = timedelta(minutes=5)
RENDERED_LIMIT: Final = 256 * 1024
"""Characters of a message that are kept for the log; only attachments are longer."""


@dataclass(frozen=True)
class Ready:
    """A message that is ready to leave."""

    claim: Claim
    channel: Channel
    rendered: Rendered
    shown: Mapping[str, Any]
    """What is kept of it for the log."""


def prepare(claim: Claim) -> Ready | None:
    """Make a message ahead of its turn; None when that fails, as its own attempt will tell."""
    try:
        return _ready(claim, _open(claim))
    except Exception:
        logger.debug("a message could not be made ahead", exc_info=True)
        return None


def _ready(claim: Claim, channel: Channel) -> Ready:
    rendered = channel.render(_message(claim))
    return Ready(claim, channel, rendered, for_the_log(rendered, channel.secrets))


def attempt(
    claim: Claim, ready: Ready | None = None, *, meanwhile: Callable[[], None] | None = None
) -> Result:
    """Render (unless it is ready) and send; whatever happens becomes the result.

    `meanwhile` is done while the service thinks, if it is called over HTTP.
    """
    started_at = clock.now()
    began = time.perf_counter()
    outcome: dict[str, Any] = {}
    progress = dict(claim.progress)
    secrets: tuple[str, ...] = ()
    try:
        channel = _open(claim) if ready is None else ready.channel
        secrets = channel.secrets
        ready = ready or _ready(claim, channel)
        outcome["rendered"] = ready.shown
        with outbound.meanwhile(meanwhile):
            outcome["receipt"] = channel.send(ready.rendered, installation().outbound, progress)
    except ChannelError as error:
        outcome["error"] = _masked(error, secrets)
    except Exception as error:
        logger.exception(
            "delivery failed by a fault of ours", extra={"delivery": claim.delivery_id}
        )
        _report(claim, error)
        outcome["error"] = _of_ours(error)
    return Result(
        claim=claim,
        started_at=started_at,
        took=timedelta(seconds=time.perf_counter() - began),
        progress=progress,
        **outcome,
    )


def for_the_log(rendered: Rendered, secrets: tuple[str, ...]) -> Mapping[str, Any]:
    """Return what may be kept and shown of a message: its body with secrets masked."""
    body = mask(rendered.body.decode("utf-8", "replace"), secrets)
    return {
        "method": rendered.method,
        "content_type": rendered.content_type,
        "body": body[:RENDERED_LIMIT],
        "cut": len(body) > RENDERED_LIMIT,
        "recipients": list(rendered.recipients),
    }


def _open(claim: Claim) -> Channel:
    try:
        return channels.open_channel(claim.channel)
    except SecretError as error:
        raise TransientError(str(error), advice=str(error), needs_you=True) from error
    except ChannelError:
        raise
    except AppError as error:
        raise PermanentError(str(error)) from error


def _message(claim: Claim) -> Message:
    preferred = claim.preferences
    reader = Reader(
        timezone=claim.recipient_timezone or preferred.timezone,
        base_url=preferred.base_url,
        instance=preferred.instance_name,
        is_the_user=claim.is_direct,
    )
    late_by = clock.now() - claim.occurred_at
    return compose(
        _text(claim, reader),
        reader,
        event_id=claim.event_id,
        delivery_id=claim.delivery_id,
        event_type=claim.event_type,
        occurred_at=claim.occurred_at,
        is_test=claim.is_test,
        late_by=late_by if late_by >= LATE_AFTER else None,
        recipient=claim.recipient,
        thread="" if claim.job_id is None else f"job-{claim.job_id}",
        attempt=claim.attempt,
    )


def _text(claim: Claim, reader: Reader) -> Text:
    if claim.others:
        return bundles.say([(_event(one), one.occurred_at) for one in claim.whole], reader)
    said = _event(claim).say(reader)
    if claim.stands_in_for is None:
        return said
    return replace(
        said, text=f"{said.text}\nSent through this channel because {claim.stands_in_for} fails."
    )


def _event(claim: Claim) -> Event:
    event_type = BY_TYPE.get(claim.event_type)
    if event_type is None:
        raise PermanentError(
            f"This version of DBackup does not know the event “{claim.event_type}”.",
            advice="It was published by another version. Update DBackup, then resend.",
        )
    try:
        return event_type.from_payload(claim.payload)
    except TypeError as error:
        raise PermanentError(
            f"The stored event “{claim.event_type}” lacks facts that this version needs.",
            advice="It was published by another version of DBackup.",
        ) from error


def _of_ours(error: Exception) -> ChannelError:
    lacking = shortage.words(error)
    if lacking:
        return TransientError(
            f"This machine could not make or send the message: {lacking}.",
            advice="See what else runs on this machine, and the limits of the server's process.",
            needs_you=True,
        )
    return PermanentError(
        f"DBackup could not make or send this message ({type(error).__name__}).",
        advice="This is a fault in DBackup. The server's log has the details.",
    )


def _masked(error: ChannelError, secrets: tuple[str, ...]) -> ChannelError:
    error.args = (conceal(str(error), secrets),)
    error.excerpt = conceal(error.excerpt, secrets)[:EXCERPT_LIMIT]
    return error


def _report(claim: Claim, error: Exception) -> None:
    if claim.event_type != "system_error":
        system_errors.report("Notification delivery", error)
