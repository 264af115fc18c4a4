import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.backup.watchers import Watcher
from webapp.backup.child import Child, ChildError
from webapp.backup.errors import CancelledError
from webapp.core.settings import PROJECT_ROOT

SH = "/bin/sh"


def _child(script: str, watcher: Watcher | None = None, **more: object) -> Child:
    return Child([SH, "-c", script], {}, progress=watcher or Watcher(), **more)  # type: ignore[arg-type]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not _alive(pid)


def test_output_is_streamed() -> None:
    with _child("printf one; printf two") as child:
        assert b"".join(child.output()) == b"onetwo"


def test_input_is_fed() -> None:
    with _child("test $(wc -c) -eq 3000000", reads=True) as child:
        for _ in range(3):
            child.feed(b"x" * 1_000_000)
        child.end()


def test_a_failure_brings_the_last_lines_of_its_complaints() -> None:
    script = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i >&2; done; exit 3"
    with _child(script) as child, pytest.raises(ChildError, match="status 3") as caught:
        list(child.output())
    assert caught.value.tail.splitlines() == [f"line {i}" for i in range(31, 51)]


def test_a_program_that_is_killed_is_said() -> None:
    with _child("kill -9 $$") as child, pytest.raises(ChildError, match=r"killed .SIGKILL"):
        list(child.output())


def test_a_program_that_stops_reading_is_an_error() -> None:
    with _child("echo no >&2; exit 1", reads=True) as child, pytest.raises(ChildError) as caught:
        _feed_for_ever(child)
    assert caught.value.tail == "no"


def _feed_for_ever(child: Child) -> None:
    while True:
        child.feed(b"x" * 100_000)


def test_a_program_that_does_not_exist_is_said() -> None:
    with (
        Child(["/nowhere/pg_dump"], {}, progress=Watcher()) as child,
        pytest.raises(ChildError) as caught,
    ):
        list(child.output())
    assert "cannot be started" in caught.value.tail


def test_cancelling_kills_the_whole_group_also_while_it_is_silent() -> None:
    watcher = Watcher(cancel_when=lambda watcher: watcher.checks > 8)
    seen: list[int] = []
    child = _child("sleep 60 & echo $!; wait", watcher)
    with pytest.raises(CancelledError), child:
        _note(child, seen)
    assert _gone(seen[0])
    assert _gone(child._process.pid)


def _note(child: Child, seen: list[int]) -> None:
    for chunk in child.output():
        seen.append(int(chunk))


def test_a_program_that_ignores_polite_signals_is_killed() -> None:
    watcher = Watcher(cancel_when=lambda watcher: watcher.checks > 10)
    child = _child("trap '' TERM; while :; do sleep 0.1; done", watcher)
    with pytest.raises(CancelledError), child:
        list(child.output())
    assert _gone(child._process.pid)


def test_a_program_over_its_time_limit_is_stopped() -> None:
    child = _child("sleep 60", time_limit_seconds=0.3)
    with child, pytest.raises(ChildError, match="too long"):
        list(child.output())
    assert _gone(child._process.pid)


def test_many_complaints_do_not_block_the_program() -> None:
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo aaaaaaaaaaaa >&2; done; echo done"
    with _child(script) as child:
        assert b"".join(child.output()) == b"done\n"


SERVER = """
import sys, threading
from tests.backup.watchers import Watcher
from webapp.backup.child import Child

def run():
    with Child(["/bin/sleep", "300"], {}, progress=Watcher()) as child:
        print(child._process.pid, flush=True)
        list(child.output())

threading.Thread(target=run).start()
"""


def test_a_program_dies_with_the_server_that_is_killed() -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    )
    with server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        time.sleep(0.3)  # the launcher ties itself to its parent, then becomes the program
        assert _alive(pid)
        os.kill(server.pid, signal.SIGKILL)
    assert _gone(pid)


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with _child("echo x") as child:
        list(child.output())
    assert threading.active_count() == before
