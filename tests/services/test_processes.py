"""Which process lives and which is dead."""

import subprocess
import sys

from webapp.services import processes


def test_this_process_lives() -> None:
    assert not processes.is_dead(processes.owner())


def test_a_process_that_ended_is_dead() -> None:
    script = "from webapp.services import processes; print(processes.owner())"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert processes.is_dead(ended.stdout.strip())


def test_a_later_process_with_the_same_pid_is_another() -> None:
    host_and_pid, _, _ = processes.owner().rpartition(":")
    assert processes.is_dead(f"{host_and_pid}:boot-1")


def test_nothing_is_said_about_another_host() -> None:
    assert not processes.is_dead("elsewhere:1:boot-1")
