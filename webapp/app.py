"""Wires everything together. Nothing here starts a thread, calls the network or migrates."""

import os
from typing import Any, Final

from flask import Flask
from sqlalchemy import make_url

from webapp.cli import COMMANDS
from webapp.core.settings import PROJECT_ROOT, Settings
from webapp.models import db
from webapp.services import audit_watch, schema
from webapp.services.installation import install
from webapp.web import errors, filters, limits, login, menu, numbers, security
from webapp.web.views import BLUEPRINTS

_PATIENCE: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""Seconds (the last: milliseconds) after which a PostgreSQL server that went away without a word is
given up. The system's own two hours would be two hours without alarms."""


def create_app(settings: Settings | None = None) -> Flask:
    """Return the application for these settings (by default: those of the environment)."""
    settings = settings or Settings.from_env(os.environ)
    app = Flask(
        "webapp",
        root_path=str(PROJECT_ROOT),
        instance_path=str(settings.instance_path),
        template_folder="templates",
        static_folder="static",
    )
    app.config.from_mapping(
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=_engine_options(settings),
    )
    app.jinja_options["trim_blocks"] = True
    app.jinja_options["lstrip_blocks"] = True
    db.init_app(app)
    schema.init_app(app)
    install(app, settings)
    audit_watch.init_app()
    numbers.init_app(app)
    login.init_app(app, settings)  # its gate comes before CSRF: who must sign in is told so
    security.init_app(app, settings)
    limits.init_app(app)
    menu.init_app(app)
    filters.init_app(app)
    errors.init_app(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    for command in COMMANDS:
        app.cli.add_command(command)
    return app


def _engine_options(settings: Settings) -> dict[str, Any]:
    # waitress 8 threads, dispatcher, scheduler and 2 runs; each holds a connection for moments
    # parameters stay out of errors: they are what people typed, and hashes of passwords
    # the connection used last is taken first: SQLite keeps the pages that it read for it
    options = {"pool_size": 16, "max_overflow": 16, "hide_parameters": True, "pool_use_lifo": True}
    if settings.is_sqlite:
        return options
    given = make_url(settings.database_url).query  # the admin knows the network better
    patience = {name: value for name, value in _PATIENCE.items() if name not in given}
    return options | {"pool_pre_ping": True, "connect_args": patience}
