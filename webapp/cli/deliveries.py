"""dbackup deliveries."""

import click

from webapp.cli.base import Commands, as_json_option, in_app, show
from webapp.models.delivery import State
from webapp.services import delivery_actions, delivery_log
from webapp.services.delivery_log import Filters


@click.group(cls=Commands)
def deliveries() -> None:
    """Deliveries: list the newest, send one again."""


@deliveries.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), default=None)
@as_json_option
@in_app
def list_deliveries(state: str | None, as_json: bool) -> None:
    """List the newest deliveries, one page of the log."""
    rows = [
        {
            "id": line.id,
            "created": line.created_at,
            "state": line.state,
            "event": line.event_type,
            "channel": line.channel_name,
            "attempts": line.attempts,
            "reason": line.reason,
        }
        for line in delivery_log.page(Filters(state=state or "")).lines
    ]
    show(rows, as_json=as_json, nothing="No deliveries.")


@deliveries.command()
@click.argument("delivery")
@in_app
def resend(delivery: str) -> None:
    """Queue DELIVERY (its id) again; a running server sends it within two seconds."""
    again = delivery_actions.resend(delivery)
    click.echo(f"Queued for {again.channel_name} as {again.delivery_id}.")
