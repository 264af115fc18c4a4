"""A run over several databases of one server, one after the other.

Each database that is whole is listed at once, so whatever ends the run later does not take it
back. One that fails does not stop the others, and the next attempt of the run does only what is
missing.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from webapp.backup.engine import Stored
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.progress import Progress
from webapp.core.errors import AppError
from webapp.models.run import Outcome, Run
from webapp.services import run_end, system_errors
from webapp.services.run_end import End
from webapp.services.run_log import Recorder
from webapp.services.transaction import reading, transaction

logger = logging.getLogger(__name__)

AGAIN_AFTER: Final = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds; a locked database or a full disk


@dataclass(frozen=True)
class Part:
    """One database of the run; `name` is "" for a file."""

    name: str
    back_up: Callable[[Progress], Stored]


def carry_out(run_id: int, parts: Sequence[Part], recorder: Recorder) -> tuple[End, frozenset[int]]:
    """Back up each; return how it ended, and the ids of the places that hold something of it.

    Raises:
        CancelledError: it was stopped; what was whole before stays listed.
    """
    known = _begin(run_id, [part.name for part in parts])
    failed_step = ""
    for part in parts:
        recorder.step(part.name)
        if known[part.name]["stored"]:
            recorder.line("info", f"{part.name}: backed up by an earlier attempt.")
            continue
        try:
            stored = _backed_up(part, recorder)
        except CancelledError:
            raise
        except AppError as error:
            words = recorder.masked(str(error))
            step = error.step if isinstance(error, BackupError) else ""
            failed_step = failed_step or step or recorder.current_step
            recorder.line("error", f"{part.name}: {words}")
            recorder.fail_step()
            known[part.name] = _entry(part.name, detail=words)
            _note(run_id, known[part.name])
        else:
            known[part.name] = _note(run_id, _entry(part.name), stored)
    return _end(known.values(), failed_step, recorder), _reached(known.values())


def _backed_up(part: Part, recorder: Recorder) -> Stored:
    """Back up one database.

    Raises:
        CancelledError: the run was stopped.
        AppError: it failed. A fault of ours is reported, and must not cost the other databases.
    """
    try:
        return part.back_up(_PartOf(recorder, part.name))
    except AppError as error:
        if recorder.is_stopping:  # what it failed of came of the stop
            raise CancelledError(str(error)) from error
        raise
    except Exception as error:
        logger.exception("a database stumbled", extra={"database": part.name})
        system_errors.report("Backup run", error)
        raise BackupError(system_errors.describe(error)) from error


def any_stored(run_id: int) -> bool:
    """Say whether a database of the run is whole somewhere."""
    with reading() as session:
        return any(each["stored"] for each in session.get_one(Run, run_id).databases)


class _PartOf:
    """The progress of one database within the progress of its run."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._recorder, self._name = recorder, name
        self.advance, self.check = recorder.advance, recorder.check

    def step(self, name: str) -> None:
        """Show what is being done with the database."""
        self._recorder.detail(name)

    def line(self, level: str, text: str) -> None:
        """Add a line that says which database it is about."""
        self._recorder.line(level, f"{self._name}: {text}")


def _entry(name: str, *, detail: str = "") -> dict[str, Any]:
    return {"name": name, "stored": False, "size": 0, "detail": detail, "places": []}


def _begin(run_id: int, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Note what is to be done, beside what an earlier attempt did."""
    with transaction() as session:
        run = session.get_one(Run, run_id)
        done = {each["name"]: each for each in run.databases if each["stored"]}
        run.databases = [done.get(name) or _entry(name) for name in names]
        return {each["name"]: each for each in run.databases}


def _note(run_id: int, entry: dict[str, Any], stored: Stored | None = None) -> dict[str, Any]:
    """Store what became of a database, and list its backup."""
    for pause in (*AGAIN_AFTER, None):
        try:
            with transaction() as session:
                run = session.get_one(Run, run_id)
                if stored is not None:
                    places = run_end.add_artifacts(session, run, stored)
                    entry |= {"stored": True, "size": stored.size}
                    entry |= {"places": [run_end.place(each) for each in places]}
                run.databases = [
                    entry if each["name"] == entry["name"] else each for each in run.databases
                ]
            return entry
        except SQLAlchemyError:
            logger.exception("a database of a run not noted yet", extra={"run": run_id})
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _end(known: Iterable[Mapping[str, Any]], step: str, recorder: Recorder) -> End:
    entries = list(known)
    failed = [each for each in entries if not each["stored"]]
    words = [f"{names}: {why}" for why, names in _by_reason(failed).items()]
    words += _missing(entries)
    if len(failed) == len(entries):
        outcome = Outcome.FAILURE
    else:
        outcome = Outcome.PARTIAL if words else Outcome.SUCCESS
    error = recorder.masked("\n".join(words))
    return End(outcome=outcome, step=step, error=error, again=bool(failed))


def _by_reason(failed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the names of those that failed alike, by the reason."""
    found: dict[str, str] = {}
    for each in failed:
        before = found.get(each["detail"])
        found[each["detail"]] = f"{before}, {each['name']}" if before else each["name"]
    return found


def _missing(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what places lack, and why."""
    found: dict[tuple[str, str], str] = {}
    for each in entries:
        for place in each["places"]:
            if not place["stored"]:
                reason = (place["name"], place["detail"])
                before = found.get(reason)
                found[reason] = f"{before}, {each['name']}" if before else each["name"]
    return [f"{place}: {names}: {why}" for (place, why), names in found.items()]


def _reached(known: Iterable[Mapping[str, Any]]) -> frozenset[int]:
    return frozenset(place["id"] for each in known for place in each["places"] if place["stored"])
