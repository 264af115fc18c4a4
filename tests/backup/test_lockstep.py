"""Code that reads and writes by itself, fed step by step."""

import threading
from contextlib import closing

import pytest

from webapp.backup.lockstep import Lockstep
from webapp.backup.sources.base import Reader, Writer


def _shout(reader: Reader, writer: Writer) -> None:
    while data := reader.read(3):
        writer.write(data.upper())
    writer.write(b".")


def test_what_was_fed_comes_back_in_step() -> None:
    with closing(Lockstep(_shout, "shout")) as steps:
        assert b"".join(steps.feed(b"some bytes")) == b"SOME BYTES"
        assert b"".join(steps.feed(b"more")) == b"MORE"
        assert steps.finish() == [b"."]


def test_an_error_of_the_work_reaches_the_caller() -> None:
    def fail(reader: Reader, _writer: Writer) -> None:
        reader.read(1)
        raise ValueError("no good")

    with closing(Lockstep(fail, "fail")) as steps, pytest.raises(ValueError, match="no good"):
        steps.feed(b"x")


@pytest.mark.parametrize("fed", [0, 1])
def test_closing_early_ends_the_thread(fed: int) -> None:
    steps = Lockstep(_shout, "abandoned work")
    for _ in range(fed):
        steps.feed(b"x")
    steps.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "abandoned work"]
