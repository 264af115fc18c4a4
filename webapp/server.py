"""The command `dbackup`: the command line, and the server as one process."""

import errno
import gc
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import click
from flask import Flask
from flask.cli import FlaskGroup

from webapp import __version__
from webapp.app import create_app
from webapp.cli import COMMANDS
from webapp.cli.base import one_line_errors
from webapp.core import logs, memory
from webapp.core.errors import AppError
from webapp.core.settings import Settings
from webapp.core.signals import StopSignals
from webapp.services import htmx_source, schema, setup_code, users
from webapp.workers import runtime
from webapp.workers.http import Http

FINISH_WITHIN: Final = 32.0  # seconds; a call to a service is cut off after 30
_FLASK_OPTIONS: Final = frozenset({"env_file", "app", "debug"})
AT_ONCE: Final = "Stopped at once. What was being sent is sent after the next start."
CDN_CHECK_AFTER: Final = 1.0  # seconds; the first pages come first


class ServerError(AppError):
    """The server cannot start."""


class _Group(FlaskGroup):
    """Our own commands need neither Flask's plug-ins nor the application to be found."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command."""
        return self.commands.get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names without loading the application."""
        return sorted(self.commands)


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"DBackup {__version__}")
        ctx.exit()


dbackup = _Group(
    name="dbackup",
    help="Backs up databases and never loses the alarm about them.",
    create_app=create_app,
    add_default_commands=False,
    add_version_option=False,
    load_dotenv=False,
    set_debug_flag=False,
    commands=list(COMMANDS),
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_version,
            help="Print the version and stop.",
        )
    ],
)
# Flask's own options: which application it is, is settled, and .env files are not read
dbackup.params = [option for option in dbackup.params if option.name not in _FLASK_OPTIONS]


@dbackup.command("serve", with_appcontext=False)
@click.option("--host", help="Address to listen on. Default: DBACKUP_HOST, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65_535), help="Default: DBACKUP_PORT, or 8000.")
def serve_command(host: str | None, port: int | None) -> None:
    """Migrate, then serve pages, send notifications and run schedules until stopped."""
    logs.configure()
    with one_line_errors():
        settings = Settings.from_env(os.environ)
        given: dict[str, Any] = {"host": host, "port": port}
        serve(replace(settings, **{key: value for key, value in given.items() if value}))


def serve(settings: Settings, *, prepare: Callable[[Flask], None] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; what is being sent then is finished or left queued.

    `prepare` is called when the tables are there and nothing is sent or shown yet.

    Raises:
        ServerError: the address cannot be listened on.
        SchemaError: the database does not fit this version.
    """
    memory.keep_low()
    signals = StopSignals(AT_ONCE)
    app = create_app(settings)
    http = _listen(app, settings)
    with app.app_context():
        schema.upgrade()
        if prepare is not None:
            prepare(app)
        greeting = _greeting(settings)
    running = runtime.start(app)
    try:
        click.echo(greeting)
        gc.collect()
        gc.freeze()  # what lives until the end need not be looked at again and again
        _say_later_when_htmx_is_out_of_reach(app)
        http.run(lambda: signals.came is None)
    finally:
        click.echo("Stopping: finishing what is being sent …")
        http.stop()
        _finish(running)


def main() -> None:
    """Run the command line.

    What the product writes (database, keys, backups) is for its own user only, also in a directory
    that others may look into.
    """
    os.umask(0o077)
    dbackup.main(prog_name="dbackup")


def _listen(app: Flask, settings: Settings) -> Http:
    """Take the address first: when it is taken, nothing has been started yet."""
    try:
        return Http(app, settings)
    except OSError as error:
        raise ServerError(_why_not(error, settings)) from error


def _why_not(error: OSError, settings: Settings) -> str:
    where = f"{settings.host}:{settings.port}"
    another = f"make run PORT={settings.port + 123 if settings.port < 65_000 else 8123}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another program. Take another port: {another}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"This user may not listen on {where}. Take a port above 1023: {another}"
    return f"Cannot listen on {where}: {error.strerror or error}. Check DBACKUP_HOST."


def _greeting(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    url = f"http://{host}:{settings.port}"
    lines = [f"DBackup {__version__} runs at {url} (Ctrl-C stops it)"]
    if not users.any_user():
        lines.append(f"Nobody can sign in yet: create the admin at {url}/setup")
        if users.setup_code_needed():
            lines.append(f"One-time setup code: {setup_code.current()}")
    return "\n".join(lines)


def _say_later_when_htmx_is_out_of_reach(app: Flask) -> None:
    def look() -> None:
        with app.app_context():
            problem = htmx_source.problem()
        if problem:
            click.echo(problem, err=True)

    timer = threading.Timer(CDN_CHECK_AFTER, look)
    timer.daemon = True
    timer.start()


def _finish(running: runtime.Running) -> None:
    if running.stop(FINISH_WITHIN):
        click.echo("Stopped.")
    else:
        click.echo("Stopped. What was not finished is queued and sent after the next start.")


if __name__ == "__main__":
    main()
