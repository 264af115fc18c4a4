"""dbackup events."""

from typing import Any

import click

from webapp.cli.base import Commands, as_json_option, fail, in_app, show
from webapp.core import foreign_json
from webapp.notify.events import EVENTS
from webapp.notify.events.channel_test import ChannelTest
from webapp.services import emitting, notification_settings


@click.group(cls=Commands)
def events() -> None:
    """Event types: list them, publish one by hand."""


@events.command("list")
@as_json_option
@in_app
def list_events(as_json: bool) -> None:
    """List every event type and how it is set."""
    on = {
        event.key: event.enabled
        for group in notification_settings.overview().groups
        for event in group.events
    }
    rows: list[dict[str, Any]] = [
        {
            "id": event.type,
            "name": event.label,
            "group": event.group.value if event.group else "per job",
            "on": on.get(event.type),
        }
        for event in EVENTS
        if event is not ChannelTest
    ]
    show(rows, as_json=as_json, nothing="")


@events.command()
@click.argument("event")
@click.option("--sample", is_flag=True, help="Publish the event's sample.")
@click.option("--data", metavar="JSON", help="Publish these facts.")
@click.option("--job", metavar="NAME", help="The job that a backup event belongs to.")
@in_app
def emit(event: str, sample: bool, data: str | None, job: str | None) -> None:
    """Publish EVENT; it goes exactly where a real one would go.

    A running server sends it within two seconds; without one it waits in the outbox.
    """
    if sample == (data is not None):
        fail("Say either --sample or --data JSON.")
    event_id, planned = emitting.emit(event, _facts(data), job_name=job)
    click.echo(f"Event {event_id}")
    for line in planned:
        target = " to ".join(filter(None, (line.channel or "–", line.recipient)))
        click.echo(f"  {target}: {'queued' if line.queued else line.reason}")


def _facts(data: str | None) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        facts = foreign_json.loads(data)
    except ValueError as error:
        fail(f"--data is not JSON: {error}")
    if not isinstance(facts, dict):
        fail('--data must be a JSON object: {"user": "Ada", …}')
    return facts
