"""Calls an address each minute for as long as all is well, so that silence is noticed elsewhere.

The address is a secret: whoever knows it can pretend that DBackup lives.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast
from urllib.parse import urlsplit

from flask import current_app
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import AppError, InvalidError
from webapp.core.scrub import scrub
from webapp.core.secrets import is_reference, resolve
from webapp.models.setting import Setting
from webapp.notify.outbound import Reach
from webapp.services import audit, health
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

KEY: Final = "heartbeat"
LONGEST: Final = 1000
_LATEST: Final = "dbackup_heartbeat"


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One call, or why there was none."""

    at: datetime
    ok: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a page may show of the setting."""

    is_set: bool
    hint: str
    """The host, or the reference to the secret; never the address."""
    latest: Beat | None


def shown() -> Shown:
    """Return the setting without its secret, and how the latest call of this process went."""
    with reading() as session:
        url = _stored(session)
    return Shown(
        is_set=bool(url),
        hint=url if is_reference(url) else urlsplit(url).hostname or "",
        latest=cast("Beat | None", current_app.extensions.get(_LATEST)),
    )


def save(url: str) -> None:
    """Store the address, sealed; an empty one ends the calls.

    Raises:
        InvalidError: it is no address.
    """
    if url and not is_reference(url):
        _check(url)
    with transaction() as session:
        audit.note(session, "heartbeat.changed", after={"address": audit.CHANGED if url else ""})
        if url:
            session.merge(Setting(key=KEY, value=installation().sealer.seal({"url": url})))
        elif (row := session.get(Setting, KEY)) is not None:
            session.delete(row)
    current_app.extensions.pop(_LATEST, None)


def beat() -> Beat | None:
    """Call if an address is set and nothing is wrong; None: no address is set."""
    with reading() as session:
        if session.get(Setting, KEY) is None:
            return None
    problems = health.look()
    if problems:
        words = "Not called: " + " ".join(problem.words for problem in problems)
        return _note(Beat(at=clock.now(), ok=False, words=words))
    return call()


def call() -> Beat:
    """Call the address now, whatever the state of things (Test)."""
    try:
        with reading() as session:
            url = resolve(_stored(session))
        _check(url)
        answer = installation().outbound.request(
            "GET", url, reach=Reach.SELF_HOSTED, headers={}, body=b""
        )
        ok, words = 200 <= answer.status < 300, f"It answered {answer.status}."
    except AppError as error:  # its text may name the host, never the address
        ok, words = False, scrub(str(error))
    return _note(Beat(at=clock.now(), ok=ok, words=words))


def _note(beat: Beat) -> Beat:
    current_app.extensions[_LATEST] = beat
    return beat


def _stored(session: Session) -> str:
    row = session.get(Setting, KEY)
    return "" if row is None else str(installation().sealer.open(row.value)["url"])


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if right and "@" in parts.netloc:
        raise InvalidError("Leave user and password out of the address.", "url")
    if not right or len(url) > LONGEST or " " in url:
        raise InvalidError(
            "Enter an address such as https://hc-ping.com/your-id or that of Uptime Kuma.", "url"
        )
