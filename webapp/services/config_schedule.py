"""Configuration backups by schedule: stored at a destination, the newest ones kept."""

import json
import logging
import threading
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core import clock, passphrase
from webapp.core.errors import InvalidError, SecretError
from webapp.core.secrets import resolve
from webapp.models.job import DestinationRow
from webapp.models.setting import Setting
from webapp.services import config_backups, cron, preferences, schedules, system_errors
from webapp.services.config_backups import COMPONENT, ExportFile
from webapp.services.destinations import open_destination
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

KEY: Final = "config_schedule"
SECRET: Final = "config_schedule_secret"  # noqa: S105 - the name of the row
FOLDER: Final = "dbackup-config"
MOST_KEPT: Final = 1000
PRUNING: Final = "Retention of configuration backups"
OLDER_STAY: Final = "It was stored, but older ones were not deleted."
GONE: Final = "The destination of the configuration backup was deleted. Choose another one."


@dataclass(frozen=True, kw_only=True)
class Plan:
    """When configuration backups are made, and what became of the last one."""

    enabled: bool = False
    schedule: str = "30 3 * * *"
    destination_id: int | None = None
    keep_last: int = 30
    sealed: bool = True
    """With the secrets, under the stored passphrase."""
    has_passphrase: bool = False
    served_until: str = ""
    """Up to here every time of the schedule was tried, ISO 8601."""
    last_at: str = ""
    last_file: str = ""
    last_error: str = ""
    written: tuple[str, ...] = ()
    """Keys of what was stored and not deleted again, oldest first. Only these are ever deleted:
    several installations may share a destination."""

    @property
    def last_moment(self) -> datetime | None:
        """Return when it was last tried."""
        return datetime.fromisoformat(self.last_at) if self.last_at else None


DONE: Final = frozenset({"served_until", "last_at", "last_file", "last_error", "written"})
"""What the plan notes of what was done; the rest is somebody's decision."""


def decisions(stored: str | None) -> dict[str, Any]:
    """Return what somebody chose of a stored plan."""
    values: dict[str, Any] = json.loads(stored or "{}")
    return {name: value for name, value in values.items() if name not in DONE}


def current() -> Plan:
    """Return how it is set."""
    with reading() as session:
        return _load(session)


def save(
    *,
    enabled: bool,
    schedule: str,
    destination_id: int | None,
    keep_last: int,
    sealed: bool,
    typed: str,
) -> None:
    """Store the plan; an empty passphrase keeps the stored one.

    Raises:
        InvalidError: a value cannot be used; `field` names it.
    """
    with transaction() as session:
        before = _load(session)
        if enabled and (
            destination_id is None or session.get(DestinationRow, destination_id) is None
        ):
            raise InvalidError("Choose where it is stored.", "destination_id")
        cron.parse(schedule)
        if not 1 <= keep_last <= MOST_KEPT:
            raise InvalidError(f"Enter a number from 1 to {MOST_KEPT}.", "keep_last")
        if typed:
            _require_strong(typed)
            session.merge(Setting(key=SECRET, value=installation().sealer.seal({"typed": typed})))
        if enabled and sealed and not (typed or before.has_passphrase):
            raise InvalidError("Enter a passphrase, or leave the secrets out.", "passphrase")
        if not sealed and (row := session.get(Setting, SECRET)) is not None:
            session.delete(row)
        plan = replace(
            before,
            enabled=enabled,
            schedule=" ".join(schedule.split()),
            destination_id=destination_id,
            keep_last=keep_last,
            sealed=sealed,
            served_until=clock.now().isoformat(),
        )
        _store(session, plan)


def _require_strong(typed: str) -> None:
    """Refuse a passphrase, or a reference to one, that cannot be used."""
    try:
        passphrase.require_strong(str(resolve(typed)))
    except SecretError as error:
        raise InvalidError(str(error), "passphrase") from error


_at_work = threading.Lock()


def begin_due(app: Flask) -> threading.Thread | None:
    """Make the configuration backup that is due, in a thread of its own; None when none is."""
    plan = current()
    if not plan.enabled or not _is_due(plan) or not _at_work.acquire(blocking=False):
        return None

    def work() -> None:
        try:
            with app.app_context():
                run()
        except Exception as error:
            with app.app_context():
                logger.exception("configuration backup by schedule stumbled")
                system_errors.report(COMPONENT, error)
        finally:
            _at_work.release()

    thread = threading.Thread(target=work, name="configuration-backup", daemon=True)
    thread.start()
    return thread


def run() -> Plan:
    """Make a configuration backup as the plan says, and note how it ended.

    Success publishes config_backup, failure system_error.
    """
    with transaction() as session:
        plan = replace(_load(session), served_until=clock.now().isoformat())
        _store(session, plan)
    file, trouble, written = "", "", plan.written
    try:
        file = _back_up(plan)
        written = (*written, f"{FOLDER}/{file}")
        trouble, written = _prune(plan, written)
    except InvalidError as error:  # by schedule nobody sees it, so it is reported, too
        logger.exception("configuration backup by schedule failed")
        system_errors.report(COMPONENT, error)
        trouble = str(error)
    except Exception as error:  # reported by back_up already
        logger.exception("configuration backup by schedule failed")
        trouble = system_errors.describe(error)
    with transaction() as session:
        done = replace(
            _load(session),
            last_at=clock.now().isoformat(),
            last_file=file or plan.last_file,
            last_error=trouble,
            written=written,
        )
        _store(session, done)
    return done


def _back_up(plan: Plan) -> str:
    with reading() as session:
        row = session.get(DestinationRow, plan.destination_id) if plan.destination_id else None
        secret = session.get(Setting, SECRET)
    if row is None:
        raise InvalidError(GONE)
    typed = None
    if plan.sealed:
        if secret is None:
            raise InvalidError("The passphrase of the configuration backup is not set.")
        typed = _passphrase(secret.value)

    def store(file: ExportFile) -> None:
        with open_destination(row).open_write(f"{FOLDER}/{file.name}") as writer:
            writer.write(file.content)

    return config_backups.back_up(typed, destination=row.name, store=store).name


def _passphrase(sealed: str) -> str:
    try:
        return str(resolve(installation().sealer.open(sealed)["typed"]))
    except SecretError as error:
        raise InvalidError(f"The passphrase cannot be opened. {error}") from error


def _prune(plan: Plan, written: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Delete all but the newest of ours; return what went wrong, and which ones are left.

    A fault here makes no good backup a failed one, so it is reported apart.
    """
    with reading() as session:
        row = session.get(DestinationRow, plan.destination_id)
    try:
        if row is None:
            raise InvalidError(GONE)
        destination = open_destination(row)
        there = {entry.key for entry in destination.list(f"{FOLDER}/")}
        mine = [key for key in written if key in there]
        for key in mine[: -max(plan.keep_last, 1)]:
            destination.delete(key)
    except Exception as error:
        logger.exception("older configuration backups were not deleted")
        system_errors.report(PRUNING, error)
        return f"{OLDER_STAY} {system_errors.describe(error)}", written
    return "", tuple(mine[-max(plan.keep_last, 1) :])


def _is_due(plan: Plan) -> bool:
    zone = preferences.current().timezone
    now = clock.now()
    since = datetime.fromisoformat(plan.served_until) if plan.served_until else now
    after = min(since, now)  # a clock that was set back silences nothing for long
    due = schedules.upcoming(plan.schedule, zone, 1, after)
    return bool(due) and due[0] <= now


def _load(session: Session) -> Plan:
    rows = {
        row.key: row.value
        for row in session.scalars(select(Setting).where(Setting.key.in_((KEY, SECRET))))
    }
    values = json.loads(rows.get(KEY, "{}"))
    values["written"] = tuple(values.get("written", ()))
    known = {name: value for name, value in values.items() if name in Plan.__dataclass_fields__}
    return Plan(**(known | {"has_passphrase": SECRET in rows}))


def _store(session: Session, plan: Plan) -> None:
    values = asdict(plan)
    del values["has_passphrase"]
    session.merge(Setting(key=KEY, value=json.dumps(values)))
