"""/metrics: what it counts, who may read it, and what never stands in it."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event

from tests.browser import Browser
from tests.conftest import make_settings
from tests.factories import make_channel
from tests.servers.http import Peer
from webapp.app import create_app
from webapp.core import clock
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.models import db
from webapp.models.channel import ChannelRow
from webapp.notify.channels.base import Receipt
from webapp.notify.events import BY_TYPE
from webapp.services import claims, metrics, outbox, outcomes
from webapp.services.outcomes import Result
from webapp.services.routing import Target
from webapp.services.transaction import transaction

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def figures() -> Figures:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def figure(found: Figures, name: str, **labels: str) -> float:
    return found.get((f"dbackup_{name}", tuple(sorted(labels.items()))), 0.0)


def counted(found: Figures) -> Figures:
    return {key: value for key, value in found.items() if key[0].endswith(("_total", "_count"))}


def queue(row: ChannelRow, count: int = 1) -> None:
    target = Target(channel_id=row.id, channel_name=row.name, channel_type=row.type)
    with transaction() as session:
        for _ in range(count):
            outbox.write(session, BY_TYPE["restore_failure"].sample(), [target])


def finish(error: ChannelError | None = None, took: float = 0.2) -> None:
    for one in claims.claim_due(100).claims:
        receipt = None if error else Receipt(status="200", words="ok")
        spent = timedelta(seconds=took)
        outcomes.record(
            [Result(claim=one, started_at=clock.now(), took=spent, receipt=receipt, error=error)]
        )


def test_it_counts_events_queue_sent_failed_attempts_and_times(app: Flask) -> None:
    hook = make_channel()
    queue(hook)
    finish()  # before our time
    metrics.begin(app)
    found = figures()
    assert figure(found, "events_total", type="restore_failure") == 0
    queue(hook, 3)
    assert figure(figures(), "queued", channel_type="webhook", state="queued") == 3
    finish()
    queue(hook, 2)
    finish(PermanentError("no", status="404"))
    queue(hook)
    finish(TransientError("busy", status="503", retry_after=timedelta(hours=1)))
    found = figures()
    assert counted(figures()) == counted(found), "each row is counted once"
    assert figure(found, "events_total", type="restore_failure") == 6
    assert figure(found, "sent_total", channel_type="webhook") == 3
    assert figure(found, "failed_total", channel_type="webhook", reason="4xx") == 2
    labels = {"channel_type": "webhook", "outcome": "transient", "reason": "5xx"}
    assert figure(found, "attempts_total", **labels) == 1
    assert figure(found, "queued", channel_type="webhook", state="retrying") == 1
    assert figure(found, "attempt_seconds_count", channel_type="webhook") == 6
    assert figure(found, "delivery_seconds_bucket", channel_type="webhook", le="0.1") == 0
    assert figure(found, "delivery_seconds_bucket", channel_type="webhook", le="1.0") == 3
    assert figure(found, "oldest_waiting_seconds") > 0


def test_what_the_overview_says_is_a_figure(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    queue(make_channel(broken_at=clock.now()))
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(minutes=11))
    found = figures()
    assert figure(found, "problem", kind="waiting") == 1
    assert figure(found, "problem", kind="database") == 0
    assert figure(found, "channels_broken", channel_type="webhook") == 1
    assert 660 <= figure(found, "oldest_waiting_seconds") < 700


def test_a_database_that_does_not_answer_is_a_figure(app: Flask) -> None:
    metrics.begin(app)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    event.listen(db.engine, "before_cursor_execute", fail)
    try:
        assert figure(figures(), "problem", kind="database") == 1
    finally:
        event.remove(db.engine, "before_cursor_execute", fail)


def test_no_secret_and_no_free_text_stands_in_it(app: Flask) -> None:
    metrics.begin(app)
    row = make_channel(
        name="Secret room", type="webhook", config={"url": "https://hush.example/token-4711"}
    )
    queue(row)
    finish(PermanentError("It said: <free text>", status="Evil status 1"))
    with transaction() as session:
        session.get_one(ChannelRow, row.id).type = "made_up_type"
        session.execute(db.text("UPDATE delivery SET channel_type = 'made_up_type'"))
        session.execute(db.text("UPDATE event SET type = 'warp_core_breach'"))
    text = metrics.text().decode()
    for hidden in ("Secret room", "hush", "4711", "free text", "Evil", "made_up", "warp_core"):
        assert hidden not in text
    allowed = {"type", "channel_type", "outcome", "reason", "state", "kind", "le"}
    values = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert set(sample.labels) <= allowed
            values |= {value for key, value in sample.labels.items() if key != "le"}
    known = {*metrics.CHANNELS, *metrics.EVENTS, *metrics.PROBLEMS, *metrics.OUTCOMES}
    known |= {*metrics.OPEN, "other", "none", "no_answer", "429", "3xx", "4xx", "5xx", "lost"}
    assert values <= known


@pytest.mark.parametrize(
    ("outcome", "status", "wanted"),
    [
        ("sent", "200", "none"),
        ("transient", "429", "429"),
        ("transient", "429 40062", "429"),
        ("permanent", "535 5.7.8", "5xx"),
        ("transient", None, "no_answer"),
        ("permanent", "invalid_auth", "other"),
        ("lost", None, "lost"),
    ],
)
def test_reasons_are_classes(outcome: str, status: str | None, wanted: str) -> None:
    assert metrics.reason(outcome, status) == wanted


def test_a_thousand_more_rows_than_a_batch_are_counted(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BATCH", 7)
    monkeypatch.setattr(metrics, "OVERLAP", 3)
    metrics.begin(app)
    without_limit = {"url": "http://192.168.1.5/hook", "method": "POST"}
    queue(make_channel(config=without_limit), 50)
    assert figure(figures(), "events_total", type="restore_failure") == 50
    finish()
    assert figure(figures(), "sent_total", channel_type="webhook") == 50


def test_this_machine_may_read_them_and_others_may_not(browser: Browser) -> None:
    client = browser.app.test_client()
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert b"dbackup_queued" in answer.data
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.get("/metrics", environ_overrides=elsewhere).status_code == 403
    behind_a_proxy = {"Host": "backup.example.org"}
    assert client.get("/metrics", headers=behind_a_proxy).status_code == 403
    for host in ("127.0.0.1:8000", "[::1]:8000", "localhost:8000"):
        assert client.get("/metrics", headers={"Host": host}).status_code == 200


def test_with_a_token_everybody_needs_it(tmp_path: Path, peer: Peer) -> None:
    token = "a-long-token-for-figures"
    app = create_app(make_settings(tmp_path, metrics_token=token))
    with app.app_context():
        db.create_all()
        client = app.test_client()
        refused = client.get("/metrics")
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        wrong = {"Authorization": "Bearer nonsense"}
        assert client.get("/metrics", headers=wrong).status_code == 401
        right = {"Authorization": f"Bearer {token}", "Host": "backup.example.org"}
        elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
        answer = client.get("/metrics", headers=right, environ_overrides=elsewhere)
        assert answer.status_code == 200
        assert token.encode() not in answer.data
        db.session.remove()
        db.engine.dispose()
