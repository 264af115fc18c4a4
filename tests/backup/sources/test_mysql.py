"""MySQL and MariaDB: dumps and restores on a real server, and the words for what goes wrong."""

import io
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.backup.conftest import MariaScratch
from tests.backup.watchers import Collected, Watcher
from tests.servers.raw import RawServer
from webapp.backup import scratch as scratch_files
from webapp.backup.destinations.local import Local
from webapp.backup.engine import Place, back_up
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.reach import Reach
from webapp.backup.restore import restore
from webapp.backup.sources import mysql_clients as clients
from webapp.backup.sources import mysql_rights, mysql_server
from webapp.backup.sources.mysql import Mysql
from webapp.backup.sources.mysql_clients import Version
from webapp.backup.sources.mysql_stream import Renamed

NASTY = "tall \"ships\" & 'quiet' #har\\bours; =é%s"
SHOP = (
    """CREATE TABLE customer (
      id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(90) NOT NULL UNIQUE, photo LONGBLOB,
      mood ENUM('fine', 'so so'), tags SET('a', 'b'), born DATE, seen DATETIME(6),
      at TIMESTAMP NULL, took TIME, since YEAR, worth DECIMAL(20, 6), ratio DOUBLE, half FLOAT,
      flag BIT(5), tiny TINYINT, big BIGINT UNSIGNED, facts JSON, key_ BINARY(16),
      note TEXT CHARACTER SET latin1, spot POINT,
      loud VARCHAR(90) GENERATED ALWAYS AS (upper(name)) STORED, INDEX (born))""",
    """CREATE TABLE `pur ``x`` chase` (
      id BIGINT AUTO_INCREMENT PRIMARY KEY, amount INT CHECK (amount > 0), customer_id INT NOT NULL,
      FOREIGN KEY (customer_id) REFERENCES customer (id) ON DELETE CASCADE)""",
    "CREATE TABLE empty (id INT)",
    """CREATE TABLE entry (day DATE NOT NULL, text TEXT) PARTITION BY RANGE (year(day)) (
      PARTITION old VALUES LESS THAN (2026), PARTITION new VALUES LESS THAN MAXVALUE)""",
    "CREATE VIEW rich AS SELECT name, worth FROM customer WHERE worth > 100",
    "CREATE FUNCTION shout(t TEXT) RETURNS TEXT DETERMINISTIC RETURN concat(upper(t), '!')",
    "CREATE PROCEDURE touch() UPDATE customer SET tiny = 1",
    "CREATE TRIGGER grow BEFORE INSERT ON customer FOR EACH ROW SET NEW.tiny = 7",
    "CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM empty",
    """INSERT INTO customer (name, photo, mood, tags, born, seen, at, took, since, worth, ratio,
        half, flag, big, facts, key_, note, spot)
      SELECT concat('Zoë “', seq, '” 雪\t\n\\\\.🦭'), unhex(repeat(md5(seq), 40)), 'so so', 'a,b',
        '1900-01-01' + INTERVAL seq DAY, '2026-11-23 01:02:03.456789', '2026-11-23 01:02:03',
        '-12:34:56', 2026, seq / 7, seq / 3, 0.5, b'10101', 18446744073709551615,
        json_object('n', seq), unhex(md5(seq)), 'é', POINT(seq, 1) FROM seq_1_to_2000""",
    """INSERT INTO `pur ``x`` chase` (amount, customer_id)
      SELECT seq, 1 + seq % 2000 FROM seq_1_to_5000""",
    "INSERT INTO entry SELECT '2025-12-01' + INTERVAL seq DAY, 'day' FROM seq_1_to_100",
    "INSERT INTO customer (name, photo) VALUES ('nobody', NULL)",
)
FACTS = (
    "CHECKSUM TABLE customer, `pur ``x`` chase`, entry, empty EXTENDED",
    (
        "SELECT count(*), sum(crc32(concat_ws('|', id, name, hex(photo), seen, at, facts, loud, "
        "tiny, hex(key_), note, astext(spot), big, flag+0))) FROM customer"
    ),
    "SELECT count(*), sum(worth) FROM rich",
    "SELECT shout('x')",
    "SHOW CREATE TABLE customer",
    "SHOW CREATE TABLE `pur ``x`` chase`",
    "SHOW CREATE TABLE entry",
    "SHOW CREATE PROCEDURE touch",
    "SHOW CREATE EVENT tidy",
    (
        "SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS "
        "WHERE TRIGGER_SCHEMA = database()"
    ),
    "SELECT @@character_set_database, @@collation_database",
    "SHOW FULL TABLES",
)


def _facts(maria: MariaScratch, database: str) -> list[Any]:
    answers = [maria.rows(database, query) for query in FACTS]
    answers[0] = [row[1] for row in answers[0]]  # without the database's name
    answers[-1] = [row for row in answers[-1] if row]
    return answers


def _large(maria: MariaScratch, rows: int = 300_000) -> Mysql:
    return maria.database(
        f"CREATE TABLE t AS SELECT seq AS i, repeat(md5(seq), 6) AS x FROM seq_1_to_{rows}"
    )


def _back_up(source: Mysql, local: Local, watcher: Watcher | None = None) -> None:
    back_up(
        source,
        [Place(1, "here", local)],
        key="a.sql.zst",
        compression="zstd",
        facts={},
        progress=watcher or Watcher(),
    )


def _restore(source: Mysql, local: Local, target: str, watcher: Watcher | None = None) -> None:
    restore(local, "a.sql.zst", source=source, target=target, progress=watcher or Watcher())


def _programs(*names: str) -> dict[int, str]:
    """Return the running programs of these names that this process started, and their arguments."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            command, rest = path.read_text().rsplit(")", 1)
            line = path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = path.with_name("environ").read_text(errors="replace")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if command.split("(", 1)[1] in names and int(parent) == os.getpid() and state != "Z":
            found[int(path.parent.name)] = line + environment
    return found


def _left_files() -> list[Path]:
    places = (Path("/tmp"), Path("/var/tmp"))
    return [path for place in places for path in place.glob(f"{scratch_files.PREFIX}*/client.cnf")]


class Hooked(Collected):
    """A writer that does something at its first chunk."""

    def __init__(self, hook: Callable[[], object]) -> None:
        super().__init__()
        self._hook: Callable[[], object] | None = hook

    def write(self, data: bytes, /) -> int:
        if self._hook:
            hook, self._hook = self._hook, None
            hook()
        return super().write(data)


def test_a_restored_database_equals_the_dumped_one(maria: MariaScratch, local: Local) -> None:
    source, target = maria.database(*SHOP), maria.name()
    _back_up(source, local)
    _restore(source, local, target)
    assert _facts(maria, target) == _facts(maria, source.config["database"])


def test_the_history_of_versioned_tables_comes_along(maria: MariaScratch, local: Local) -> None:
    source = maria.database(
        "CREATE TABLE price (item INT, amount INT) WITH SYSTEM VERSIONING",
        "INSERT INTO price VALUES (1, 10), (2, 20)",
        "UPDATE price SET amount = 11 WHERE item = 1",
        "DELETE FROM price WHERE item = 2",
    )
    target = maria.name()
    _back_up(source, local)
    _restore(source, local, target)
    query = "SELECT *, row_start, row_end FROM price FOR SYSTEM_TIME ALL ORDER BY 1, 2, 3"
    assert len(maria.rows(target, query)) == 3
    assert maria.rows(target, query) == maria.rows(source.config["database"], query)


def test_an_odd_name_and_a_nasty_password_work_and_stay_hidden(
    maria: MariaScratch, local: Local
) -> None:
    name, target = maria.name() + " “ö” $x", maria.name() + " -neu"
    maria._made += [name, target]
    maria.run(None, f"CREATE DATABASE `{name}`")
    maria.run(name, *SHOP)
    user = maria.user(NASTY, "ALL PRIVILEGES ON *.*")
    source = maria.source(name, user=user, password=NASTY)
    seen: list[str] = []
    output = Hooked(lambda: seen.extend(_programs("mariadb-dump", "mysqldump").values()))
    source.dump(output, Watcher())
    assert seen
    assert NASTY not in "".join(seen)
    _back_up(source, local)
    _restore(source, local, target)
    assert _facts(maria, target) == _facts(maria, name)
    assert _left_files() == []


def test_the_defaults_file_is_for_its_owner_only(maria: MariaScratch) -> None:
    source, modes = maria.database(), []
    output = Hooked(lambda: modes.extend(path.stat().st_mode & 0o777 for path in _left_files()))
    source.dump(output, Watcher())
    assert modes == [0o600]


def test_the_probe_names_the_server_and_the_program(maria: MariaScratch) -> None:
    found = maria.database("CREATE TABLE t (i INT) ENGINE=MyISAM").probe()
    assert found.version.startswith("MariaDB 1")
    assert found.client.startswith("mariadb-dump 1")
    assert "1 of the tables know no transactions" in found.notes[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, "refused user .* or the password"),
        ({"port": 1}, "Nothing answers at"),
        ({"host": "nowhere.invalid"}, "host name nowhere.invalid is not known"),
        ({"host": "169.254.169.254"}, "may not be called"),
        ({"host": "/nowhere/mysqld.sock"}, "Nothing answers at"),
        ({"database": "dbackup_absent"}, "no database dbackup_absent"),
        ({"tls": "require"}, "does not offer encryption"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    maria: MariaScratch, changes: dict[str, Any], words: str
) -> None:
    user = maria.user("right", "ALL PRIVILEGES ON *.*")
    config = {"user": user, "password": "right"} | changes
    source = maria.source(**({"database": "mysql"} | config))
    if "tls" in changes and maria.rows("mysql", "SELECT @@have_ssl") != [("DISABLED",)]:
        pytest.skip("this server offers encryption")
    with pytest.raises(BackupError, match=words) as caught:
        source.probe()
    assert "wrong" not in str(caught.value).partition("\n")[0]


def test_private_networks_can_be_forbidden(maria: MariaScratch) -> None:
    source = Mysql(maria.login | {"database": "mysql"}, Reach(allow_private=False))
    with pytest.raises(BackupError, match="private network"):
        source.probe()


def test_missing_rights_are_named(maria: MariaScratch) -> None:
    name = maria.database().config["database"]
    user = maria.user("x", f"SELECT, SHOW VIEW ON `{name}`.*")
    with pytest.raises(BackupError, match="lacks TRIGGER, EVENT on"):
        maria.source(name, user=user, password="x").probe()
    enough = maria.user("x", f"SELECT, SHOW VIEW, TRIGGER, EVENT ON `{name}`.*")
    maria.source(name, user=enough, password="x").probe()


@pytest.mark.parametrize(
    ("grants", "lacking"),
    [
        (["GRANT ALL PRIVILEGES ON *.* TO `a`@`b`"], ()),
        (["GRANT USAGE ON *.* TO `a`@`b`"], mysql_rights.NEEDED),
        (["GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `sh\\_op`.* TO `a`@`b`"], ()),
        (["GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `shop%`.* TO `a`@`b`"], mysql_rights.NEEDED),
        (["GRANT SELECT ON `sh_op`.`t` TO `a`@`b`"], mysql_rights.NEEDED),
        (["GRANT USAGE ON *.* TO `a`@`b`", "GRANT `reader`@`%` TO `a`@`b`"], ()),
    ],
)
def test_grants_are_read(grants: list[str], lacking: tuple[str, ...]) -> None:
    assert mysql_rights.missing(grants, "sh_op") == lacking


def test_a_cancelled_dump_leaves_nothing_behind(maria: MariaScratch, local: Local) -> None:
    watcher = Watcher(lambda watcher: watcher.done > 2_000_000)
    with pytest.raises(CancelledError):
        _back_up(_large(maria), local, watcher)
    assert not [path for path in local.root.rglob("*") if path.is_file()]
    assert _programs("mariadb-dump", "mysqldump") == {}
    assert _left_files() == []


def test_a_killed_dump_program_fails_the_backup(maria: MariaScratch, local: Local) -> None:
    def kill(watcher: Watcher) -> bool:
        for pid in _programs("mariadb-dump", "mysqldump") if watcher.done else ():
            os.kill(pid, signal.SIGKILL)
        return False

    with pytest.raises(BackupError, match=r"was killed \(SIGKILL\)") as caught:
        _back_up(_large(maria), local, Watcher(kill))
    assert caught.value.step == "Dump"
    assert not [path for path in local.root.rglob("*") if path.is_file()]


def test_a_connection_that_the_server_ends_fails_the_backup(
    maria: MariaScratch, local: Local
) -> None:
    source, done = _large(maria), []

    def end(watcher: Watcher) -> bool:
        if watcher.done and not done:
            done.append(1)
            query = (
                "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SQL_NO_CACHE%' "
                "AND ID <> connection_id()"
            )
            for (number,) in maria.rows("mysql", query):
                maria.run(None, f"KILL {number}") if number else None
        return False

    with pytest.raises(BackupError, match="connection to the server was lost"):
        _back_up(source, local, Watcher(end))
    assert not [path for path in local.root.rglob("*") if path.is_file()]


def test_nothing_is_overwritten(maria: MariaScratch, local: Local) -> None:
    source, target = maria.database(*SHOP[:1]), maria.database()
    _back_up(source, local)
    with pytest.raises(BackupError, match="already\\. Nothing is overwritten"):
        _restore(source, local, target.config["database"])
    assert maria.rows(target.config["database"], "SHOW TABLES") == []


def test_a_restore_that_fails_drops_the_new_database(maria: MariaScratch) -> None:
    source, target = maria.database(), maria.name()
    bad = b"CREATE TABLE t (i INT);\nINSERT INTO nowhere VALUES (1);\n-- Dump completed\n"
    with pytest.raises(BackupError, match="mariadb ended with status 1"):
        source.restore(io.BytesIO(bad), target, Watcher())
    assert target not in maria.databases()


def test_a_dump_that_is_cut_off_is_not_restored(maria: MariaScratch) -> None:
    source, target = maria.database(), maria.name()
    with pytest.raises(BackupError, match="not a whole dump"):
        source.restore(io.BytesIO(b"CREATE TABLE t (i INT);\n"), target, Watcher())
    assert target not in maria.databases()


def test_a_cancelled_restore_drops_the_new_database(maria: MariaScratch, local: Local) -> None:
    source, target = _large(maria, 50_000), maria.name()
    _back_up(source, local)
    late = Watcher(lambda watcher: watcher.steps[-1:] == ["Load"] and watcher.done > 0)
    with pytest.raises(CancelledError):
        _restore(source, local, target, late)
    assert target not in maria.databases()
    assert _programs("mariadb", "mysql") == {}


def test_a_dump_cannot_run_programs_here(maria: MariaScratch, tmp_path: Path) -> None:
    source, target = maria.database(), maria.name()
    bad = f"\\! touch {tmp_path}/made\nsystem touch {tmp_path}/made\n-- Dump completed\n"
    with pytest.raises(BackupError):
        source.restore(io.BytesIO(bad.encode()), target, Watcher())
    assert not (tmp_path / "made").exists()


def test_a_dump_cannot_read_files_of_this_machine(maria: MariaScratch, tmp_path: Path) -> None:
    source, target = maria.database(), maria.name()
    kept = tmp_path / "encryption_keys"
    kept.write_text("the-key\n")
    bad = f"CREATE TABLE t (x TEXT);\nLOAD DATA LOCAL INFILE '{kept}' INTO TABLE t;\n"
    with pytest.raises(BackupError, match=r"(?i)local"):
        source.restore(io.BytesIO(f"{bad}-- Dump completed\n".encode()), target, Watcher())
    assert target not in maria.databases()


def test_a_database_that_a_killed_restore_left_is_recognized(maria: MariaScratch) -> None:
    left = maria.database("CREATE TABLE dbackup_restoring (note INT)")
    with pytest.raises(BackupError, match="left by a restore that was broken off"):
        left.check_target(left.config["database"])


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_a_dump_changes_the_settings_of_the_new_database_only(size: int) -> None:
    dump = (
        b"/*M!999999\\- enable the sandbox mode */ \n-- x\nINSERT INTO t VALUES ('ALTER');\n"
        b"ALTER DATABASE `shop` CHARACTER SET latin1 COLLATE latin1_bin ;\nDELIMITER ;;\n"
        b"INSERT INTO t VALUES ('\\nALTER DATABASE `shop` x');\nALTER DATABASE `shop` CHARACTER"
    )
    renamed = Renamed("ne`w")
    chunks = [dump[i : i + size] for i in range(0, len(dump), size)]
    chunks[0:2] = [b"".join(chunks[:50])] if size == 1 else chunks[0:2]
    if size == 1:
        chunks = [dump[:50], *(dump[i : i + 1] for i in range(50, len(dump)))]
    result = b"".join(renamed.take(chunk) for chunk in chunks) + renamed.end()
    assert result.count(b"ALTER DATABASE `ne``w` CHARACTER") == 2
    assert b"('\\nALTER DATABASE `shop` x')" in result
    if size >= 50:
        assert b"sandbox" not in result


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (
            "mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)",
            Version("MariaDB", "10.11.19"),
        ),
        ("mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux", Version("MariaDB", "11.4.2")),
        ("mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL)", Version("MySQL", "8.0.36")),
        ("5.5.5-10.11.19-MariaDB-0+deb12u1", Version("MariaDB", "10.11.19")),
        ("8.4.0", Version("MySQL", "8.4.0")),
    ],
)
def test_versions_are_read(said: str, version: Version) -> None:
    assert clients.parse(said) == version


@pytest.mark.parametrize("said", [b"\0" * 100, b"HTTP/1.1 400 Bad\r\n\r\n", b"\x05\0\0\0\x0a5.7"])
def test_what_is_no_server_is_said_in_words(said: bytes) -> None:
    with RawServer(greeting=said) as other, pytest.raises(BackupError):
        _at(other.port).probe()


def test_a_server_that_does_not_introduce_itself_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_server, "CONNECT_SECONDS", 0.5)
    began = time.monotonic()
    threading.Timer(8, lambda: other.__exit__(None, None, None)).start()
    with RawServer() as other, pytest.raises(BackupError):
        _at(other.port).probe()
    assert time.monotonic() - began < 5


def _at(port: int) -> Mysql:
    return Mysql({"host": "127.0.0.1", "port": port, "database": "shop", "user": "u"}, Reach())


def test_a_missing_program_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DBACKUP_SECRET_KEY", "what signs the cookies")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match="Install it: apt install mariadb-client"):
        clients.find(clients.DUMP, Version("MariaDB", "10.11.19"))
    old = tmp_path / "mysqldump"
    old.write_text(f"#!/bin/sh\necho 'mysqldump  Ver 5.7.1 for Linux'\nexport > {tmp_path}/env\n")
    old.chmod(0o755)
    with pytest.raises(BackupError, match="too old: the server is MySQL 8"):
        clients.find(clients.DUMP, Version("MySQL", "8.0.36"))
    found = clients.find(clients.DUMP, Version("MariaDB", "10.11.19"))
    assert "is a program of MySQL" in clients.notes(found, Version("MariaDB", "10.11.19"))[0]
    assert "DBACKUP" not in (tmp_path / "env").read_text()


def test_options_leave_tables_out_and_others_are_refused(maria: MariaScratch) -> None:
    source = maria.database("CREATE TABLE big (i INT)", "CREATE TABLE small (i INT)")
    name = source.config["database"]
    output = Collected()
    maria.source(name, flags=f"--ignore-table={name}.big").dump(output, Watcher())
    assert b"CREATE TABLE `small`" in output.data
    assert b"CREATE TABLE `big`" not in output.data
    with pytest.raises(BackupError, match="--result-file is not one of the options"):
        maria.source(name, flags="--result-file=/tmp/x").dump(Collected(), Watcher())
