"""Run in the scratch instance: publishes one event at a time, prints when each was committed."""

import json
import sys
import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from webapp.app import create_app
from webapp.models.channel import ChannelRow
from webapp.notify.events.system_error import SystemError
from webapp.services import channels, outbox
from webapp.services.routing import Target
from webapp.services.transaction import transaction
from webapp.workers import runtime

PAUSE = 0.03  # seconds; each message finds a dispatcher at rest, as in life


def main(url: str, count: int) -> None:
    """Send `count` messages to the peer through the dispatcher of this process."""
    app = create_app()
    committed: list[float] = []
    with app.app_context():
        with transaction() as session:
            row = ChannelRow(type="webhook", name="Peer", config="")
            channels.seal_into(row, {"url": url, "method": "POST"})
            session.add(row)
            session.flush()
            target = Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)
        running = runtime.start(app)
        for _ in range(count):
            time.sleep(PAUSE)
            with transaction() as session:
                outbox.write(session, SystemError.sample(), [target])
                event.listen(session, "after_commit", _note(committed), once=True)
        time.sleep(1)
        running.stop()
    print(json.dumps(committed))


def _note(moments: list[float]) -> Any:
    def note(_session: Session) -> None:
        moments.append(time.monotonic())

    return note


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
