"""A signal is remembered wherever it strikes; a second one ends the process."""

import subprocess
import sys

from webapp.core.settings import PROJECT_ROOT

SCRIPT = """
import os, signal, sys
from webapp.core.signals import StopSignals

signals = StopSignals("last words")

class Unlucky:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

Unlucky()
assert signals.came == signal.SIGTERM
if len(sys.argv) > 1:
    os.kill(os.getpid(), signal.SIGINT)
print("still here")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "still here\n", "")


def test_a_second_signal_ends_the_process_with_its_last_words() -> None:
    done = run("twice")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "last words\n")
