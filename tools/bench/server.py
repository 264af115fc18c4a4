"""The installed server as a process, on a scratch instance with nine channels and jobs."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from webapp.core.settings import PROJECT_ROOT

DBACKUP: Final = Path(sys.executable).with_name("dbackup")
EMAIL: Final = "bench@example.org"
PASSWORD: Final = "measured twice, cut once"
SECONDS: Final = 30


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Instance:
    """A scratch instance directory and the environment that leads to it."""

    path: Path
    port: int

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its processes."""
        return {
            "PATH": os.environ["PATH"],
            "DBACKUP_INSTANCE_PATH": str(self.path),
            "DBACKUP_PORT": str(self.port),
        }

    def dbackup(self, *arguments: str, stdin: str = "") -> None:
        """Run a command there."""
        subprocess.run(
            [DBACKUP, *arguments],
            env=self.environ,
            input=stdin,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def python(self, module: str, *arguments: str) -> str:
        """Run one of our modules there; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=PROJECT_ROOT,
            env=self.environ,
            text=True,
            check=True,
            stdout=subprocess.PIPE,
        )
        return done.stdout

    @contextmanager
    def started(self, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run one of our modules there meanwhile; it is spoken to through pipes."""
        with subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=PROJECT_ROOT,
            env=self.environ,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            yield process


@contextmanager
def serving(command: list[str], port: int, environ: dict[str, str]) -> Iterator[tuple[int, float]]:
    """Start a server; give its process id and the seconds to its first answered request."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid, _first_answer(port) - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS * 2)


def _first_answer(port: int) -> float:
    deadline = time.perf_counter() + SECONDS
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
            connection.request("GET", "/login")
            connection.getresponse().read()
            return time.perf_counter()
        except OSError:
            if time.perf_counter() > deadline:
                raise
            time.sleep(0.002)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise RuntimeError("the process is gone")
    return int(found[1]) / 1024


class Session:
    """One kept connection, signed in."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        self._cookies: dict[str, str] = {}
        self.token = ""

    def sign_in(self) -> None:
        """Sign in as the admin."""
        self.get("/login")
        self.post("/login", email=EMAIL, password=PASSWORD)
        self.get("/settings/notifications")

    @property
    def cookie(self) -> str:
        """What a browser would send."""
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def get(self, path: str) -> bytes:
        """Return a page; its CSRF token is kept."""
        body = self._ask("GET", path)
        found = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', body)
        if found:
            self.token = found[1].decode()
        return body

    def post(self, path: str, **fields: str) -> bytes:
        """Send a form as HTMX does."""
        return self._ask("POST", path, urlencode({"csrf_token": self.token, **fields}))

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        headers = {"Cookie": self.cookie, "HX-Request": "true"} if body else {"Cookie": self.cookie}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path} answered {answer.status}")
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self._cookies[key] = rest.partition(";")[0]
        return content
