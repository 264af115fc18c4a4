"""When a job is due: a cron expression in a time zone, as a trigger of the scheduler."""

from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger

from webapp.core import clock
from webapp.services import cron
from webapp.services.cron import Cron

LONGEST_WAIT: Final = 50 * 366  # days; a 29 February on a certain weekday may take 40 years
DAYS_KNOWN: Final = 8
_DAY: Final = timedelta(days=1)
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
        self._cron, self._zone = parsed, zone
        # a schedule of every hour means both hours where the clocks repeat one
        self._folds = (0, 1) if parsed.hour.open else (0,)
        self._known: dict[date, list[datetime]] = {}

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the first moment from `now` on, or None when there is none."""
        start = now if previous_fire_time is None else min(now, previous_fire_time + _MOMENT)
        day = start.astimezone(self._zone).date() - _DAY  # its skipped times may be due today
        for _ in range(LONGEST_WAIT):
            if self._is_on(day):
                times = self._times(day)
                if (at := bisect_left(times, start)) < len(times):
                    return times[at].astimezone(self._zone)
            day += _DAY
        return None

    def _is_on(self, day: date) -> bool:
        cron = self._cron
        if day.month not in cron.month.values:
            return False
        by_day, by_weekday = (
            day.day in cron.day.values,
            day.isoweekday() % 7 in cron.weekday.values,
        )
        return by_day or by_weekday if cron.either_day else by_day and by_weekday

    def _times(self, day: date) -> list[datetime]:
        """Return the moments of a day, in order; a skipped wall time becomes a real one."""
        if day not in self._known:
            found = {
                datetime.combine(day, time(hour, minute, fold=fold), self._zone).astimezone(UTC)
                for hour in self._cron.hour.values
                for minute in self._cron.minute.values
                for fold in self._folds
            }
            if len(self._known) > DAYS_KNOWN:
                self._known.clear()
            self._known[day] = sorted(found)
        return self._known[day]

    def __str__(self) -> str:
        return cron.describe(self._cron)
