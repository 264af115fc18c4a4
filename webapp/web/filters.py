"""How values are written in templates: times in the reader's zone, sizes, durations, states."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from flask import Flask, current_app, g, url_for

from webapp.core import clock, ids, text
from webapp.core.settings import PROJECT_ROOT
from webapp.notify import channels
from webapp.services import preferences
from webapp.services.preferences import Preferences
from webapp.web.login import signed_in_user

DAY: Final = timedelta(days=1)


class Look(NamedTuple):
    """How a state is shown."""

    kind: str
    word: str
    busy: bool = False


STATES: Final[dict[str, Look]] = {
    "queued": Look("", "Queued"),
    "sending": Look("info", "Sending", busy=True),
    "sent": Look("ok", "Sent"),
    "retrying": Look("warn", "Retrying"),
    "failed": Look("bad", "Failed"),
    "expired": Look("bad", "Expired"),
    "cancelled": Look("", "Cancelled"),
    "skipped": Look("", "Skipped"),
    "running": Look("info", "Running", busy=True),
    "testing": Look("info", "Testing", busy=True),
    "uploading": Look("info", "Uploading", busy=True),
    "success": Look("ok", "Success"),
    "stored": Look("ok", "Stored"),
    "healthy": Look("ok", "Healthy"),
    "partial": Look("warn", "Partial"),
    "failure": Look("bad", "Failed"),
    "failing": Look("bad", "Failing"),
    "broken": Look("bad", "Broken"),
    "interrupted": Look("bad", "Interrupted"),
    "missed": Look("bad", "Missed"),
    "off": Look("", "Off"),
    "never_used": Look("", "Never used"),
}
WORD_ICONS: Final = {
    "Queued": "hourglass-split",
    "Retrying": "arrow-repeat",
    "Off": "pause-circle-fill",
    "Never used": "dash-circle",
    "Cancelled": "slash-circle",
    "Skipped": "skip-forward-circle-fill",
    "Expired": "hourglass-bottom",
    "Missed": "calendar-x-fill",
    "Interrupted": "lightning-charge-fill",
    "Custom Channels": "sliders",
}
KIND_ICONS: Final = {
    "ok": "check-circle-fill",
    "warn": "exclamation-triangle-fill",
    "bad": "x-octagon-fill",
    "info": "info-circle-fill",
}


def instance() -> Preferences:
    """Return the preferences of the instance, read once per request."""
    if "preferences" not in g:
        g.preferences = preferences.current()
    found: Preferences = g.preferences
    return found


def reader_zone() -> ZoneInfo:
    """Return the time zone of the signed-in person, else that of the instance."""
    if "reader_zone" not in g:
        user = signed_in_user()
        g.reader_zone = ZoneInfo((user and user.timezone) or instance().timezone)
    zone: ZoneInfo = g.reader_zone
    return zone


def relative(moment: datetime) -> str:
    """Return "12 s ago", "in 2 min", "yesterday"-like days up to a week, then the date."""
    passed = clock.now() - moment
    distance = abs(passed)
    if distance >= 7 * DAY:
        return day(moment)
    if distance < timedelta(seconds=1):
        return "now"
    words = _rough(distance)
    return f"{words} ago" if passed > timedelta(0) else f"in {words}"


def _rough(distance: timedelta) -> str:
    seconds = int(distance.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if distance < DAY:
        return f"{seconds // 3600} h"
    return text.plural(distance.days, "day")


def day(moment: datetime) -> str:
    """Return "2 Nov", with the year unless it is the present one."""
    local, today = moment.astimezone(reader_zone()), clock.now().astimezone(reader_zone())
    return f"{local.day} {local:%b}" + ("" if local.year == today.year else f" {local.year}")


def exact(moment: datetime) -> str:
    """Return "17 Nov 2026, 09:39:12"."""
    local = moment.astimezone(reader_zone())
    return f"{local.day} {local:%b %Y, %H:%M:%S}"


def iso(moment: datetime) -> str:
    """Return the moment for <time datetime>, in the reader's zone with its offset."""
    return moment.astimezone(reader_zone()).isoformat(timespec="seconds")


def zone_name(_moment: datetime) -> str:
    """Return the name of the reader's zone."""
    return reader_zone().key


def duration(value: timedelta | float) -> str:
    """Return a duration in words; a bare number is seconds."""
    return text.duration(value if isinstance(value, timedelta) else timedelta(seconds=value))


def milliseconds(value: float) -> str:
    """Return a number of milliseconds as a duration in words."""
    return text.duration(timedelta(milliseconds=value))


def chip_icon(word: str, kind: str) -> str:
    """Return the icon of a chip with this word and kind."""
    return WORD_ICONS.get(word) or KIND_ICONS.get(kind, "circle")


def state_look(state: str) -> Look:
    """Return how a stored state or outcome is shown."""
    return STATES.get(state) or Look("", state.replace("_", " ").capitalize())


def channel_icon(channel_type: str) -> str:
    """Return the icon of a channel type."""
    known = channels.BY_TYPE.get(channel_type)
    return known.icon if known else "bell"


@lru_cache
def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@lru_cache
def _bootstrap_version() -> str:
    return version("bootstrap-flask")  # reads and parses a file each time


def asset(filename: str) -> str:
    """Return the address of one of our static files; it changes with the content."""
    return url_for("static", filename=filename, v=_fingerprint(PROJECT_ROOT / "static" / filename))


def bootstrap_asset(filename: str) -> str:
    """Return the address of a file of Bootstrap, served by ourselves."""
    return url_for("bootstrap.static", filename=filename, v=_bootstrap_version())


def endpoint_exists(endpoint: str) -> bool:
    """Say whether a page is there to be linked to."""
    return endpoint in current_app.view_functions


FILTERS: Final[dict[str, Callable[..., object]]] = {
    "bytes": text.size,
    "channel_icon": channel_icon,
    "chip_icon": chip_icon,
    "day": day,
    "duration": duration,
    "exact": exact,
    "iso": iso,
    "milliseconds": milliseconds,
    "plural": text.plural,
    "relative": relative,
    "short_id": ids.short,
    "state_look": state_look,
    "zone_name": zone_name,
}


def init_app(app: Flask) -> None:
    """Give the filters to every template."""
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.globals.update(
        asset=asset, bootstrap_asset=bootstrap_asset, endpoint_exists=endpoint_exists
    )
