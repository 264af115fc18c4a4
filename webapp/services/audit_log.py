"""Reads the audit log: pages by key, filters, an export, and how long it is kept."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.models.audit import AuditEntry
from webapp.models.user import User
from webapp.services import audit, security_settings
from webapp.services.transaction import reading

PAGE_SIZE: Final = 50
EXPORT_CHUNK: Final = 500
NAMES_OFFERED: Final = 200
MARGIN: Final = timedelta(days=1)  # the database has a clock of its own
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_CHANGES: Final = ("created", "changed", "deleted")
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "sign-ins": ("sign_in", "sign_out", "session.ended", "sessions.ended", "recovery_code.used"),
    "failed": ("sign_in.failed", "confirmation.failed"),
    "channels": tuple(f"channel.{change}" for change in _CHANGES),
    "routing": (
        *("event.changed", "global_channels.changed"),
        *(f"job_channel.{change}" for change in _CHANGES),
    ),
    "connections": tuple(
        f"{kind}.{change}" for kind in ("source", "destination") for change in _CHANGES
    ),
    "jobs": (
        *(f"job.{change}" for change in _CHANGES),
        *("job_destination.changed", "run.started", "run.stopped"),
    ),
    "people": (
        *(f"user.{change}" for change in _CHANGES),
        *("second_factor.enabled", "second_factor.disabled", "second_factor.new_codes"),
        "identity.linked",
    ),
    "settings": (
        *(f"setting.{change}" for change in _CHANGES),
        *("configuration.exported", "configuration.imported", "secrets.rotated", "audit.exported"),
        "heartbeat.changed",
    ),
    "data": (
        *(f"artifact.{done}" for done in ("downloaded", "imported", "locked", "unlocked")),
        *("artifact.deleted", "restore.requested", "restore.stopped", "run.log_downloaded"),
    ),
    "messages": (
        *("delivery.resent", "delivery.cancelled", "deliveries.resent", "deliveries.seen"),
        "event.published",
    ),
}
"""What the page offers to narrow to, and the actions of each."""
COLUMNS: Final = (
    *("id", "time", "user", "user_id", "ip_address", "action", "object", "before", "after"),
)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a list is narrowed to; empty values narrow nothing."""

    user_name: str = ""
    action: str = ""
    since: timedelta | None = None

    @property
    def any(self) -> bool:
        """Say whether anything is narrowed."""
        return self != Filters()


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """One page, newest first."""

    entries: tuple[AuditEntry, ...]
    newer: int | None
    """Id to list after; None: this is the newest page."""
    older: int | None
    """Id to list before; None: this is the oldest page."""


def page(filters: Filters, *, before: int = 0, after: int = 0) -> AuditPage:
    """Return the newest entries that match, or those older or newer than an id."""
    matching = _matching(filters)
    with reading() as session:
        if after:
            upwards = matching.where(AuditEntry.id > after).order_by(AuditEntry.id)
            found = list(session.scalars(upwards.limit(PAGE_SIZE + 1)))
            if len(found) > PAGE_SIZE:
                return _page(found[PAGE_SIZE - 1 :: -1], newer=True, older=True)
        elif before:
            matching = matching.where(AuditEntry.id < before)
        downwards = matching.order_by(AuditEntry.id.desc()).limit(PAGE_SIZE + 1)
        found = list(session.scalars(downwards))
    return _page(found[:PAGE_SIZE], newer=bool(before) and not after, older=len(found) > PAGE_SIZE)


def names() -> tuple[str, ...]:
    """Return whom a list can be narrowed to: the accounts, and who else acts."""
    accounts = select(User.name).distinct().order_by(User.name).limit(NAMES_OFFERED)
    with reading() as session:
        return (*session.scalars(accounts), "nobody", audit.SYSTEM.name)


def export(filters: Filters) -> Iterator[bytes]:
    """Yield everything that matches as CSV, oldest first; that it was taken is noted."""
    audit.note_alone(
        "audit.exported", after={"person": filters.user_name, "action": filters.action}
    )
    return _lines(filters)


def prune(session: Session) -> None:
    """Delete entries that are older than the setting says."""
    kept = timedelta(days=security_settings.load(session).audit_days) + MARGIN
    session.execute(delete(AuditEntry).where(AuditEntry.at < clock.now() - kept))


def _lines(filters: Filters) -> Iterator[bytes]:
    yield b"\xef\xbb\xbf" + _csv(COLUMNS)  # spreadsheets take it for UTF-8 then
    last = 0
    while True:
        matching = _matching(filters).where(AuditEntry.id > last).order_by(AuditEntry.id)
        with reading() as session:
            entries = list(session.scalars(matching.limit(EXPORT_CHUNK)))
        yield b"".join(_csv(_cells(entry)) for entry in entries)
        if len(entries) < EXPORT_CHUNK:
            return
        last = entries[-1].id


def _cells(entry: AuditEntry) -> tuple[str, ...]:
    return (
        str(entry.id),
        entry.at.isoformat(timespec="seconds"),
        entry.user_name,
        "" if entry.user_id is None else str(entry.user_id),
        entry.ip_address,
        entry.action,
        entry.object,
        _json(entry.before),
        _json(entry.after),
    )


def _csv(cells: tuple[str, ...]) -> bytes:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(harmless(cell) for cell in cells)
    return written.getvalue().encode()


def harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.lstrip(" ").startswith(FORMULA_STARTS) else cell


def _json(value: dict[str, Any] | None) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _matching(filters: Filters) -> Select[Any]:
    found = select(AuditEntry)
    if filters.user_name:
        found = found.where(AuditEntry.user_name == filters.user_name)
    if filters.action:
        found = found.where(AuditEntry.action.in_(GROUPS.get(filters.action, (filters.action,))))
    if filters.since:
        found = found.where(AuditEntry.at >= clock.now() - filters.since)
    return found


def _page(entries: list[AuditEntry], *, newer: bool, older: bool) -> AuditPage:
    return AuditPage(
        entries=tuple(entries),
        newer=entries[0].id if newer and entries else None,
        older=entries[-1].id if older and entries else None,
    )
