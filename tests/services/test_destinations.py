from pathlib import Path

import pytest

from tests.factories import make_destination, make_job
from webapp.core.errors import ConflictError
from webapp.services.connections import Values
from webapp.services.destinations import BOOK, open_destination

pytestmark = pytest.mark.usefixtures("app")


def test_a_stored_destination_opens(tmp_path: Path) -> None:
    row = BOOK.create("local", Values(name="Disk", config={"path": str(tmp_path / "kept")}))
    assert row.summary == str(tmp_path / "kept")
    with open_destination(row).open_write("a") as writer:
        writer.write(b"x")
    assert (tmp_path / "kept" / "a").read_bytes() == b"x"


def test_a_test_writes_reads_and_deletes(tmp_path: Path) -> None:
    trial = BOOK.test(make_destination(config={"path": str(tmp_path / "kept")}).id)
    assert trial.ok
    assert trial.words.startswith("A file was written, read back and deleted.")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_failed_test_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    trial = BOOK.test(make_destination(config={"path": str(tmp_path / "file")}).id)
    assert not trial.ok
    assert "Check the path" in trial.words or "exist" in trial.words


def test_a_destination_that_jobs_use_is_not_deleted_and_the_jobs_are_named() -> None:
    row, other = make_destination(name="Disk"), make_destination()
    make_job(name="Nightly", destinations=[other.id, row.id])
    with pytest.raises(ConflictError, match="Disk is used by “Nightly”"):
        BOOK.delete(row.id)


def test_the_list_names_the_jobs() -> None:
    row = make_destination(name="Disk")
    make_job(name="Nightly", destinations=[row.id])
    make_job(name="Weekly", destinations=[row.id])
    assert [item.jobs for item in BOOK.listed()] == [("Nightly", "Weekly")]
