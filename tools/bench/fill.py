"""Run in the scratch instance: makes nine channels, or publishes so many deliveries."""

import sys

from webapp.app import create_app
from webapp.models.channel import ChannelRow
from webapp.notify.events.system_error import SystemError
from webapp.services import channels, notification_settings, outbox
from webapp.services.transaction import transaction

NAMES = ("Ops", "Nightly", "On call", "Finance", "Cellar", "Customers", "Office", "Lab", "Archive")


def make_channels(url: str) -> None:
    """Add nine webhooks; all of them are global, two events have their own selection."""
    ids = []
    with transaction() as session:
        for name in NAMES:
            row = ChannelRow(type="webhook", name=name, config="")
            channels.seal_into(row, {"url": url, "method": "POST"})
            session.add(row)
            session.flush()
            ids.append(row.id)
    notification_settings.choose_global(ids)
    notification_settings.choose_channels("user_created", ids[:3])
    notification_settings.choose_channels("config_backup", ids[3:5])
    for key in ("user_created", "config_backup"):
        notification_settings.set_enabled(key, True)


def publish(count: int) -> None:
    """Publish events, each to nine channels."""
    with transaction() as session:
        for _ in range(count):
            outbox.publish(session, SystemError.sample())


def main(arguments: list[str]) -> None:
    """Do what the arguments say: ["channels", URL] or ["publish", COUNT]."""
    with create_app().app_context():
        if arguments[0] == "channels":
            make_channels(arguments[1])
        else:
            publish(int(arguments[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
