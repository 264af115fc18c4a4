"""The server as people start and stop it: a process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.http import Peer, Received

ROOT = Path(__file__).resolve().parents[1]
DBACKUP = [sys.executable, "-m", "webapp.server"]


class Server:
    """One instance directory with its server; `command` runs dbackup there."""

    def __init__(self, path: Path, **environ: str) -> None:
        self.path = path
        self.port = free_port()
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DBACKUP_")},
            "DBACKUP_INSTANCE_PATH": str(path),
            "DBACKUP_PORT": str(self.port),
            "DBACKUP_HTMX_URL": "/static/app.js",  # there, so nothing is asked for in the network
            "PYTHONUNBUFFERED": "1",
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.said_in = path.with_name("said.txt")

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        self.said_in.write_text("")
        with self.said_in.open("a") as said:
            self.process = subprocess.Popen(
                [*DBACKUP, "serve"],
                cwd=ROOT,
                env=self.environ,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "Ctrl-C" in self.said or self.process.poll() is not None)

    @property
    def said(self) -> str:
        """All that it said since it was started."""
        return self.said_in.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(40)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*DBACKUP, *arguments],
            cwd=ROOT,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(**environ: str) -> Server:
        made.append(Server(tmp_path / "instance", **environ))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()


def wait_until(holds: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_fresh_instance_serves_its_setup_page_and_says_where(server: Server) -> None:
    server.start()
    assert f"http://127.0.0.1:{server.port}" in server.said
    status, page = server.get("/login")
    assert status == 200
    assert 'action="/setup"' in page
    files = [server.path / name for name in ("secret_key", "encryption_keys", "dbackup.db")]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(server: Server, number: int) -> None:
    server.start()
    server.get("/login")
    assert server.end(number) == 0, server.said
    assert server.said.endswith("Stopped.\n")
    assert "Traceback" not in server.said


def test_it_is_one_process(server: Server) -> None:
    server.start()
    server.get("/login")
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    assert children == ""


def test_a_port_that_is_taken_is_said_in_one_line_and_nothing_starts(server: Server) -> None:
    with socket.create_server(("127.0.0.1", server.port)):
        done = server.command("serve")
    assert done.returncode == 1
    assert re.fullmatch(
        rf"Error: 127\.0\.0\.1:{server.port} is taken by another program\. .*PORT=\d+\n",
        done.stderr,
    )
    assert not (server.path / "dbackup.db").exists()


def test_wrong_settings_are_all_named_and_nothing_is_made(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(DBACKUP_TIMEZONE="Mars", DBACKUP_TRUSTED_PROXIES="many")
    done = server.command("serve")
    assert done.returncode == 1
    assert "DBACKUP_TIMEZONE" in done.stderr
    assert "DBACKUP_TRUSTED_PROXIES" in done.stderr
    assert "Traceback" not in done.stderr
    assert not server.path.exists()


def test_beyond_loopback_it_prints_the_setup_code_until_somebody_exists(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(DBACKUP_HOST="0.0.0.0")
    server.start()
    code = (server.path / "setup_code").read_text().strip()
    server.end()
    assert f"One-time setup code: {code}" in server.said
    server.command(
        "users", "add", "ada@example.org", "--role=admin", "--password-stdin",
        stdin="winter umbrella 42 zinc\n",
    )  # fmt: skip
    server.start()
    server.end()
    assert "setup code" not in server.said


def test_it_says_when_htmx_is_out_of_reach_without_waiting_for_it(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(DBACKUP_HTMX_URL=f"http://127.0.0.1:{free_port()}/htmx.min.js")
    server.start()
    assert server.get("/login")[0] == 200
    wait_until(lambda: "htmx cannot be loaded" in server.said)
    assert "make vendor" in server.said


def test_what_is_being_sent_is_finished_before_it_stops(server: Server, peer: Peer) -> None:
    server.start()
    add_channel(server, peer)
    arrived: list[Received] = []

    def be_slow(received: Received) -> None:
        arrived.append(received)
        time.sleep(1.5)

    peer.before_answer = be_slow
    server.command("events", "emit", "system_error", "--sample")
    wait_until(lambda: bool(arrived))
    assert server.end() == 0, server.said
    assert states(server) == ["sent"]
    assert len(peer.requests) == 1


def test_what_another_process_published_is_sent_within_seconds(server: Server, peer: Peer) -> None:
    server.start()
    add_channel(server, peer)
    server.command("events", "emit", "system_error", "--sample")
    peer.wait(1, seconds=6)
    wait_until(lambda: states(server) == ["sent"])


def test_forwarded_headers_count_only_behind_a_trusted_proxy(
    make_server: Callable[..., Server],
) -> None:
    spoofed = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    alone = make_server()
    alone.start()
    alone.get("/login", **spoofed)
    assert not is_secure(alone, spoofed)
    alone.kill()
    behind = make_server(DBACKUP_TRUSTED_PROXIES="1")
    behind.start()
    assert is_secure(behind, spoofed)


def test_what_a_proxy_passed_on_is_not_local_although_it_is_not_trusted(server: Server) -> None:
    server.start()
    passed_on = {"X-Forwarded-For": "203.0.113.9"}
    assert "Setup code" in server.get("/setup", **passed_on)[1]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        server.get("/metrics", **passed_on)
    assert "Setup code" not in server.get("/setup")[1]
    assert server.get("/metrics")[0] == 200


def is_secure(server: Server, headers: dict[str, str]) -> bool:
    """Say whether the session cookie of the answer may only travel over HTTPS."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/setup", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return "Secure" in answer.headers["Set-Cookie"]


def add_channel(server: Server, peer: Peer) -> None:
    """Add a webhook that every event goes to."""
    script = (
        "from webapp.app import create_app\n"
        "from webapp.services import notification_settings\n"
        "from tests.factories import make_channel\n"
        "with create_app().app_context():\n"
        f"    row = make_channel(name='Peer', config={{'url': {peer.url!r}, 'method': 'POST'}})\n"
        "    notification_settings.choose_global([row.id])\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=server.environ, check=True)


def states(server: Server) -> list[str]:
    done = server.command("deliveries", "list", "--json")
    return [entry["state"] for entry in json.loads(done.stdout)]
