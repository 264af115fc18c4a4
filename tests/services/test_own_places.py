"""Who may restore may not become somebody else by it: DBackup itself is no target."""

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import make_url

from tests.factories import make_source
from tests.services.restoring import sqlite_artifact
from webapp.core.errors import InvalidError
from webapp.core.settings import PROJECT_ROOT, Settings
from webapp.models.job import SourceRow
from webapp.services import restores


def check(target: object, source: SourceRow | None = None, *, overwrite: bool = True) -> None:
    restores.check_target(
        source.type if source else "sqlite",
        source,
        str(target),
        overwrite=overwrite,
        confirm=str(target) if overwrite else "",
    )


def test_a_restore_does_not_replace_our_own_database(app: Flask, tmp_path: Path) -> None:
    own, linked = tmp_path / "dbackup.db", tmp_path / "linked"
    assert own.is_file()
    linked.symlink_to(tmp_path)
    (tmp_path / "twin.db").hardlink_to(own)
    for target in (own, linked / "dbackup.db", tmp_path / "a" / ".." / "dbackup.db"):
        (tmp_path / "a").mkdir(exist_ok=True)
        with pytest.raises(InvalidError, match="belongs to DBackup itself") as caught:
            check(target)
        assert caught.value.field == "target"
    with pytest.raises(InvalidError, match="belongs to DBackup itself"):
        check(tmp_path / "twin.db")


def test_nor_is_it_asked_for_by_somebody_who_may_restore(app: Flask, tmp_path: Path) -> None:
    artifact, target = sqlite_artifact(tmp_path), str(tmp_path / "dbackup.db")
    with pytest.raises(InvalidError, match="belongs to DBackup itself"):
        restores.request(
            artifact.id,
            target=target,
            source_id=None,
            requested_by="Otis",
            overwrite=True,
            confirm=target,
        )


def test_a_restore_puts_nothing_among_our_own_files(app: Flask) -> None:
    for target in (PROJECT_ROOT / "static" / "x.db", PROJECT_ROOT / "webapp" / "x.sqlite"):
        with pytest.raises(InvalidError, match="belongs to DBackup itself"):
            check(target, overwrite=False)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("name", ["authorized_keys", "x.php", "job", ".bashrc", ".db", "x.db.py"])
def test_a_new_file_has_the_name_of_a_database(
    app: Flask, tmp_path: Path, name: str, overwrite: bool
) -> None:
    with pytest.raises(InvalidError, match="End the name with") as caught:
        check(tmp_path / name, overwrite=overwrite)
    assert caught.value.field == "target"


def test_the_path_of_a_source_may_have_any_name(app: Flask, tmp_path: Path) -> None:
    make_source(config={"path": str(tmp_path / "data")})
    check(tmp_path / "data", overwrite=False)
    check(tmp_path / "other.SQLITE3", overwrite=False)


def test_a_name_too_long_for_a_file_is_refused(app: Flask, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="at most 200 bytes"):
        check(tmp_path / f"{'ä' * 120}.db", overwrite=False)


@pytest.mark.postgres
def test_nor_is_it_replaced_on_postgresql(postgres_app: Flask, settings: Settings) -> None:
    own = make_url(postgres_app.config["SQLALCHEMY_DATABASE_URI"])
    config = {"host": own.host, "port": own.port, "user": own.username, "database": "postgres"}
    source = make_source(type="postgresql", config=config)
    with pytest.raises(InvalidError, match="belongs to DBackup itself"):
        check(own.database, source)
    check(f"{own.database}_2", source)
