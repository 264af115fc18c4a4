"""Cron expressions: what they allow, how they are said, what is refused."""

import pytest

from webapp.core.errors import InvalidError
from webapp.services import cron


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 2 * * *", "Every day at 02:00"),
        ("* * * * *", "Every minute"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("5 * * * *", "Every hour at minute 5"),
        ("30 */6 * * *", "Every 6 hours at minute 30"),
        ("0 6,18 * * *", "Every day at 06:00 and 18:00"),
        ("0 3 * * 0", "Every Sunday at 03:00"),
        ("0 3 * * 7", "Every Sunday at 03:00"),
        ("0 3 * * 1-5", "Monday to Friday at 03:00"),
        ("0 3 * * mon,thu", "Every Monday and Thursday at 03:00"),
        ("0 3 * * sat-sun", "Every Saturday and Sunday at 03:00"),
        ("0 4 1 * *", "On day 1 of the month at 04:00"),
        ("0 4 1,15 * *", "On days 1 and 15 of the month at 04:00"),
        ("0 4 1 1,7 *", "On day 1 of the month at 04:00 in January and July"),
        ("0 4 1 * mon", "On day 1 of the month and every Monday at 04:00"),
        ("*/10 * * * 1-5", "Every 10 minutes, Monday to Friday"),
        ("0,30 8-12 * * *", "Every day at minute 0 and 30 of the hours 8 to 12"),
        ("0 4 1-7 * *", "On days 1 to 7 of the month at 04:00"),
        ("0 2 * * 0-7", "Every day at 02:00"),
    ],
)
def test_an_expression_is_said_in_words(expression: str, words: str) -> None:
    assert cron.describe(cron.parse(expression)) == words


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "this one has 0"),
        ("0 2 * *", "this one has 4"),
        ("0 2 * * * *", "this one has 6"),
        ("60 2 * * *", "“60” cannot be used for the minute"),
        ("0 24 * * *", "“24” cannot be used for the hour"),
        ("0 2 0 * *", "“0” cannot be used for the day of the month"),
        ("0 2 * 13 *", "“13” cannot be used for the month"),
        ("0 2 * * 8", "“8” cannot be used for the weekday"),
        ("0 2 * * moo", "“moo” cannot be used for the weekday"),
        ("*/0 2 * * *", "“*/0” cannot be used for the minute"),
        ("0 5-3 * * *", "“5-3” cannot be used for the hour"),
        ("0 2 L * *", "“l” cannot be used for the day of the month"),
        ("@daily", "this one has 1"),
        ("0 2 31 2,4 *", "never comes"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(expression: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        cron.parse(expression)
    assert says in str(caught.value)
    assert caught.value.field == "schedule"


def test_the_29th_of_february_is_a_date() -> None:
    assert cron.parse("0 2 29 2 *").day.values == (29,)


def test_a_date_that_never_comes_is_fine_when_a_weekday_is_enough() -> None:
    assert cron.parse("0 2 31 2 mon").either_day
