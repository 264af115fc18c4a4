import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import sql

from tests.backup.conftest import GUARD_PASSWORD, Guarded, Scratch
from tests.backup.watchers import Collected, Watcher
from webapp.backup.destinations.local import Local
from webapp.backup.engine import Place, back_up
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.reach import Reach
from webapp.backup.restore import restore
from webapp.backup.sources import postgresql_clients as clients
from webapp.backup.sources.postgresql import Postgresql
from webapp.core.settings import PROJECT_ROOT

pytestmark = pytest.mark.postgres

SHOP = """
CREATE TYPE mood AS ENUM ('fine', 'so so');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE SCHEMA "odd Name";
CREATE TABLE customer (
  id serial PRIMARY KEY, name text NOT NULL UNIQUE, mood mood, photo bytea, born date,
  seen timestamptz, worth numeric(20, 6), tags text[], facts jsonb, key uuid, at inet,
  during tstzrange, wait interval, ratio double precision, flag boolean, bits bit(5),
  loud text GENERATED ALWAYS AS (upper(name)) STORED);
CREATE TABLE "odd Name"."pur ""x"" chase" (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount positive,
  customer_id integer NOT NULL REFERENCES customer (id) ON DELETE CASCADE);
CREATE TABLE entry (day date NOT NULL, text text) PARTITION BY RANGE (day);
CREATE TABLE entry_2026 PARTITION OF entry FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX ON "odd Name"."pur ""x"" chase" (customer_id) WHERE amount > 10;
CREATE VIEW rich AS SELECT name FROM customer WHERE worth > 100;
CREATE MATERIALIZED VIEW names AS SELECT count(*) AS n FROM customer;
CREATE FUNCTION shout(t text) RETURNS text LANGUAGE sql AS $$ SELECT upper(t) || '!' $$;
INSERT INTO customer (name, mood, photo, born, seen, worth, tags, facts, key, at, during, wait,
                      ratio, flag, bits)
  SELECT 'Zoë “' || i || '” 雪' || E'\\t\\n\\\\.', 'so so', decode(md5(i::text), 'hex'),
    date '1900-01-01' + i, now(), i / 7.0, ARRAY['a,b', '"q"', NULL], jsonb_build_object('n', i),
    md5(i::text)::uuid, '10.0.0.1', tstzrange(now(), NULL), i * interval '1 hour', 'NaN', i % 2 = 0,
    B'10101'
  FROM generate_series(1, 2000) AS i;
INSERT INTO "odd Name"."pur ""x"" chase" (amount, customer_id)
  SELECT i, 1 + i % 2000 FROM generate_series(1, 5000) AS i;
INSERT INTO entry SELECT date '2026-01-01' + i % 365, 'day' FROM generate_series(1, 1000) AS i;
REFRESH MATERIALIZED VIEW names;
SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));
"""
FACTS = (
    "SELECT count(*), sum(hashtext(t::text)::bigint) FROM customer t",
    'SELECT count(*), sum(hashtext(t::text)::bigint) FROM "odd Name"."pur ""x"" chase" t',
    "SELECT count(*), sum(hashtext(t::text)::bigint) FROM entry_2026 t",
    "SELECT count(*) FROM rich",
    "SELECT n FROM names",
    "SELECT shout('x')",
    "SELECT md5(lo_get(oid)) FROM pg_largeobject_metadata",
    (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace::regnamespace::text NOT LIKE 'pg_%' ORDER BY 1, 2"
    ),
    "SELECT indexdef FROM pg_indexes WHERE schemaname NOT LIKE 'pg_%' ORDER BY 1",
    "SELECT last_value FROM customer_id_seq",
    (
        "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database "
        "WHERE datname = current_database()"
    ),
)


def _facts(scratch: Scratch, database: str) -> list[object]:
    with scratch.connect(database) as connection:
        return [connection.execute(query).fetchall() for query in FACTS]  # type: ignore[call-overload]


def _shop(scratch: Scratch) -> Postgresql:
    source = scratch.database()
    scratch.run(source.config["database"], SHOP)
    return source


def _large(scratch: Scratch, rows: int = 100_000) -> Postgresql:
    source = scratch.database()
    scratch.run(
        source.config["database"],
        "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 6) AS x "
        f"FROM generate_series(1, {rows}) i",
    )
    return source


def _programs(name: str) -> dict[int, str]:
    """Return the running children of this process whose program is called so."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            command, rest = path.read_text().rsplit(")", 1)
            line = path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if command.endswith(f"({name}") and int(parent) == os.getpid() and state != "Z":
            found[int(path.parent.name)] = line
    return found


class Hooked(Collected):
    """A writer that does something at its first chunk, while pg_dump waits for the pipe."""

    def __init__(self, hook: Callable[[], object]) -> None:
        super().__init__()
        self._hook: Callable[[], object] | None = hook

    def write(self, data: bytes, /) -> int:
        if self._hook:
            hook, self._hook = self._hook, None
            hook()
        return super().write(data)


def test_a_restored_database_equals_the_dumped_one(scratch: Scratch, local: Local) -> None:
    source, target = _shop(scratch), scratch.name()
    place = [Place(1, "here", local)]
    stored = back_up(source, place, key="a.gz", compression="gzip", facts={}, progress=Watcher())
    restore(local, "a.gz", source=source, target=target, progress=Watcher())
    assert stored.manifest["source"]["version"].startswith("PostgreSQL ")
    assert stored.manifest["source"]["client"].startswith("pg_dump ")
    assert _facts(scratch, target) == _facts(scratch, source.config["database"])


def test_the_sort_order_of_an_icu_database_is_kept(scratch: Scratch, local: Local) -> None:
    name, target = scratch.name(), scratch.name()
    scratch.run(
        "postgres",
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' "
        "LOCALE_PROVIDER icu ICU_LOCALE 'en-u-kn'",
    )
    scratch.run(name, "CREATE TABLE t AS SELECT 'a' || n AS a FROM generate_series(1, 12) n")
    source = scratch.source(name)
    back_up(
        source,
        [Place(1, "here", local)],
        key="a.dump",
        compression="none",
        facts={},
        progress=Watcher(),
    )
    restore(local, "a.dump", source=source, target=target, progress=Watcher())
    query = "SELECT string_agg(a, ' ' ORDER BY a) FROM t"
    with scratch.connect(name) as before, scratch.connect(target) as after:
        row = after.execute(query).fetchone()
        assert row == before.execute(query).fetchone()
        assert row is not None
        assert row[0].startswith("a1 a2 a3")


@pytest.mark.parametrize(
    "name", ["dbname=postgres host=nowhere", "a \"b\" \\ 'c'", "postgresql://x"]
)
def test_a_database_with_any_name_is_dumped_and_made(scratch: Scratch, name: str) -> None:
    """A name is never read as connection settings."""
    odd = f"{name} {scratch.name()}"
    scratch._made.append(odd)
    scratch.run("postgres", sql.SQL("CREATE DATABASE {}").format(sql.Identifier(odd)))
    scratch.run(odd, "CREATE TABLE mine AS SELECT 7 AS x")
    output, source = Collected(), scratch.source(odd)
    source.dump(output, Watcher())
    target = f"{name} {scratch.name()}"
    scratch._made.append(target)
    source.restore(io.BytesIO(output.data), target, Watcher())
    with scratch.connect("postgres") as connection:
        assert target in {row[0] for row in connection.execute("SELECT datname FROM pg_database")}


def test_the_probe_tells_server_and_client(scratch: Scratch) -> None:
    probe = scratch.source("postgres").probe()
    assert probe.version.startswith("PostgreSQL 1")
    assert probe.client.startswith("pg_dump 1")


def test_the_password_is_in_no_process_list(scratch: Scratch) -> None:
    large = _large(scratch)
    source = scratch.source(large.config["database"], password="extremely secret")
    seen: list[str] = []
    source.dump(Hooked(lambda: seen.extend(_programs("pg_dump").values())), Watcher())
    assert len(seen) == 1
    assert "extremely" not in seen[0]


def _kill_all(name: str) -> None:
    for pid in _programs(name):
        os.kill(pid, signal.SIGKILL)


def test_a_killed_pg_dump_is_said_and_nothing_is_stored(scratch: Scratch, local: Local) -> None:
    source = _large(scratch)
    place = [Place(1, "here", local)]
    killer = Watcher(cancel_when=lambda seen: seen.done > 0 and _kill_all("pg_dump") is not None)
    with pytest.raises(BackupError, match=r"pg_dump was killed .SIGKILL") as caught:
        back_up(source, place, key="a", compression="none", facts={}, progress=killer)
    assert caught.value.step == "Dump"
    assert local.list() == ()
    assert [path for path in local.root.rglob("*") if path.is_file()] == []


def test_cancelling_a_dump_leaves_no_program_and_no_session(scratch: Scratch) -> None:
    source = _large(scratch)
    stop = Watcher(cancel_when=lambda seen: seen.checks > 3)
    with pytest.raises(CancelledError):
        source.dump(Collected(), stop)
    assert _programs("pg_dump") == {}
    _wait_for_no_session(scratch, source.config["database"])


def _wait_for_no_session(scratch: Scratch, database: str) -> None:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    end = time.monotonic() + 10
    with scratch.connect("postgres") as connection:
        while connection.execute(query, (database,)).fetchone() != (0,):
            assert time.monotonic() < end, "a session is left on the server"
            time.sleep(0.05)


def test_a_dump_that_waits_for_a_lock_can_be_cancelled(scratch: Scratch) -> None:
    source = _shop(scratch)
    began = time.monotonic()
    with scratch.connect(source.config["database"]) as holder, holder.transaction():
        holder.execute("LOCK TABLE customer IN ACCESS EXCLUSIVE MODE")
        stop = Watcher(cancel_when=lambda seen: time.monotonic() - began > 1)
        with pytest.raises(CancelledError):
            source.dump(Collected(), stop)
    assert time.monotonic() - began < 8
    assert _programs("pg_dump") == {}


def test_an_existing_database_is_refused(scratch: Scratch) -> None:
    source, output = _shop(scratch), Collected()
    source.dump(output, Watcher())
    with pytest.raises(BackupError, match="There is a database"):
        source.restore(io.BytesIO(output.data), source.config["database"], Watcher())


def test_a_half_loaded_database_is_dropped(scratch: Scratch) -> None:
    source, output, target = _shop(scratch), Collected(), scratch.name()
    source.dump(output, Watcher())
    before = scratch.databases()
    half = io.BytesIO(output.data[: len(output.data) // 2])
    with pytest.raises(BackupError, match="pg_restore"):
        source.restore(half, target, Watcher())
    assert scratch.databases() == before


def test_cancelling_a_restore_drops_the_database(scratch: Scratch) -> None:
    source, output, target = _large(scratch), Collected(), scratch.name()
    source.dump(output, Watcher())
    before = scratch.databases()
    stop = Watcher(cancel_when=lambda seen: seen.checks > 20)
    with pytest.raises(CancelledError):
        source.restore(io.BytesIO(output.data), target, stop)
    assert scratch.databases() == before
    assert _programs("pg_restore") == {}


def test_what_is_no_dump_is_said_before_a_database_is_made(scratch: Scratch) -> None:
    with pytest.raises(BackupError, match="not a PostgreSQL dump"):
        scratch.source("postgres").restore(io.BytesIO(b"SQLite 3"), scratch.name(), Watcher())


def test_a_lost_source_database_can_be_restored_under_its_own_name(scratch: Scratch) -> None:
    source, output = _shop(scratch), Collected()
    name = source.config["database"]
    source.dump(output, Watcher())
    scratch.run("postgres", sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
    source.restore(io.BytesIO(output.data), name, Watcher())
    assert name in scratch.databases()


def _refusal(source: Postgresql) -> str:
    with pytest.raises(BackupError) as caught:
        source.probe()
    return str(caught.value)


def test_wrong_settings_are_said(scratch: Scratch) -> None:
    assert "There is no database nowhere" in _refusal(scratch.source("nowhere"))
    assert "There is no user nobody" in _refusal(scratch.source("postgres", user="nobody"))
    assert "Nothing answers at 127.0.0.1:1" in _refusal(scratch.source("postgres", port=1))
    unknown = scratch.source("postgres", host="db.invalid")
    assert "The host name db.invalid is not known" in _refusal(unknown)


def test_required_encryption_that_is_not_offered_is_said(guarded: Guarded) -> None:
    assert "does not offer encryption" in _refusal(guarded.source(sslmode="require"))


def test_a_wrong_password_is_said_and_never_shown(guarded: Guarded) -> None:
    assert guarded.source().probe().version.startswith("PostgreSQL")
    wrong = _refusal(guarded.source(password="not the password"))
    assert "refused user postgres or the password" in wrong
    assert "not the password" not in wrong
    assert "refused user postgres or the password" in _refusal(guarded.source(password=""))


def test_a_password_with_odd_characters_reaches_pg_dump(guarded: Guarded) -> None:
    output = Collected()
    guarded.source().dump(output, Watcher())
    assert output.data.startswith(b"PGDMP")
    assert GUARD_PASSWORD.encode() not in output.data


def test_a_server_that_stops_during_the_dump_is_said(guarded: Guarded, local: Local) -> None:
    source = guarded.source()
    with source.server.connected() as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT repeat(md5(i::text), 20) FROM generate_series(1, 200000) i"
        )
    with pytest.raises(BackupError, match="connection to the server was lost"):
        source.dump(Hooked(guarded.stop), Watcher())
    assert _programs("pg_dump") == {}


def test_a_user_who_may_not_read_everything_is_told_what_to_grant(guarded: Guarded) -> None:
    with guarded.source().server.connected() as connection:
        connection.execute("CREATE TABLE secret (x int)")
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reading only'")
    reader = guarded.source(user="reader", password="reading only")
    with pytest.raises(BackupError, match="pg_read_all_data"):
        reader.dump(Collected(), Watcher())
    with pytest.raises(BackupError, match="may not create databases"):
        reader.restore(io.BytesIO(b"PGDMP\x01\x0e\x00"), "anything", Watcher())


def test_a_missing_client_program_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clients, "DEBIAN", tmp_path)
    with pytest.raises(BackupError, match="apt install postgresql-client-15"):
        clients.find("pg_dump", 15)


def _program(folder: Path, version: str) -> None:
    path = folder / version / "bin" / "pg_dump"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    path.chmod(0o755)


def test_a_program_that_is_asked_for_its_version_gets_nothing_of_our_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DBACKUP_SECRET_KEY", "what signs the cookies")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clients, "DEBIAN", tmp_path)
    program = tmp_path / "pg_dump"
    program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.1'\nexport > {tmp_path}/env\n")
    program.chmod(0o755)
    assert str(clients.find("pg_dump", 15)) == "pg_dump 15.1"
    assert "DBACKUP" not in (tmp_path / "env").read_text()


def test_the_nearest_client_that_is_new_enough_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(clients, "DEBIAN", tmp_path)
    for version in ("9.6.24", "14.2", "16.1", "17.0"):
        _program(tmp_path, version)
    assert str(clients.find("pg_dump", 15)) == "pg_dump 16.1"
    with pytest.raises(BackupError, match=r"pg_dump 17\.0 is too old: .*postgresql-client-18"):
        clients.find("pg_dump", 18)


@pytest.mark.parametrize(
    ("start", "major"),
    [(b"PGDMP\x01\x0e\x00", 0), (b"PGDMP\x01\x0f\x00", 16), (b"PGDMP\x01\x10\x00", 17)],
)
def test_the_archive_says_which_pg_restore_reads_it(start: bytes, major: int) -> None:
    assert clients.reader_of(start) == major


MEASURE = """
import json, resource, sys
from tests.backup.watchers import Watcher
from webapp.backup.destinations.local import Local
from webapp.backup.engine import Place, back_up
from webapp.backup.restore import restore
from webapp.backup.sources.postgresql import Postgresql

config, folder, target = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
source, local = Postgresql(config), Local({"path": folder})
source.probe()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
back_up(source, [Place(1, "x", local)], key="a", compression="none", facts={}, progress=Watcher())
restore(local, "a", source=source, target=target, progress=Watcher())
print(local.size("a"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_flat_for_a_database_of_120_megabytes(
    scratch: Scratch, tmp_path: Path
) -> None:
    source, target = _large(scratch, rows=600_000), scratch.name()
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(source.config), str(tmp_path / "kept"), target],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT_ROOT,
    )
    size, grown_kilobytes = map(int, answer.stdout.split())
    assert size > 115_000_000
    assert grown_kilobytes < 20_000
    query = "SELECT count(*), sum(hashtext(t::text)::bigint) FROM t"
    with scratch.connect(source.config["database"]) as old, scratch.connect(target) as new:
        assert new.execute(query).fetchone() == old.execute(query).fetchone()


def test_schemas_and_tables_can_be_left_out(scratch: Scratch, local: Local) -> None:
    database = _shop(scratch).config["database"]
    source = scratch.source(database, excluded_schemas="odd*", flags="--exclude-table-data=entry*")
    target = scratch.name()
    place = [Place(1, "here", local)]
    back_up(source, place, key="a.zst", compression="zstd", facts={}, progress=Watcher())
    restore(local, "a.zst", source=source, target=target, progress=Watcher())
    with scratch.connect(target) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace").fetchall()
        assert ("odd Name",) not in schemas
        assert connection.execute("SELECT count(*) FROM customer").fetchone() == (2000,)
        assert connection.execute("SELECT count(*) FROM entry").fetchone() == (0,)


def test_only_the_schemas_that_were_named_are_dumped(scratch: Scratch, local: Local) -> None:
    source = scratch.database()
    database, target = source.config["database"], scratch.name()
    scratch.run(database, "CREATE SCHEMA a; CREATE TABLE a.t (i int); CREATE TABLE u (i int)")
    source = scratch.source(database, schemas="a, b*")
    place = [Place(1, "here", local)]
    back_up(source, place, key="a.zst", compression="zstd", facts={}, progress=Watcher())
    restore(local, "a.zst", source=source, target=target, progress=Watcher())
    with scratch.connect(target) as connection:
        found = connection.execute(
            "SELECT schemaname FROM pg_tables WHERE tablename IN ('t', 'u')"
        ).fetchall()
    assert found == [("a",)]


def test_the_address_is_judged_before_it_is_called(scratch: Scratch) -> None:
    config = scratch.source("postgres").config
    with pytest.raises(BackupError, match="private network"):
        Postgresql(config, Reach(allow_private=False)).probe()
    with pytest.raises(BackupError, match="never called"):
        Postgresql({**config, "host": "169.254.169.254"}).probe()
