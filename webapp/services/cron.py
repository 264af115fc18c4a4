"""Cron expressions of five fields: read, checked, and said in words. No clock, no time zone.

Read as cron reads them: 0 and 7 are Sunday, and when both the day of the month and the weekday
are restricted, either of them is enough.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from webapp.core.errors import InvalidError

WEEKDAYS: Final = (
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
)
MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
LONGEST_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
TIMES_SPELLED_OUT: Final = 6

_PART: Final = re.compile(
    r"(?P<first>\*|[0-9]{1,2}|[a-z]{3})(-(?P<last>[0-9]{1,2}|[a-z]{3}))?(/(?P<step>[0-9]{1,2}))?"
)


@dataclass(frozen=True)
class _Kind:
    """What a field may hold."""

    name: str
    lowest: int
    highest: int
    words: tuple[str, ...] = ()
    """Three letters each; the first stands for `lowest`."""


_KINDS: Final = (
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of the month", 1, 31),
    _Kind("month", 1, 12, tuple(month[:3].lower() for month in MONTHS)),
    _Kind("weekday", 0, 7, tuple(day[:3].lower() for day in WEEKDAYS)),
)


@dataclass(frozen=True)
class Field:
    """The values that a field allows, in order."""

    text: str
    values: tuple[int, ...]

    @property
    def open(self) -> bool:
        """Say whether it begins with a star: cron then takes it as not restricting days."""
        return self.text.startswith("*")


@dataclass(frozen=True)
class Cron:
    """A checked expression."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    """0 is Sunday, 6 is Saturday."""

    @property
    def either_day(self) -> bool:
        """Say whether the day of the month or the weekday is enough."""
        return not self.day.open and not self.weekday.open


def parse(expression: str) -> Cron:
    """Return the expression's fields.

    Raises:
        InvalidError: it is not a cron expression of five fields, or it names no day that exists.
    """
    parts = expression.lower().split()
    if len(parts) != len(_KINDS):
        raise InvalidError(
            f"A schedule has five fields (minute, hour, day of the month, month, weekday); "
            f"this one has {len(parts)}. Every night at two is 0 2 * * *.",
            "schedule",
        )
    cron = Cron(*(_field(part, kind) for part, kind in zip(parts, _KINDS, strict=True)))
    possible = max(LONGEST_MONTH[month - 1] for month in cron.month.values)
    if cron.day.values[0] > possible and not cron.either_day:
        raise InvalidError(
            "This date never comes: none of the months has that day. Choose another day.",
            "schedule",
        )
    return cron


def _field(text: str, kind: _Kind) -> Field:
    values: set[int] = set()
    for part in text.split(","):
        values.update(_values(part, kind))
    if kind.name == "weekday":
        values = {value % 7 for value in values}
    return Field(text, tuple(sorted(values)))


def _values(part: str, kind: _Kind) -> range:
    match = _PART.fullmatch(part)
    if match is None or (match["first"] == "*" and match["last"]):
        raise _wrong(part, kind)
    if match["first"] == "*":
        first, last = kind.lowest, 6 if kind.name == "weekday" else kind.highest
    else:
        first = _number(match["first"], part, kind)
        last = _number(match["last"], part, kind) if match["last"] else first
        if match["step"] and not match["last"]:
            raise _wrong(part, kind)
        if kind.name == "weekday" and last == 0 < first:
            last = 7  # "sat-sun"
    step = int(match["step"] or 1)
    if step < 1 or last < first:
        raise _wrong(part, kind)
    return range(first, last + 1, step)


def _number(word: str, part: str, kind: _Kind) -> int:
    if word in kind.words:
        return kind.lowest + kind.words.index(word)
    if not (word.isascii() and word.isdigit()) or not kind.lowest <= int(word) <= kind.highest:
        raise _wrong(part, kind)
    return int(word)


def _wrong(part: str, kind: _Kind) -> InvalidError:
    names = f", or {kind.words[0]} to {kind.words[-1]}" if kind.words else ""
    return InvalidError(
        f"“{part}” cannot be used for the {kind.name}. "
        f"Use numbers from {kind.lowest} to {kind.highest}{names}, "
        "with * for all, */5 for every fifth, 1-5 for a range, 1,15 for a list.",
        "schedule",
    )


def describe(cron: Cron) -> str:
    """Return the expression in words: "Every day at 02:00"."""
    return " ".join(part for part in (_when(cron), _months(cron)) if part)


def _when(cron: Cron) -> str:
    days = _days(cron)
    every = _every(cron)
    if every:
        return every if not days else f"{every}, {days}"
    first = days[:1].upper() + days[1:] if days else "Every day"
    return f"{first} at {_times(cron)}"


def _every(cron: Cron) -> str:
    """Return "Every 15 minutes" and the like, or "" when there are times of the day to name."""
    minute, hour = cron.minute, cron.hour
    if hour.text == "*":
        if minute.text == "*":
            return "Every minute"
        if step := _step(minute, 60):
            return f"Every {step} minutes"
        return f"Every hour at minute {_and(minute.values)}"
    if len(minute.values) == 1 and (step := _step(hour, 24)):
        return f"Every {step} hours at minute {minute.values[0]}"
    return ""


def _step(field: Field, whole: int) -> int | None:
    """Return n for "*/n" that divides the hour or the day without a rest."""
    step = field.text.removeprefix("*/")
    return (
        int(step)
        if step.isascii() and step.isdigit() and step != field.text and whole % int(step) == 0
        else None
    )


def _times(cron: Cron) -> str:
    times = [f"{hour:02}:{minute:02}" for hour in cron.hour.values for minute in cron.minute.values]
    if len(times) <= TIMES_SPELLED_OUT:
        return _and(times)
    return f"minute {_ranges(cron.minute.values)} of the hours {_ranges(cron.hour.values)}"


def _ranges(values: Sequence[int]) -> str:
    """Return "8 to 17", "0, 15, 30 and 45", "1, 2 and 8 to 12"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    said: list[str] = []
    for run in runs:
        said.extend([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))
    return _and(said)


def _days(cron: Cron) -> str:
    month_days = "" if cron.day.text == "*" else _month_days(cron)
    weekdays = "" if cron.weekday.text == "*" else _weekdays(cron.weekday.values)
    if not month_days or not weekdays:
        return month_days or weekdays
    if cron.either_day:
        return f"{month_days} and {weekdays}"
    return f"{weekdays} that is {month_days}"


def _month_days(cron: Cron) -> str:
    noun = "day" if len(cron.day.values) == 1 else "days"
    return f"on {noun} {_ranges(cron.day.values)} of the month"


def _weekdays(values: Sequence[int]) -> str:
    if len(values) == len(WEEKDAYS):
        return ""
    if list(values) == [1, 2, 3, 4, 5]:
        return "Monday to Friday"
    monday_first = sorted(values, key=lambda value: (value - 1) % 7)
    return f"every {_and(WEEKDAYS[value] for value in monday_first)}"


def _months(cron: Cron) -> str:
    if len(cron.month.values) == len(MONTHS):
        return ""
    return f"in {_and(MONTHS[value - 1] for value in cron.month.values)}"


def _and(values: Iterable[object]) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last
