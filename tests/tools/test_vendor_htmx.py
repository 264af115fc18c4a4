"""make vendor."""

from pathlib import Path

import pytest

from tools import vendor_htmx
from webapp.core.settings import HTMX_INTEGRITY


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "vendor" / "htmx.min.js"


def test_the_right_file_is_stored(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        vendor_htmx,
        "HTMX_INTEGRITY",
        "sha384-" + vendor_htmx.digest("sha384", b"alert(1)"),
    )
    vendor_htmx.store(b"alert(1)", target)
    assert target.read_bytes() == b"alert(1)"
    assert [path.name for path in target.parent.iterdir()] == ["htmx.min.js"]


def test_a_changed_byte_leaves_no_file_not_even_the_old_one(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"what was here before")
    with pytest.raises(ValueError, match="hash"):
        vendor_htmx.store(b"not htmx", target)
    assert list(target.parent.iterdir()) == []


def test_the_hash_is_of_the_kind_that_browsers_check() -> None:
    assert HTMX_INTEGRITY.startswith("sha384-")
    assert len(HTMX_INTEGRITY) == len("sha384-") + 64
