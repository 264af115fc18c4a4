"""The names of the databases of a source: typed as a list, stored one per line."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wtforms import TextAreaField
from wtforms.validators import ValidationError
from wtforms.widgets import TextArea

MOST: Final = 200
SHOWN: Final = 3  # names in a summary; further ones are counted
_LINES: Final = 3  # of the field


def names(stored: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the databases that a stored configuration names; none for a file."""
    return tuple(filter(None, str(stored.get("database") or "").split("\n")))


def summary(chosen: Sequence[str]) -> str:
    """Return "shop" or "shop, crm, blog and 4 more"."""
    more = len(chosen) - SHOWN
    return ", ".join(chosen[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def parse(typed: str) -> tuple[str, ...]:
    """Return the names of a list with a name per line or with commas, each once.

    A name that holds a comma is written in quotation marks, as in CSV.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        rows = csv.reader(typed.splitlines(), skipinitialspace=True)
        found = [name.strip() for row in rows for name in row]
    except csv.Error as error:
        raise ValueError("Write one name per line.") from error
    return tuple(dict.fromkeys(filter(None, found)))


class DatabasesField(TextAreaField):
    """A list of databases; its value is one name per line."""

    widget = TextArea()

    def __init__(self, label: str, validators: Any = None, **kwargs: Any) -> None:
        kwargs.setdefault("render_kw", {"rows": _LINES, "spellcheck": "false"})
        kwargs.setdefault(
            "description",
            "One or several, one per line. Each is backed up to a file of its own. A name with a "
            "comma is written in quotation marks.",
        )
        super().__init__(label, validators, **kwargs)

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "\n".join(map(_quoted, names({"database": self.data})))

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take what was typed."""
        self.data = "\n".join(parse(valuelist[0])) if valuelist else ""


def check(field: DatabasesField, longest: int) -> tuple[str, ...]:
    """Return the names of a field, if each of them can be one.

    Raises:
        ValidationError: one is too long or cannot be printed, or there are too many.
    """
    chosen = names({"database": field.data})
    if len(chosen) > MOST:
        raise ValidationError(f"Enter at most {MOST} names. Make another source for the rest.")
    for name in chosen:
        if not name.isprintable():
            raise ValidationError("A name holds characters that cannot be used.")
        if len(name) > longest:
            raise ValidationError(f"{name[:20]}… is longer than {longest} characters.")
    return chosen


def _quoted(name: str) -> str:
    if "," not in name and '"' not in name:
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
