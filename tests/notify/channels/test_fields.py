"""Fields that channel forms share."""

import pytest
from werkzeug.datastructures import MultiDict
from wtforms.validators import ValidationError

from webapp.core.errors import SecretError
from webapp.notify.channels import fields
from webapp.notify.channels.fields import (
    ChannelForm,
    HeadersField,
    OutboundUrlField,
    RecipientsField,
    SecretField,
    WordsField,
)


def must_be_long(value: str) -> None:
    if len(value) < 5:
        raise ValidationError("Use at least 5 characters.")


class SampleForm(ChannelForm):
    token = SecretField("Token", required=True, check=must_be_long, hint=lambda value: value[:2])
    extra = SecretField("API key")
    headers = HeadersField("Headers")
    server = OutboundUrlField("Server")
    people = RecipientsField("To", most=2)


STORED = {"token": "stored-token", "extra": "stored-extra", "headers": "X-A: stored", "server": ""}


def form(typed: dict[str, str], stored: dict[str, str] | None = None) -> SampleForm:
    made = SampleForm(MultiDict(typed), stored=stored)
    made.validate()
    return made


def test_a_required_secret_is_demanded_once() -> None:
    assert form({}).errors == {"token": ["Enter the token."]}
    assert form({}, STORED).errors == {}


def test_a_blank_secret_keeps_the_stored_one_and_a_box_removes_an_optional_one() -> None:
    kept = form({"token": "", "extra": ""}, STORED).merged(STORED)
    assert (kept["token"], kept["extra"]) == ("stored-token", "stored-extra")
    cleared = form({"extra-clear": "1"}, STORED).merged(STORED)
    assert cleared["extra"] == ""


def test_a_required_secret_cannot_be_cleared_away() -> None:
    made = form({"token-clear": "1"}, STORED)
    assert "token" in made.errors
    assert not made.token.can_be_cleared


def test_a_typed_secret_replaces_the_stored_one_and_is_checked() -> None:
    assert form({"token": " fresh-one "}, STORED).merged(STORED)["token"] == "fresh-one"
    assert form({"token": "abc"}, STORED).errors == {"token": ["Use at least 5 characters."]}


def test_a_reference_is_accepted_unchecked_but_must_look_like_one() -> None:
    assert form({"token": "env:T"}).errors == {}
    assert form({"token": "file:/a"}).errors == {}
    assert "token" in form({"token": "env:not a name"}).errors
    assert "token" in form({"token": "file:relative"}).errors


def test_hints_show_what_may_be_shown() -> None:
    assert form({}, STORED).token.hint == "st"
    assert form({}, {"token": "env:T"}).token.hint == "env:T"
    assert form({}, STORED).headers.hint == "X-A"
    assert form({}, STORED).extra.hint == ""


def test_a_reference_that_leads_nowhere_says_so_when_it_is_used() -> None:
    with pytest.raises(SecretError, match="NOT_THERE"):
        SampleForm.resolved({"token": "env:NOT_THERE"})


def test_values_of_another_version_are_kept() -> None:
    assert form({}, STORED).merged({**STORED, "chat": 7})["chat"] == 7


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example",
        "https://",
        "https://u:p@a.example",
        "https://a.example/a b",
        "http://[::1",
    ],
)
def test_addresses_that_cannot_be_called_are_refused(url: str) -> None:
    assert set(form({"server": url}, STORED).errors) == {"server"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x?y=z", "https://[::1]:1/", "http://nas"])
def test_addresses_of_own_servers_are_fine(url: str) -> None:
    assert form({"server": url}, STORED).errors == {}


def test_recipients_are_split_and_told_once() -> None:
    made = form({"people": "a@b.example; A@b.example\nc@d.example"}, STORED)
    assert made.merged({})["people"] == ["a@b.example", "c@d.example"]
    assert "people" in form({"people": "a@b.example c@d.example e@f.example"}, STORED).errors


def test_a_header_file_may_hold_them_all() -> None:
    assert fields.parse_headers("A: b:c\n\n D : e ") == [("A", "b:c"), ("D", "e")]


class Strange(ChannelForm):
    token = SecretField("Token", warn=lambda value: f"{value[:3]} is strange")
    words = WordsField("Words")


def test_a_stored_value_that_is_strange_is_accepted_with_a_warning() -> None:
    assert Strange(stored={"token": "abcdef"}).token.warning == "abc is strange"
    assert Strange(stored={"token": "env:TOKEN"}).token.warning == ""
    assert Strange().token.warning == ""


def test_words_are_split_and_told_once() -> None:
    form = Strange(MultiDict({"words": "b, a;b\n c"}))
    assert form.config()["words"] == ["b", "a", "c"]
    assert "b a c" in str(Strange(data={"words": ["b", "a", "c"]}).words())
