"""What tests of commands share: a runner, and tables that say which revision they are."""

from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from webapp.cli import COMMANDS
from webapp.services import schema
from webapp.services.transaction import transaction


@pytest.fixture
def dbackup(app: Flask) -> Callable[..., Result]:
    """Run a command as the terminal would; the answer has stdout, stderr and exit_code."""
    with transaction() as session:
        session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        session.execute(
            text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": schema.known()[-1]}
        )
    runner = app.test_cli_runner()
    commands = {command.name: command for command in COMMANDS}

    def run(name: str, *arguments: str, stdin: str | None = None) -> Result:
        return runner.invoke(commands[name], list(arguments), input=stdin)

    return run
