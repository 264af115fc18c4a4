"""The form of one source or destination: its name, and what its type asks for."""

from collections.abc import Iterator
from typing import Any

from werkzeug.datastructures import MultiDict
from wtforms import Field, Form, StringField
from wtforms.validators import DataRequired, Length

from webapp.core import text
from webapp.core.form_fields import SecretField
from webapp.core.secrets import is_reference
from webapp.services import channel_drafts
from webapp.services.connections import NAME_LIMIT, Stored, Values
from webapp.web.numbers import number


class NameForm(Form):
    """What each of them has."""

    name = StringField(
        "Name",
        filters=[lambda typed: text.one_line(typed or "")],
        validators=[
            DataRequired("Enter a name, for example “Shop”."),
            Length(max=NAME_LIMIT, message=f"Use at most {NAME_LIMIT} characters."),
        ],
    )


class Editor:
    """One visit to the form: shown, or sent and checked."""

    def __init__(
        self,
        noun: str,
        type_: type[Any],
        *,
        user_id: int,
        existing: Stored[Any] | None = None,
        sent: MultiDict[str, str] | None = None,
    ) -> None:
        self.type = type_
        self.existing = existing
        self._user_id = user_id
        self._purpose = f"{noun}:{type_.type}:{existing.row.id if existing else 'new'}"
        saved = dict(existing.config) if existing else {}
        draft = sent.get("draft", "") if sent else ""
        self._drafted = channel_drafts.recall(draft, self._purpose, user_id)
        self._known = saved | self._drafted
        self.basics = NameForm(sent, name=existing.row.name if existing else None)
        shown = type_.form.shown(saved) if existing else None
        self.form = type_.form(sent, data=shown, stored=self._known, fresh=self._drafted)
        stated = sent.get("version", "") if sent else ""
        stored_version = existing.row.version if existing else 0
        self.version = number(stated) if stated else stored_version

    @property
    def is_new(self) -> bool:
        """Say whether it is not stored yet."""
        return self.existing is None

    @property
    def form_errors(self) -> list[str]:
        """What is wrong with the form as a whole."""
        return [*self.basics.form_errors, *self.form.form_errors]

    @property
    def has_errors(self) -> bool:
        """Say whether the form came back."""
        return bool(self.form_errors) or any(field.errors for field in self)

    def __iter__(self) -> Iterator[Field]:
        """Go through all fields, as the summary of errors does."""
        yield from self.basics
        yield from self.form

    def check(self) -> bool:
        """Check every field; say whether all are good."""
        return all([self.basics.validate(), self.form.validate()])

    def refuse(self, message: str, field_name: str | None = None) -> None:
        """Add an error that was found elsewhere."""
        if field_name == "name":
            field = self.basics.name
            field.errors = [*field.errors, message]
        else:
            self.basics.form_errors.append(message)

    def take_over(self) -> None:
        """Let the next try replace what somebody else saved meanwhile."""
        if self.existing is not None:
            self.version = self.existing.row.version

    def values(self) -> Values:
        """Return what to store; secrets left blank are those that are known already."""
        return Values(name=str(self.basics.name.data), config=self.form.merged(self._known))

    def keep_secrets(self) -> str:
        """Return the token that brings typed secrets back with the next try."""
        kept = {}
        for field in self.form:
            if not self.is_secret(field) or field.errors or field.is_cleared:
                continue
            if value := field.data or self._drafted.get(field.short_name):
                kept[field.short_name] = value
                field.attach(value)
        self._drafted = kept
        return channel_drafts.keep(self._purpose, self._user_id, kept)

    def is_secret(self, field: Field) -> bool:
        """Say whether the field is write-only."""
        return isinstance(field, SecretField)

    def is_unsaved(self, field: SecretField) -> bool:
        """Say whether the value is only kept for the next try."""
        return field.short_name in self._drafted

    def is_reference(self, field: SecretField) -> bool:
        """Say whether the known value names a secret kept elsewhere, which is no secret."""
        return is_reference(field.hint)
