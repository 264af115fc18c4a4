"""Due times, over weekdays and clock changes."""

from datetime import UTC, datetime

import pytest

from webapp.services import schedules


def times(expression: str, count: int, after: str, zone: str = "Europe/Berlin") -> list[str]:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    return [f"{due:%a %d %H:%M %z}" for due in schedules.upcoming(expression, zone, count, moment)]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("0 3 * * 0", "Sun 04"),
        ("0 3 * * 1", "Mon 05"),
        ("0 3 * * 6", "Sat 03"),
        ("0 3 * * 7", "Sun 04"),
        ("0 3 * * sun", "Sun 04"),
        ("0 3 * * 5-7", "Fri 02"),
    ],
)
def test_weekdays_count_from_sunday_as_in_cron(expression: str, first: str) -> None:
    assert times(expression, 1, "2026-01-01T12:00")[0].startswith(first)


def test_day_of_the_month_or_weekday_is_enough() -> None:
    assert times("0 0 13 * fri", 3, "2026-01-01T12:00", "UTC") == [
        "Fri 02 00:00 +0000",
        "Fri 09 00:00 +0000",
        "Tue 13 00:00 +0000",
    ]


def test_a_starred_day_with_a_weekday_needs_both() -> None:
    assert times("0 0 */2 * mon", 2, "2026-01-01T12:00", "UTC") == [
        "Mon 05 00:00 +0000",
        "Mon 19 00:00 +0000",
    ]


def test_a_time_that_spring_skips_is_due_an_hour_later() -> None:
    assert times("30 2 * * *", 3, "2026-03-28T00:00") == [
        "Sat 28 02:30 +0100",
        "Sun 29 03:30 +0200",
        "Mon 30 02:30 +0200",
    ]


def test_a_time_that_autumn_repeats_is_due_once() -> None:
    assert times("30 2 * * *", 3, "2026-10-24T00:00") == [
        "Sat 24 02:30 +0200",
        "Sun 25 02:30 +0200",
        "Mon 26 02:30 +0100",
    ]


@pytest.mark.parametrize(
    ("zone", "after", "due"),
    [
        ("Africa/Cairo", "2026-04-23T20:00", ["Fri 24 01:30 +0300", "Sat 25 00:30 +0300"]),
        ("Asia/Beirut", "2026-03-28T20:00", ["Sun 29 01:30 +0300", "Mon 30 00:30 +0300"]),
        ("Australia/Lord_Howe", "2026-10-03T12:00", ["Sun 04 00:30 +1030", "Mon 05 00:30 +1100"]),
    ],
)
def test_a_time_that_is_skipped_at_midnight_is_not_lost(
    zone: str, after: str, due: list[str]
) -> None:
    assert times("30 0 * * *", 2, after, zone) == due


def test_the_day_after_a_long_leap_is_whole() -> None:
    """There the clocks go two hours ahead."""
    assert times("0 */2 * * 1-5", 2, "2026-03-28T20:00", "Antarctica/Troll") == [
        "Mon 30 00:00 +0200",
        "Mon 30 02:00 +0200",
    ]


def test_every_hour_stays_every_hour_in_autumn() -> None:
    assert times("0 * * * *", 4, "2026-10-24T23:30") == [
        "Sun 25 02:00 +0200",
        "Sun 25 02:00 +0100",
        "Sun 25 03:00 +0100",
        "Sun 25 04:00 +0100",
    ]


def test_every_half_hour_stays_so_in_spring() -> None:
    assert times("*/30 * * * *", 3, "2026-03-29T00:10") == [
        "Sun 29 01:30 +0100",
        "Sun 29 03:00 +0200",
        "Sun 29 03:30 +0200",
    ]


def test_a_moment_that_is_due_now_is_not_the_next_one() -> None:
    assert times("0 2 * * *", 1, "2026-01-01T02:00", "UTC") == ["Fri 02 02:00 +0000"]


def test_a_rare_date_is_found() -> None:
    assert times("0 2 29 2 *", 1, "2026-03-01T00:00", "UTC") == ["Tue 29 02:00 +0000"]


def test_it_is_described() -> None:
    assert schedules.describe("0 2 * * *") == "Every day at 02:00"
