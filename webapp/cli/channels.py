"""dbackup channels."""

import click

from webapp.cli.base import Commands, as_json_option, fail, in_app, show
from webapp.core.errors import NotFoundError
from webapp.services import channel_list, channel_samples
from webapp.services import channels as service
from webapp.services.channel_list import ChannelItem


@click.group(cls=Commands)
def channels() -> None:
    """Channels: list them, send a sample through one."""


@channels.command("list")
@as_json_option
@in_app
def list_channels(as_json: bool) -> None:
    """List every channel and how it does."""
    rows = [
        {
            "id": item.row.id,
            "name": item.row.name,
            "type": item.row.type,
            "on": item.row.enabled,
            "health": item.status.health.value,
            "last_delivered": item.row.last_delivered_at,
            "last_error": item.row.last_error,
        }
        for item in channel_list.listed().items
    ]
    show(rows, as_json=as_json, nothing="There are no channels. Add one in the browser.")


@channels.command()
@click.argument("channel")
@in_app
def test(channel: str) -> None:
    """Send a sample through a channel (its name or id) and print the service's answer.

    It is sent by this command, now, whether a server runs or not; the log does not keep it.
    """
    row = _find(channel).row
    trial = channel_samples.send(
        service.type_of(row.type), service.config_of(row), row.name, "the command line"
    )
    if not trial.ok:
        fail(" ".join(filter(None, (f"{row.name}: {trial.words}", trial.advice))))
    click.echo(f"{row.name}: {trial.words} ({trial.took.total_seconds() * 1000:.0f} ms)")


def _find(wanted: str) -> ChannelItem:
    for item in channel_list.listed().items:
        if wanted == str(item.row.id) or wanted.casefold() == item.row.name.casefold():
            return item
    raise NotFoundError(f"There is no channel “{wanted}”. List them: dbackup channels list")
