"""The demo: every channel delivers to its stand-in, jobs work, and every page says what it is."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.browser import Browser
from tests.conftest import make_settings
from tools.demo import sample, services
from webapp.app import create_app
from webapp.models.channel import ChannelRow
from webapp.models.job import SourceRow
from webapp.notify.channels import BY_TYPE, CHANNELS
from webapp.services import channel_samples, channels, schema, users
from webapp.services.transaction import reading


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)  # put back afterwards
    ca_file = tmp_path / "authority.pem"
    with services.running(ca_file):
        settings = make_settings(tmp_path)
        app = create_app(replace(settings, ca_file=ca_file, allow_private_networks="all"))
        with app.app_context():
            schema.upgrade()
            sample.prepare(app)
            yield app


def stored() -> list[ChannelRow]:
    with reading() as session:
        return list(session.scalars(select(ChannelRow).order_by(ChannelRow.id)))


def test_there_is_a_channel_of_every_type_and_each_delivers(demo: Flask) -> None:
    rows = stored()
    assert {row.type for row in rows} == {kind.type for kind in CHANNELS}
    for row in rows:
        config = channels.config_of(row)
        trial = channel_samples.send(BY_TYPE[row.type], config, row.name, "Mara")
        assert trial.ok, (row.name, trial.words, trial.excerpt)


def test_a_second_start_adds_nothing(demo: Flask) -> None:
    before = [row.id for row in stored()]
    sample.prepare(demo)
    assert [row.id for row in stored()] == before
    assert users.any_user()


def test_jobs_have_a_database_that_is_there(demo: Flask) -> None:
    with reading() as session:
        rows = list(session.scalars(select(SourceRow)))
    assert rows
    assert all(row.type == "sqlite" and Path(row.summary).is_file() for row in rows)


def test_every_page_says_that_it_is_a_demo(demo: Flask) -> None:
    browser = Browser(demo)
    page = str(browser.get("/login"))
    assert sample.SIGN_IN["email"] in page
    assert sample.SIGN_IN["password"] in page
    browser.sign_in(sample.SIGN_IN["email"])
    for path in ("/", "/channels", "/deliveries", "/jobs", "/settings/notifications"):
        page = str(browser.get(path))
        assert 'class="demo"' in page
        assert sample.SIGN_IN["password"] not in page


def test_other_installations_are_no_demo(app: Flask) -> None:
    assert 'class="demo"' not in str(Browser(app).get("/setup"))
