"""Token buckets as values."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from webapp.core.buckets import Bucket, Rate, full

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RATE = Rate(seconds=2.0, burst=5)


def test_a_full_bucket_gives_its_burst_and_then_one_per_interval() -> None:
    empty = full(NOW, RATE).take(5)
    assert empty.available() == 0
    assert empty.next_at(RATE) == NOW + timedelta(seconds=2)
    assert empty.at(NOW + timedelta(seconds=2), RATE).available() == 1
    assert empty.at(NOW + timedelta(hours=1), RATE).available() == 5


def test_a_blocked_bucket_gives_nothing_until_the_block_ends() -> None:
    until = NOW + timedelta(seconds=30)
    blocked = Bucket(5.0, NOW, until)
    assert blocked.at(NOW + timedelta(seconds=29), RATE).available() == 0
    assert blocked.next_at(RATE) == until
    assert blocked.at(until, RATE).available() == 5


def test_a_clock_that_goes_back_adds_nothing_and_takes_nothing() -> None:
    bucket = full(NOW, RATE).take(3)
    assert bucket.at(NOW - timedelta(days=1), RATE).available() == 2


@given(gaps=st.lists(st.floats(0, 10), min_size=1, max_size=60))
def test_no_window_ever_sees_more_than_burst_and_refill(gaps: list[float]) -> None:
    now, bucket = NOW, full(NOW, RATE)
    sent: list[datetime] = []
    for gap in gaps:
        now += timedelta(seconds=gap)
        bucket = bucket.at(now, RATE)
        sent += [now] * bucket.available()
        bucket = bucket.take(bucket.available())
    for start in sent:
        window = [at for at in sent if start <= at < start + timedelta(seconds=10)]
        assert len(window) <= RATE.burst + 5
