"""What sources and destinations share: a type, a sealed configuration, jobs that use them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.backup.destinations.base import Destination
from webapp.backup.reach import Reach
from webapp.backup.sources.base import Source
from webapp.core import clock
from webapp.core.errors import AppError, ConflictError, InvalidError, NotFoundError
from webapp.core.scrub import conceal
from webapp.models.job import DestinationRow, SourceRow
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

NAME_LIMIT: Final = 60
SUMMARY_LIMIT: Final = 200  # of the column

Row = TypeVar("Row", SourceRow, DestinationRow)
Thing = TypeVar("Thing", Source, Destination)


@dataclass(frozen=True, kw_only=True)
class Values:
    """What the form says."""

    name: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Stored(Generic[Row]):
    """A row as its form needs it. `config` holds secrets and never reaches a page."""

    row: Row
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Item(Generic[Row]):
    """A row as a list shows it, with the names of the jobs that use it."""

    row: Row
    jobs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The result of a connection test."""

    name: str
    ok: bool
    words: str
    notes: tuple[str, ...]
    at: datetime
    took: timedelta


class _Verdict(Protocol):
    def __call__(self, thing: Any, /) -> tuple[str, tuple[str, ...]]: ...


class Connections(Generic[Row, Thing]):
    """The use cases of one of the two; `noun` is how pages call it: "source"."""

    def __init__(
        self,
        model: type[Row],
        types: Sequence[type[Thing]],
        *,
        noun: str,
        users: Select[int, str],
        verdict: _Verdict,
    ) -> None:
        """`users` selects id of the row and name of the job, `verdict` probes a thing."""
        self.noun = noun
        self.types: Sequence[type[Thing]] = types
        self.by_type: Mapping[str, type[Thing]] = {type_.type: type_ for type_ in types}
        self._model: type[Row] = model
        self._users = users
        self._verdict = verdict

    def open(self, row: Row) -> Thing:
        """Return what the row configures, every referenced secret read just now.

        Raises:
            SecretError: the configuration or a secret that it refers to cannot be opened.
            InvalidError: this version does not know the type.
        """
        return self._assemble(self.type_of(row.type), installation().sealer.open(row.config))

    def type_of(self, name: str) -> type[Thing]:
        """Return the type of this name.

        Raises:
            InvalidError: this version does not know it.
        """
        if name not in self.by_type:
            raise InvalidError(f"This version of DBackup knows no {self.noun} of type “{name}”.")
        return self.by_type[name]

    def listed(self) -> list[Item[Row]]:
        """Return all rows by name, each with the jobs that use it."""
        with reading() as session:
            jobs = _grouped(session.execute(self._users))
            rows = session.scalars(select(self._model).order_by(self._model.name))
            return [Item(row, jobs.get(row.id, ())) for row in rows]

    def stored(self, row_id: int) -> Stored[Row]:
        """Return a row for editing.

        Raises:
            NotFoundError: it is not there.
            SecretError: its configuration was sealed with another key.
        """
        with reading() as session:
            row = self._existing(session, row_id)
        return Stored(row, installation().sealer.open(row.config))

    def create(self, type_name: str, values: Values) -> Row:
        """Add one.

        Raises:
            InvalidError: the type is not known, or the name is taken.
        """
        thing_type = self.type_of(type_name)
        with transaction() as session:
            row = self._model(type=type_name, name=values.name)
            _fill(row, thing_type, values)
            session.add(row)
            self._flush(session, values.name)
        return row

    def save(self, row_id: int, version: int, values: Values) -> Row:
        """Change one.

        Raises:
            NotFoundError: it is not there any more.
            ConflictError: it is no longer the version that was edited.
            InvalidError: the name is taken.
        """
        with transaction() as session:
            row = self._existing(session, row_id)
            if row.version != version:
                raise ConflictError(
                    f"Somebody else changed this {self.noun} while you had it open. What you typed "
                    "is still here; save again to replace their change, or open it anew to see it."
                )
            _fill(row, self.type_of(row.type), values)
            row.name = values.name
            row.version += 1
            self._flush(session, values.name)
        return row

    def delete(self, row_id: int) -> str:
        """Delete one; return its name. Nothing outside DBackup is touched.

        Raises:
            NotFoundError: it is not there any more.
            ConflictError: a job uses it; the text names the jobs.
        """
        with transaction() as session:
            row = self._existing(session, row_id)
            jobs = _grouped(session.execute(self._users)).get(row_id, ())
            if jobs:
                raise ConflictError(in_use(row.name, jobs))
            session.delete(row)
        return row.name

    def test(self, row_id: int) -> Trial:
        """Connect with what is stored, and say what came of it."""
        with reading() as session:
            row = self._existing(session, row_id)
        try:
            thing = self.open(row)
        except AppError as error:
            return _trial(row.name, clock.now(), str(error))
        return self._try(row.name, thing)

    def test_config(self, type_name: str, values: Values) -> Trial:
        """Connect with what a form says, and say what came of it; nothing is stored."""
        try:
            thing = self._assemble(self.type_of(type_name), values.config)
        except AppError as error:
            return _trial(values.name, clock.now(), str(error))
        return self._try(values.name, thing)

    def _try(self, name: str, thing: Thing) -> Trial:
        began = clock.now()
        try:
            words, notes = self._verdict(thing)
        except AppError as error:
            return _trial(name, began, conceal(str(error), thing.secrets))
        return _trial(name, began, words, notes=notes, ok=True)

    def _assemble(self, thing_type: type[Thing], config: Mapping[str, Any]) -> Thing:
        return thing_type(thing_type.form.resolved(config), _reach())

    def _existing(self, session: Session, row_id: int) -> Row:
        row: Row | None = session.get(self._model, row_id)
        if row is None:
            raise NotFoundError(f"There is no such {self.noun}. It may have been deleted.")
        return row

    def _flush(self, session: Session, name: str) -> None:
        try:
            session.flush()
        except IntegrityError as error:
            raise InvalidError(
                f"There is a {self.noun} called “{name}” already. Choose another name.", "name"
            ) from error


def _reach() -> Reach:
    settings = installation().settings
    return Reach(settings.allow_private_networks != "none", settings.ca_file)


def in_use(name: str, jobs: Sequence[str]) -> str:
    """Return why it cannot be deleted."""
    named = ", ".join(f"“{job}”" for job in jobs)
    return f"{name} is used by {named}. Change or delete the job first, then delete {name}."


def _fill(row: SourceRow | DestinationRow, thing_type: Any, values: Values) -> None:
    row.config = installation().sealer.seal(values.config)
    row.summary = str(thing_type.summarize(values.config))[:SUMMARY_LIMIT]


def _grouped(pairs: Iterable[Any]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for row_id, job in pairs:
        found[row_id] = (*found.get(row_id, ()), job)
    return found


def _trial(
    name: str, began: datetime, words: str, *, notes: tuple[str, ...] = (), ok: bool = False
) -> Trial:
    now = clock.now()
    return Trial(name=name, ok=ok, words=words, notes=notes, at=now, took=now - began)
