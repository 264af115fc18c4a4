"""Options of dump programs that an admin may add; all others are refused."""

import re
import shlex
from collections.abc import Mapping
from typing import Final

from wtforms import StringField
from wtforms.validators import ValidationError

from webapp.backup.errors import BackupError

_PATTERN: Final = r"[\w.*?\"$ -]+"
POSTGRESQL: Final[Mapping[str, str | None]] = {
    "--table": _PATTERN,
    "--exclude-table": _PATTERN,
    "--exclude-table-data": _PATTERN,
    "--extension": _PATTERN,
    "--no-blobs": None,
    "--no-comments": None,
    "--no-publications": None,
    "--no-security-labels": None,
    "--no-subscriptions": None,
    "--no-unlogged-table-data": None,
    "--enable-row-security": None,
    "--serializable-deferrable": None,
    "--schema-only": None,
}
"""Option -> form of its value; None: it has none."""
MYSQL: Final[Mapping[str, str | None]] = {
    "--ignore-table": r"[\w$-]+\.[\w$ -]+",
    "--ignore-table-data": r"[\w$-]+\.[\w$ -]+",
    "--no-data": None,
    "--skip-extended-insert": None,
    "--skip-triggers": None,
    "--skip-routines": None,
    "--skip-events": None,
    "--skip-dump-date": None,
    "--complete-insert": None,
    "--insert-ignore": None,
    "--order-by-primary": None,
}


def parse(typed: str, allowed: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the options of a line, quoted as in a shell.

    Raises:
        BackupError: one is not allowed, or its value cannot be used.
    """
    try:
        words = shlex.split(typed)
    except ValueError as error:
        raise BackupError("A quotation mark is missing its partner.") from error
    for word in words:
        name, equals, value = word.partition("=")
        if name not in allowed:
            raise BackupError(f"{name[:40]} is not one of the options that can be added here.")
        form = allowed[name]
        if form is None and equals:
            raise BackupError(f"{name} takes no value.")
        if form is not None and not re.fullmatch(form, value):
            raise BackupError(f"Write {name} with a value, for example {name}=log.entry.")
    return tuple(words)


def validate(field: StringField, allowed: Mapping[str, str | None]) -> None:
    """Check a field of a form; ValidationError when it is not right."""
    try:
        parse(field.data or "", allowed)
    except BackupError as error:
        raise ValidationError(str(error)) from error


def names(typed: str) -> tuple[str, ...]:
    """Return the names of a list with commas."""
    return tuple(name.strip() for name in typed.split(",") if name.strip())


def validate_names(field: StringField) -> None:
    """Check a field of names; ValidationError when it is not right."""
    if not all(re.fullmatch(_PATTERN, name) for name in names(field.data or "")):
        raise ValidationError("Enter names or patterns with * and ?, separated by commas.")


def help_for(allowed: Mapping[str, str | None]) -> str:
    """Return which there are, as the sentence under a field."""
    names = (f"{name}=…" if form else name for name, form in allowed.items())
    return f"Separated by spaces. Allowed are {', '.join(names)}."
