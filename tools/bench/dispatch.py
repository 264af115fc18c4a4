"""Run in the scratch instance: one queue to a fast peer, one event to nine slow ones, and what
publishing adds to a transaction.
"""

import json
import statistics
import sys
import time
from typing import Final

from webapp.app import create_app
from webapp.models.channel import ChannelRow
from webapp.models.setting import Setting
from webapp.notify.events.system_error import SystemError
from webapp.services import channels, outbox
from webapp.services.routing import Target
from webapp.services.transaction import transaction
from webapp.workers import runtime

FAN_OUTS: Final = 5
PUBLISHES: Final = 100


def main(fast: str, slow: str, count: int) -> None:
    """Print when the queue began to be sent, when each fan-out was committed, and the cost."""
    app = create_app()
    with app.app_context():
        one = [_target(fast)]
        nine = [_target(f"{slow}{number}") for number in range(9)]
        alone = _median_ms([])
        published = _median_ms(one)
        with transaction() as session:
            for _ in range(count - PUBLISHES):
                outbox.write(session, SystemError.sample(), one)
        began = time.monotonic()
        running = runtime.start(app)
        sys.stdin.readline()  # the queue has arrived
        committed = []
        for _ in range(FAN_OUTS):
            with transaction() as session:
                outbox.write(session, SystemError.sample(), nine)
            committed.append(time.monotonic())
            time.sleep(1)
        running.stop()
    print(json.dumps({"began": began, "committed": committed, "publish": published - alone}))


def _target(url: str) -> Target:
    with transaction() as session:
        row = ChannelRow(type="webhook", name=url, config="")
        channels.seal_into(row, {"url": url, "method": "POST"})
        session.add(row)
        session.flush()
        return Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)


def _median_ms(targets: list[Target]) -> float:
    """Return what a transaction takes that writes one setting and publishes to these."""
    took = []
    for number in range(PUBLISHES):
        began = time.perf_counter()
        with transaction() as session:
            session.merge(Setting(key="bench", value=str(number)))
            if targets:
                outbox.write(session, SystemError.sample(), targets)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
