"""The ballast: made when there is room, given up when there is none."""

from pathlib import Path

import pytest

from webapp.core import ballast


def test_it_takes_its_room_on_the_disk_for_real(tmp_path: Path) -> None:
    path = ballast.beside(str(tmp_path / "dbackup.db"))
    assert path.parent == tmp_path
    assert ballast.keep(path)
    state = path.stat()
    assert (state.st_size, state.st_mode & 0o777) == (16 * 1024 * 1024, 0o600)
    assert state.st_blocks * 512 >= 16 * 1024 * 1024
    assert ballast.give_up(path)
    assert not path.exists()
    assert not ballast.give_up(path)


@pytest.mark.parametrize(("free", "made"), [(ballast.ROOM - 1, False), (ballast.ROOM, True)])
def test_it_is_made_only_when_there_is_room_left_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, made: bool
) -> None:
    monkeypatch.setattr(ballast, "free_bytes", lambda _: free)
    assert ballast.keep(tmp_path / ballast.NAME) is made
    assert (tmp_path / ballast.NAME).exists() is made


@pytest.mark.parametrize(("free", "kept"), [(ballast.LOW - 1, False), (ballast.LOW, True)])
def test_it_is_given_up_when_little_room_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, kept: bool
) -> None:
    path = tmp_path / ballast.NAME
    ballast.keep(path)
    monkeypatch.setattr(ballast, "free_bytes", lambda _: free)
    assert ballast.give_up_when_low(path) is not kept
    assert ballast.is_there(path) is kept


def test_a_half_written_one_is_made_whole(tmp_path: Path) -> None:
    path = tmp_path / ballast.NAME
    path.write_bytes(b"half")
    assert not ballast.is_there(path)
    assert ballast.keep(path)
    assert ballast.is_there(path)
