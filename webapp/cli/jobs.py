"""dbackup jobs."""

import getpass
import signal
import sys
import threading
from typing import Final

import click
from flask import Flask, current_app

from webapp.cli.base import Commands, as_json_option, fail, in_app, show
from webapp.core import text
from webapp.core.signals import StopSignals
from webapp.models.run import Outcome, Trigger
from webapp.services import jobs as service
from webapp.services import run_history, runs
from webapp.services.run_history import RunView

LOOK: Final = 0.3  # seconds between two looks at the run
STATUSES: Final = {
    Outcome.SUCCESS: 0,
    Outcome.FAILURE: 1,
    Outcome.PARTIAL: 3,
    Outcome.CANCELLED: 4,
    Outcome.INTERRUPTED: 5,
}
AT_ONCE: Final = "Stopped at once. The run is recorded as interrupted by the next start."


@click.group(cls=Commands)
def jobs() -> None:
    """Jobs: list them, run one now."""


@jobs.command("list")
@as_json_option
@in_app
def list_jobs(as_json: bool) -> None:
    """List every job, its schedule and its last run."""
    rows = [
        {
            "id": item.row.id,
            "name": item.row.name,
            "source": item.source.name,
            "on": item.row.enabled,
            "schedule": item.row.schedule,
            "next": item.next_at,
            "last_run": item.last_run.started_at if item.last_run else None,
            "outcome": item.last_run.outcome if item.last_run else None,
        }
        for item in service.listed()
    ]
    show(rows, as_json=as_json, nothing="There are no jobs. Add one in the browser.")


@jobs.command()
@click.argument("job")
@in_app
def run(job: str) -> None:
    """Run JOB (its name) here and now, also when it is switched off.

    Ctrl-C stops the run. Exit status: 0 success, 1 failure, 3 partial, 4 cancelled, 5 interrupted.
    """
    run_id = runs.start(service.by_name(job), Trigger.CLI, getpass.getuser())
    work = _Work(current_app._get_current_object(), run_id)  # type: ignore[attr-defined]
    _watch(work, StopSignals(AT_ONCE))
    ended = run_history.show(run_id).run
    if ended.outcome == Outcome.SUCCESS:
        click.echo(f"{job}: success, {text.size(ended.size or 0)} stored (run {run_id})")
        return
    words = " ".join((ended.error or "").split())
    click.echo(f"Error: {job}: {ended.outcome} (run {run_id}). {words}".rstrip(), err=True)
    click.get_current_context().exit(STATUSES.get(Outcome(ended.outcome), 1))


class _Work(threading.Thread):
    """Carries out the run while the main thread watches it and takes signals."""

    def __init__(self, app: Flask, run_id: int) -> None:
        super().__init__(name="run", daemon=True)
        self.run_id = run_id
        self.failed: Exception | None = None
        self._app = app

    def run(self) -> None:
        with self._app.app_context():
            try:
                runs.execute(self.run_id)
            except Exception as error:  # noqa: BLE001 - raised again by the watcher
                self.failed = error


def _watch(work: _Work, signals: StopSignals) -> None:
    """Show the run's lines as they come, and on a terminal how far it is."""
    shown, told = 0, False
    live = sys.stderr.isatty()
    work.start()
    going = True
    while going:
        work.join(LOOK)
        going = work.is_alive()
        if signals.came is not None and not told:
            told = True
            _stop(work.run_id, signals.came)
        view = run_history.show(work.run_id, shown)
        if live:
            click.echo("\r\x1b[K", nl=False, err=True)
        for line in view.lines:
            click.echo(f"{line.at:%H:%M:%S} {line.text}", err=True)
        shown = max(shown, view.last_line)
        if live and going:
            click.echo(_progress(view), nl=False, err=True)
    if work.failed is not None:
        fail(f"The run's end could not be stored ({type(work.failed).__name__}).")


def _stop(run_id: int, number: int) -> None:
    if number == signal.SIGINT:
        runs.stop(run_id, f"{getpass.getuser()} (Ctrl-C)")
    else:
        runs.interrupt_all()


def _progress(view: RunView) -> str:
    parts = [view.run.step or "Waiting"]
    if view.current is not None and view.current.get("detail"):
        parts.insert(0, view.current["name"])
    if view.percent is not None:
        parts.append(f"{view.percent} %")
    if view.run.bytes_done:
        parts.append(text.size(view.run.bytes_done))
    return " · ".join([*parts, *filter(None, (view.speed, view.left))])
