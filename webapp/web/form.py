"""What forms of the web have in common."""

from functools import lru_cache
from typing import Any, Final
from zoneinfo import available_timezones

from flask_wtf import FlaskForm
from wtforms import Field, ValidationError

from webapp.core.errors import InvalidError

LEGACY_ZONES: Final = ("Etc/", "SystemV/", "US/", "posix/", "right/")


class Form(FlaskForm):  # type: ignore[misc]  # flask-wtf has no types
    """A form of ours, with its CSRF token."""


def tidy(value: object) -> object:
    """Drop blanks around a text; a filter of fields."""
    return value.strip() if isinstance(value, str) else value


def add_error(form: FlaskForm, error: InvalidError) -> None:
    """Show a service's refusal at its field, or above the form."""
    field: Any = form._fields.get(error.field or "")
    if field is None:
        form.form_errors.append(str(error))
    else:
        field.errors = [*field.errors, str(error)]


def email_address(_form: Any, field: Field) -> None:
    """Refuse what cannot be an address; that it exists only its owner can show."""
    name, at, host = str(field.data or "").strip().rpartition("@")
    if not (name and at and "." in host.strip(".")) or any(
        c.isspace() or c in "<>," for c in f"{name}{host}"
    ):
        if host == "localhost" and name and at:
            return
        raise ValidationError("Enter an email address, for example mara@example.org.")


@lru_cache
def zones() -> tuple[str, ...]:
    """Return the names of time zones, UTC first, without those kept for old software."""
    names = (name for name in available_timezones() if "/" in name)
    return ("UTC", *sorted(name for name in names if not name.startswith(LEGACY_ZONES)))


def zone_choices(empty: str = "") -> dict[str, str]:
    """Return choices for a select of time zones; `empty` is the label of "none chosen"."""
    named = {name: name.replace("_", " ") for name in zones()}
    return {"": empty, **named} if empty else named
