"""Use cases of sources."""

from typing import Final

from sqlalchemy import select

from webapp.backup.errors import BackupError
from webapp.backup.sources import SOURCES
from webapp.backup.sources.base import Probe, Source
from webapp.models.job import Job, SourceRow
from webapp.services.connections import Connections


def _verdict(source: Source) -> tuple[str, tuple[str, ...]]:
    if len(source.databases) < 2:
        found = source.probe()
        return f"{_server(found)}.", found.notes
    return _verdict_of_several(source)


def _verdict_of_several(source: Source) -> tuple[str, tuple[str, ...]]:
    """Probe each database, and say which can be backed up.

    Raises:
        BackupError: one of them cannot; the text says for each why, and which can.
    """
    good: dict[str, Probe] = {}
    bad: dict[str, str] = {}
    for name in source.databases:
        try:
            good[name] = source.part(name).probe()
        except BackupError as error:
            if str(error) in bad.values() and not good:
                raise  # the same words for two: it is the server, and the others would wait, too
            bad[name] = str(error)
    if bad:
        found = f"Found: {', '.join(good)}." if good else "None of the databases can be backed up."
        raise BackupError("\n".join((found, *(f"{name}: {why}" for name, why in bad.items()))))
    server = _server(next(iter(good.values())))
    notes = [f"{name}: {note}" for name, probe in good.items() for note in probe.notes]
    how_many = "Both" if len(good) == 2 else f"All {len(good)}"
    return f"{server}. {how_many} databases were found: {', '.join(good)}.", tuple(notes)


def _server(found: Probe) -> str:
    return f"{found.version}{f', dumped by {found.client}' if found.client else ''}"


BOOK: Final[Connections[SourceRow, Source]] = Connections(
    SourceRow,
    SOURCES,
    noun="source",
    users=select(Job.source_id, Job.name).order_by(Job.name),
    verdict=_verdict,
)


def open_source(row: SourceRow, database: str = "") -> Source:
    """Return the configured source, its references to secrets resolved.

    Of several databases it is the part of `database`, or of the first when that is not among them.

    Raises:
        SecretError: the configuration or a secret it refers to cannot be opened.
        InvalidError: this version does not know the type.
    """
    source = BOOK.open(row)
    known = source.databases
    return source.part(database if database in known else known[0]) if len(known) > 1 else source


def open_parts(row: SourceRow) -> tuple[tuple[str, Source], ...]:
    """Return each database of the source with its name; a file has none.

    Raises:
        SecretError, InvalidError: as `open_source`.
    """
    source = BOOK.open(row)
    if not source.databases:
        return (("", source),)
    return tuple((name, source.part(name)) for name in source.databases)
