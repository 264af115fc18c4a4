"""What a stopped restore says of its target is what the server says of it."""

import socket
import threading
from pathlib import Path

from tests.backup.conftest import MariaScratch
from webapp.backup import remains
from webapp.backup.sources.mysql import Mysql
from webapp.backup.sources.mysql_server import MARKER
from webapp.backup.sources.sqlite import Sqlite


def test_a_half_loaded_database_is_said_to_be_one(maria: MariaScratch) -> None:
    source = maria.database(f"CREATE TABLE {MARKER} (note INT)")
    target = source.config["database"]
    assert remains.look(source, target, overwrite=True).startswith(f"{target} is not whole")


def test_a_database_that_was_not_touched_is_said_to_be_as_it_was(maria: MariaScratch) -> None:
    source = maria.database("CREATE TABLE item (n INT)")
    target = source.config["database"]
    assert remains.look(source, target, overwrite=True) == f"{target} is as it was before."
    assert "this restore did not make it" in remains.look(source, target, overwrite=False)


def test_a_server_that_is_away_is_not_guessed_about() -> None:
    config = {
        "host": "127.0.0.1",
        "port": 1,
        "user": "u",
        "password": "tall ships",
        "database": "d",
    }
    said = remains.look(Mysql(config), "shop", overwrite=True)
    assert said.startswith("Whether something is left in shop could not be seen. Nothing answers")
    assert "tall ships" not in said


def test_what_a_server_lets_slip_is_not_passed_on() -> None:
    words = b"\xff\x10\x04Too many connections from postgres://admin:hunter22secret@pool.lan"
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(len(words).to_bytes(3, "little") + b"\0" + words)

        answering = threading.Thread(target=refuse)
        answering.start()
        port = listening.getsockname()[1]
        config = {"host": "127.0.0.1", "port": port, "user": "u", "database": "d"}
        said = remains.look(Mysql(config), "shop", overwrite=True)
        answering.join()
    assert "Too many connections" in said
    assert "hunter22secret" not in said


def test_a_file_is_looked_for(tmp_path: Path) -> None:
    target = str(tmp_path / "new.db")
    assert remains.look(Sqlite({"path": target}), target, overwrite=False) == (
        f"Nothing of it was left: there is no {target}."
    )
