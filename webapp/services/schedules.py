"""When a job is due: a cron expression in a time zone, as a trigger of the scheduler."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

from webapp.core import clock
from webapp.services import cron
from webapp.services.cron import Cron

_NAMES: Final = tuple(day[:3].lower() for day in cron.WEEKDAYS)
_MOMENT: Final = timedelta(microseconds=1)


def describe(expression: str) -> str:
    """Return a stored expression in words."""
    return cron.describe(cron.parse(expression))


def next_times(expression: str, timezone: str, count: int) -> list[datetime]:
    """Return the next moments, in the schedule's own zone.

    Raises:
        InvalidError: the expression cannot be used.
    """
    return upcoming(expression, timezone, count, clock.now())


def upcoming(expression: str, timezone: str, count: int, after: datetime) -> list[datetime]:
    """Return the first moments after the given one, in the schedule's own zone."""
    due = trigger(expression, timezone)
    found: list[datetime] = []
    now = after + _MOMENT
    while len(found) < count and (moment := due.get_next_fire_time(None, now)) is not None:
        found.append(moment)
        now = moment.astimezone(UTC) + _MOMENT
    return found


def trigger(expression: str, timezone: str) -> "JobTrigger":
    """Return the expression as a trigger."""
    return JobTrigger(cron.parse(expression), ZoneInfo(timezone))


class JobTrigger(BaseTrigger):  # type: ignore[misc] # APScheduler publishes no types
    """Fires when cron would, in the named zone.

    A time that the clocks skip in spring is due as much later (02:30 at 03:30), and one that they
    repeat in autumn is due once; a schedule of every hour keeps its pace through both.
    """

    def __init__(self, parsed: Cron, zone: ZoneInfo) -> None:
        self._zone = zone
        self._every_hour = parsed.hour.open
        self._triggers = [CronTrigger.from_crontab(text, zone) for text in _crontabs(parsed)]

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the next moment, or None when there is none."""
        while True:
            found = [each.get_next_fire_time(previous_fire_time, now) for each in self._triggers]
            due: datetime | None = min(
                (moment for moment in found if moment is not None), default=None
            )
            if due is None:
                return None
            instant = due.astimezone(UTC)
            local = instant.astimezone(self._zone)  # a skipped wall time becomes a real one
            if self._every_hour or not local.fold:
                return local
            previous_fire_time, now = None, instant + _MOMENT

    def __str__(self) -> str:
        return " or ".join(map(str, self._triggers))


def _crontabs(parsed: Cron) -> list[str]:
    """Return expressions in APScheduler's terms: it counts weekdays from Monday, so they are
    named, and it wants the day of the month and the weekday both, so "either" needs two.
    """
    minute, hour, day, month = (
        ",".join(map(str, field.values))
        for field in (parsed.minute, parsed.hour, parsed.day, parsed.month)
    )
    weekday = ",".join(_NAMES[value] for value in parsed.weekday.values)
    if parsed.either_day:
        return [f"{minute} {hour} {day} {month} *", f"{minute} {hour} * {month} {weekday}"]
    return [f"{minute} {hour} {day} {month} {weekday}"]
