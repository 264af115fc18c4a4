"""The storage explorer's list and the download."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete

from tests.factories import make_destination, make_job, make_source
from tests.services.restoring import sqlite_artifact
from webapp.backup.errors import BackupError
from webapp.core.errors import NotFoundError
from webapp.models.job import Job
from webapp.models.run import ArtifactRow, Run
from webapp.services import artifacts
from webapp.services.transaction import transaction

pytestmark = pytest.mark.usefixtures("app")


def add(destination_id: int, key: str, **values: object) -> ArtifactRow:
    row = ArtifactRow(
        **{
            "destination_id": destination_id,
            "key": key,
            "source_type": "sqlite",
            "size": 1,
            "sha256": "ab" * 32,
            "manifest": {},
        }
        | values
    )
    with transaction() as session:
        session.add(row)
        session.flush()
        session.refresh(row)
    return row


def test_an_installation_without_destinations_has_an_empty_explorer() -> None:
    listing = artifacts.listing()
    assert (listing.place, listing.artifacts) == (None, ())


def test_each_destination_shows_only_its_own_and_the_one_with_the_newest_comes_first() -> None:
    alpha, zeta = make_destination(name="alpha"), make_destination(name="zeta")
    assert artifacts.listing().place == artifacts.Place(id=alpha.id, name="alpha", summary="")
    add(alpha.id, "a")
    add(zeta.id, "z")

    first, other = artifacts.listing(), artifacts.listing(alpha.id)

    assert first.place is not None
    assert (first.place.name, [a.key for a in first.artifacts]) == ("zeta", ["z"])
    assert [a.key for a in other.artifacts] == ["a"]
    assert [place.name for place in first.places] == ["alpha", "zeta"]


def test_a_destination_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        artifacts.listing(7)


def test_the_newest_artifact_comes_first_and_pages_go_by_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(artifacts, "PAGE_SIZE", 2)
    place = make_destination()
    for name in "abcde":
        add(place.id, name)

    first = artifacts.listing(place.id)
    second = artifacts.listing(place.id, before=first.older or 0)
    third = artifacts.listing(place.id, before=second.older or 0)

    assert [[a.key for a in page.artifacts] for page in (first, second, third)] == [
        ["e", "d"],
        ["c", "b"],
        ["a"],
    ]
    assert (first.newer, third.older) == (None, None)
    again = artifacts.listing(place.id, after=third.newer or 0)
    assert [a.key for a in again.artifacts] == ["c", "b"]


def test_the_jobs_name_outlives_the_job() -> None:
    job = make_job(name="nightly", source_id=make_source(name="shop").id)
    run = Run(job_id=job.id, job_name="nightly", source_name="shop", trigger="manual")
    with transaction() as session:
        session.add(run)
        session.flush()
    row = add(make_destination().id, "k", job_id=job.id, run_id=run.id)
    assert (artifacts.get(row.id).job_name, artifacts.get(row.id).source_name) == (
        "nightly",
        "shop",
    )
    with transaction() as session:
        session.execute(delete(Job))

    found = artifacts.get(row.id)

    assert (found.job_id, found.job_name, found.source_name) == (None, "nightly", "shop")


def test_facts_are_said_in_words() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    row = add(make_destination().id, "shop/2026.sqlite.gz", created_at=at)
    found = artifacts.get(row.id)
    assert (found.file_name, found.database_type, found.created_at) == (
        "2026.sqlite.gz",
        "SQLite",
        at,
    )


def test_a_download_is_the_stored_file_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "CHUNK", 100)
    row = sqlite_artifact(tmp_path)
    download = artifacts.download(row.id)

    pieces = list(download.chunks)

    content = b"".join(pieces)
    assert content == (tmp_path / "backups" / row.key).read_bytes()
    assert len(content) == download.size == row.size
    assert len(pieces) > 2
    assert gzip.decompress(content)[:15] == b"SQLite format 3"
    assert download.name == "2026-03-01.sqlite.gz"


def test_a_download_that_is_broken_off_closes_its_file(tmp_path: Path) -> None:
    download = artifacts.download(sqlite_artifact(tmp_path).id)
    next(download.chunks)
    download.chunks.close()
    with pytest.raises(ValueError, match="closed"):
        next(download.chunks)


def test_a_file_that_is_gone_is_said_before_the_download_begins(tmp_path: Path) -> None:
    row = sqlite_artifact(tmp_path)
    (tmp_path / "backups" / row.key).unlink()
    with pytest.raises(BackupError):
        artifacts.download(row.id)


def test_an_artifact_that_is_not_listed_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        artifacts.download(1)
