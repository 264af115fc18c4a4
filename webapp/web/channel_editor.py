"""The form of one channel: what every channel has, and what its type asks for."""

from collections.abc import Iterator
from typing import Any, Final

from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, Field, Form, SelectField, StringField
from wtforms.validators import DataRequired, Length

from webapp.core import text
from webapp.core.form_fields import whole
from webapp.core.secrets import is_reference
from webapp.notify.channels import BY_TYPE, CHANNELS
from webapp.notify.channels.base import Channel
from webapp.notify.channels.fields import SecretField
from webapp.services import channel_drafts, channel_edits
from webapp.services.channel_edits import NAME_LIMIT, Stored, Values
from webapp.web.numbers import number

OWN_NAMES: Final = frozenset(
    {"name", "is_global", "fallback_id", "version", "draft", "type", "channel_id", "sample"}
    | {"csrf_token"}
)
"""Names that this form uses itself; no channel type may have a field of that name."""


class Basics(Form):
    """What every channel has."""

    name = StringField(
        "Name",
        filters=[lambda typed: text.one_line(typed or "")],
        validators=[
            DataRequired("Enter a name, for example “Ops alerts”."),
            Length(max=NAME_LIMIT, message=f"Use at most {NAME_LIMIT} characters."),
        ],
    )
    is_global = BooleanField(
        "Use as a global channel",
        description="System events without their own channels will also be sent here.",
    )
    fallback_id = SelectField(
        "Fallback channel",
        coerce=whole,
        validate_choice=False,  # the service knows better what is there at that moment
        description="Takes a message over at once when this channel refuses it or its service asks "
        "for a long pause, and after the second failed try otherwise.",
    )

    def __init__(
        self, sent: MultiDict[str, str] | None, *, others: list[tuple[int, str]], **values: Any
    ) -> None:
        super().__init__(sent, **values)
        self.fallback_id.choices = [(0, "None"), *others]


class Editor:
    """One visit to the form: shown, or sent and checked."""

    def __init__(
        self,
        channel_type: type[Channel],
        *,
        user_id: int,
        existing: Stored | None = None,
        sent: MultiDict[str, str] | None = None,
    ) -> None:
        self.type = channel_type
        self.existing = existing
        self.version = existing.row.version if existing else 0
        self._user_id = user_id
        self._checked = False
        self._purpose = f"channel:{channel_type.type}:{existing.row.id if existing else 'new'}"
        saved = dict(existing.config) if existing else {}
        self._drafted = channel_drafts.recall(
            sent.get("draft", "") if sent else "", self._purpose, user_id
        )
        self._known = saved | self._drafted
        self.basics = Basics(
            sent,
            name=existing.row.name if existing else None,
            is_global=existing.is_global if existing else False,
            fallback_id=(existing.row.fallback_id if existing else None) or 0,
            others=channel_edits.fallback_choices(existing.row.id if existing else None),
        )
        self.form = channel_type.form(
            sent,
            data=channel_type.form.shown(saved) if existing else None,
            stored=self._known,
            fresh=self._drafted,
        )
        if sent and sent.get("version"):
            self.version = number(sent["version"])

    @property
    def is_new(self) -> bool:
        """Say whether the channel is not stored yet."""
        return self.existing is None

    @property
    def plain_fields(self) -> list[Field]:
        """The fields that are always shown."""
        return [field for field in self.form if field.short_name not in self.form.advanced]

    @property
    def advanced_fields(self) -> list[Field]:
        """The fields behind "More options"."""
        return [field for field in self.form if field.short_name in self.form.advanced]

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
        self._checked = True
        results = [self.basics.validate(), self.form.validate()]
        return all(results)

    def refuse(self, message: str, field_name: str | None = None) -> None:
        """Add an error that was found elsewhere."""
        if field_name is not None and field_name in self.basics:
            field = self.basics[field_name]
            field.errors = [*field.errors, message]
        else:
            self.basics.form_errors.append(message)

    def take_over(self) -> None:
        """Let the next try replace what somebody else saved meanwhile."""
        if self.existing is not None:
            self.version = self.existing.row.version

    def values(self) -> Values:
        """Return what to store; secrets left blank are those that are known already."""
        return Values(
            name=str(self.basics.name.data),
            config=self.form.merged(self._known),
            is_global=bool(self.basics.is_global.data),
            fallback_id=self.basics.fallback_id.data or None,
        )

    def keep_secrets(self) -> str:
        """Return the token that brings good secrets back with the next try; see the form's note.

        The fields show from then on that a value is there.
        """
        kept = {}
        for field in self._secrets():
            value = field.data if field.data else self._drafted.get(field.short_name)
            if not value or field.is_cleared or not self._is_good(field):
                continue
            kept[field.short_name] = value
            field.attach(value)
        self._drafted = kept
        return channel_drafts.keep(self._purpose, self._user_id, kept)

    def _is_good(self, field: SecretField) -> bool:
        return not field.errors if self._checked else bool(field.validate(self.form))

    @property
    def warning(self) -> str:
        """Return what is strange about values that are accepted all the same."""
        return " ".join(field.warning for field in self._secrets() if field.warning)

    def is_unsaved(self, field: SecretField) -> bool:
        """Say whether the value is only kept for the next try."""
        return field.short_name in self._drafted

    def is_secret(self, field: Field) -> bool:
        """Say whether the field is write-only."""
        return isinstance(field, SecretField)

    def is_reference(self, field: SecretField) -> bool:
        """Say whether the known value names a secret kept elsewhere, which is no secret."""
        return is_reference(field.hint)

    def _secrets(self) -> list[SecretField]:
        return [field for field in self.form if isinstance(field, SecretField)]


def chosen_type(name: str | None) -> type[Channel]:
    """Return the type of this name, else the first of the list."""
    return BY_TYPE.get(name or "", CHANNELS[0])
