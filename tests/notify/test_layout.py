"""Messages are laid out within limits; the least important part gives way first, and says so."""

from typing import Any

import pytest

from tests.notify.samples import failure
from webapp.notify.layout import Laid, Limits, is_linkable, lay_out
from webapp.notify.message import Field

LIMITS = {
    "total": 3_000, "title": 50, "text": 1_000, "name": 20, "value": 200, "facts": 10,
    "error": 2_000,
}  # fmt: skip


def same(value: str) -> str:
    return value


def laid(limits: dict[str, Any] | None = None, **changes: Any) -> Laid:
    found = Limits(**(LIMITS | (limits or {})))
    message = failure(**changes)
    return lay_out(message, found, escape=same, escape_title=same, escape_code=same)


def size(found: Laid) -> int:
    parts = [found.title, found.text, found.error, found.footer, found.link]
    parts += [text for fact in found.facts for text in (fact.name, fact.value)]
    return sum(map(len, parts))


def test_what_fits_is_left_alone() -> None:
    found = laid()
    assert found.title == "Backup failed: nightly-orders"
    assert found.error == failure().error
    assert found.facts == failure().fields
    assert found.link == "https://backup.example.org/runs/4711"


def test_the_error_gives_way_before_the_text_and_the_text_before_the_facts() -> None:
    facts = tuple(Field(f"Fact {number}", "v" * 150) for number in range(10))
    found = laid(fields=facts, text="t" * 900, error="e" * 5_000)
    assert len(found.facts) == 10
    assert found.text == "t" * 900
    assert "cut, 5000 characters" in found.error
    tighter = laid({"total": 2_400}, fields=facts, text="t" * 900, error="e" * 5_000)
    assert len(tighter.facts) == 10
    assert len(tighter.error) <= 300
    assert "cut, 900 characters" in tighter.text
    assert size(tighter) <= 2_400


def test_facts_that_find_no_room_are_counted() -> None:
    facts = tuple(Field(f"Fact {number}", "v" * 200) for number in range(20))
    found = laid({"total": 1_200}, fields=facts, error="e" * 5_000)
    assert size(found) <= 1_200
    assert found.facts[-1].name == "More"
    assert found.facts[-1].value == f"{21 - len(found.facts)} facts left out, see DBackup"


@pytest.mark.parametrize("blank", ["", "  ", "\u200b", "\u034f\u2060", "\n"])
def test_nothing_visible_is_a_dash_and_an_empty_error_is_none(blank: str) -> None:
    found = laid(title=blank, text=blank, error=blank, fields=(Field(blank, blank),))
    assert found.title == "–"
    assert found.facts == (Field("–", "–"),)
    assert found.error == ""
    assert found.text == ""


@pytest.mark.parametrize(
    ("link", "good"),
    [
        ("https://backup.example.org/runs/1", True),
        ("http://192.168.1.2:8000/runs/1", True),
        ("http://localhost:8000/runs/1", False),
        ("https://backup/runs/1", False),
        ("https://[::1/", False),
        ("javascript:alert(1)", False),
        ("https://e.org/" + "x" * 2_000, False),
    ],
)
def test_only_addresses_that_services_take_become_links(link: str, good: bool) -> None:
    assert is_linkable(link, 2_000) is good
    assert (laid(link=link).link == link) is good


def test_a_link_that_services_refuse_stands_in_the_text() -> None:
    assert (
        "Open run: http://localhost:8000/runs/1" in laid(link="http://localhost:8000/runs/1").text
    )
