"""Secrets of a form that came back."""

from datetime import timedelta

import pytest
import time_machine

from webapp.core import clock
from webapp.services import channel_drafts

pytestmark = pytest.mark.usefixtures("app")


def test_the_same_person_gets_the_secrets_back_for_the_same_form() -> None:
    token = channel_drafts.keep("channel:email:new", 7, {"password": "hush-hush"})
    assert channel_drafts.recall(token, "channel:email:new", 7) == {"password": "hush-hush"}


def test_the_token_does_not_show_the_secret() -> None:
    assert "hush-hush" not in channel_drafts.keep("form", 7, {"password": "hush-hush"})


def test_no_secret_needs_no_token() -> None:
    assert channel_drafts.keep("form", 7, {}) == ""


def test_nobody_else_and_no_other_form_opens_it() -> None:
    token = channel_drafts.keep("channel:email:new", 7, {"password": "hush-hush"})
    assert channel_drafts.recall(token, "channel:email:new", 8) == {}
    assert channel_drafts.recall(token, "channel:email:3", 7) == {}


def test_it_lasts_an_hour() -> None:
    with time_machine.travel(clock.now(), tick=False) as traveller:
        token = channel_drafts.keep("form", 7, {"password": "hush-hush"})
        traveller.shift(timedelta(minutes=59))
        assert channel_drafts.recall(token, "form", 7)
        traveller.shift(timedelta(minutes=2))
        assert channel_drafts.recall(token, "form", 7) == {}


@pytest.mark.parametrize("token", ["", "rubbish", "gAAAAAB", "ünsinn"])
def test_rubbish_is_no_token(token: str) -> None:
    assert channel_drafts.recall(token, "form", 7) == {}
