"""What a long history costs: the same questions with few and with very many old deliveries.

Run in a scratch instance on SQLite: fills it by SQL, measures, prints the medians as JSON.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import text

from webapp.app import create_app
from webapp.core import clock
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.services import claims, dashboard, delivery_log, health, metrics, unseen
from webapp.services.delivery_log import Filters
from webapp.services.transaction import transaction

TURNS: Final = 60
DAY: Final = 86_400_000  # ms
RECENT: Final = 4000
"""Deliveries of the last hours, in the short history and in the long one."""

_NUMBERS: Final = (
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :many)"
)
_MOMENT: Final = "(:first + i * (:span / :many))"
_ID: Final = (
    f"printf('%08x-%04x-7%03x-8%03x-%012x', {_MOMENT} >> 16, {_MOMENT} & 65535, :kind, :kind, i)"
)
_AT: Final = f"strftime('%Y-%m-%d %H:%M:%f000', {_MOMENT} / 1000.0, 'unixepoch')"
_FILL: Final = (
    (
        f"INSERT INTO event (id, type, payload, occurred_at, is_test) {_NUMBERS}"
        f" SELECT {_ID}, 'user_login', :payload, {_AT}, 0 FROM n"
    ),
    (
        "INSERT INTO delivery (id, event_id, channel_id, channel_name, channel_type, state, reason,"
        " needs_you, is_direct, attempts, created_at, finished_at)"
        f" {_NUMBERS} SELECT {_ID}, {_ID}, :channel, 'Ops', 'webhook',"
        " CASE i % 50 WHEN 0 THEN 'failed' WHEN 1 THEN 'skipped' WHEN 2 THEN 'expired'"
        f" ELSE 'sent' END, NULL, 0, 0, 1, {_AT}, {_AT} FROM n"
    ),
    (
        "INSERT INTO attempt (delivery_id, number, started_at, duration_ms, outcome, status,"
        f" message, excerpt, advice) {_NUMBERS}"
        f" SELECT {_ID}, 1, {_AT}, 40, 'sent', '200', 'ok', '', '' FROM n"
    ),
)


def fill(old: int) -> None:
    """Write that many deliveries of the last three months, and RECENT of the last hours."""
    payload = json.dumps({"user": "Mara", "email": "m@example.org", "ip_address": "192.0.2.1"})
    now = int(clock.now().timestamp() * 1000)
    with transaction() as session:
        row = ChannelRow(type="webhook", name="Ops", config="")
        session.add(row)
        session.flush()
        for many, first, span, kind in (
            (old, now - 88 * DAY, 86 * DAY, 1),
            (RECENT, now - 4_000_000, 3_000_000, 2),
        ):
            values = {"many": many, "first": first, "span": span, "kind": kind}
            for statement in _FILL:
                session.execute(text(statement), values | {"payload": payload, "channel": row.id})
        session.execute(text("UPDATE delivery SET seen_at = created_at WHERE state = 'expired'"))
    with db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def questions() -> Mapping[str, Callable[[], object]]:
    """Return what people and the dispatcher ask again and again."""
    middle = delivery_log.page(Filters()).older or ""
    return {
        "claim": lambda: claims.claim_due(64),
        "list": lambda: delivery_log.page(Filters()),
        "list, an older page": lambda: delivery_log.page(Filters(), before=middle),
        "list, failed only": lambda: delivery_log.page(Filters(state="failed")),
        "overview": lambda: (
            dashboard.stats(),
            dashboard.notification_health(),
            health.look(),
            unseen.expired(),
            delivery_log.attention_count(),
        ),
        "metrics": metrics.text,
    }


def medians() -> dict[str, float]:
    """Return the milliseconds of each question."""
    found = {}
    for name, ask in questions().items():
        times = []
        for _ in range(TURNS):
            began = time.perf_counter()
            ask()
            times.append((time.perf_counter() - began) * 1000)
        found[name] = statistics.median(times[TURNS // 6 :])
    return found


def main(old: int) -> None:
    """Fill, measure, print."""
    with create_app().app_context():
        fill(old)
        metrics.text()
        print(json.dumps(medians()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
