"""Fixtures of every test: an application on a real SQLite file, and a browser that checks pages."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from tests.browser import Browser
from tests.factories import make_user
from tests.services_needed import HOST, PORT, require_postgres
from webapp.app import create_app
from webapp.core.settings import Settings
from webapp.models import db
from webapp.models.user import Role

pytest_plugins = ["tests.servers.fixtures", "tests.left_out"]
KEY = Fernet.generate_key().decode()


def make_settings(path: Path, **changes: object) -> Settings:
    values: dict[str, object] = {
        "instance_path": path,
        "secret_key": "t" * 64,
        "encryption_keys": (KEY,),
        "database_url": f"sqlite:///{path / 'dbackup.db'}",
        "base_url": "https://backup.example.org",
    }
    return Settings(**(values | changes))  # type: ignore[arg-type]


@event.listens_for(Session, "before_flush")
def refuse_what_postgresql_would(session: Session, *_more: object) -> None:
    """Let SQLite take no text that is longer than its column: PostgreSQL does not."""
    for row in (*session.new, *session.dirty):
        for name, column in inspect(type(row)).columns.items():
            longest, value = getattr(column.type, "length", None), getattr(row, name)
            assert longest is None or value is None or len(value) <= longest, (
                f"{column}: {len(value)} characters, {longest} at most"
            )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """An application with empty tables, in its context; nothing is running beside it."""
    app = create_app(settings)
    app.testing = True
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


@contextmanager
def make_postgres() -> Iterator[str]:
    """Make an empty PostgreSQL database; return its address."""
    require_postgres()
    name = f"dbackup_test_{secrets.token_hex(6)}"
    with psycopg.connect(f"host={HOST} port={PORT} user=postgres", autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        yield f"postgresql+psycopg://postgres@{HOST}:{PORT}/{name}"
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def postgres_app(tmp_path: Path) -> Iterator[Flask]:
    """The same on a PostgreSQL database of its own."""
    with make_postgres() as url:
        app = create_app(make_settings(tmp_path, database_url=url))
        app.testing = True
        with app.app_context():
            db.create_all()
            yield app
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def browser(app: Flask) -> Browser:
    """Nobody's browser, on an installation that is set up."""
    make_user(role=Role.ADMIN, name="Somebody Else", email="else@example.org")
    return Browser(app)


@pytest.fixture
def admin(app: Flask) -> Browser:
    """An admin's browser, signed in."""
    return _signed_in(app, Role.ADMIN, "Mara Lindqvist", "mara@example.org")


@pytest.fixture
def operator(app: Flask) -> Browser:
    """An operator's browser, signed in."""
    return _signed_in(app, Role.OPERATOR, "Otis Operator", "otis@example.org")


@pytest.fixture
def viewer(app: Flask) -> Browser:
    """A viewer's browser, signed in."""
    return _signed_in(app, Role.VIEWER, "Vera Viewer", "vera@example.org")


def _signed_in(app: Flask, role: Role, name: str, email: str) -> Browser:
    make_user(role=role, name=name, email=email)
    browser = Browser(app)
    browser.sign_in(email)
    return browser
