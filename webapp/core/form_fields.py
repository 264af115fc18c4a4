"""The form of a configuration with secrets that never come back to the browser.

    form = SomeForm(request.form, data=SomeForm.shown(stored), stored=stored)
    if form.validate():
        config = form.merged(stored)

`stored` is the opened configuration of what is edited ({} for something new). Secrets are
write-only: one that is left blank keeps the stored value, the box `<field name>-clear` removes an
optional one, and no field ever renders a secret. `SomeForm.resolved(config)` replaces references
(`env:NAME`, `file:/path`) by what they refer to.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

from markupsafe import Markup
from wtforms import Field, Form, IntegerField, PasswordField
from wtforms.validators import StopValidation
from wtforms.widgets import html_params

from webapp.core.secrets import is_reference, resolve

_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")
LARGEST: Final = 2**31 - 1  # of an INTEGER in PostgreSQL
LONGEST_SECRET: Final = 1000
ENTER_AGAIN: Final = (
    "Where it goes, or how it is protected on the way, has changed. Enter it again, so that nobody "
    "gets it unasked."
)
REFERENCE_HELP: Final = "Stored encrypted. A reference such as env:NAME or file:/path works, too."


class NumberField(IntegerField):
    """A whole number; what no table holds becomes the nearest that does, so ranges can refuse it.

    Beyond that, the range check itself, or the database, would end in an error of ours.
    """

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take the number."""
        super().process_formdata(valuelist)
        if self.data is not None:
            self.data = max(-LARGEST, min(self.data, LARGEST))


def whole(value: object) -> int:
    """Return a choice as an id; the `coerce` of fields.

    Raises:
        ValueError: it is no number, or one that no table holds.
    """
    number = int(str(value))
    if abs(number) > LARGEST:
        raise ValueError("too large for an id")
    return number


def place_of(value: object) -> str:
    """Return what of a host, port or address says who gets the secrets that are sent there."""
    text = str("" if value is None else value).strip().lower()
    parts = text.split("/", 3) if "://" in text else [text]
    return "/".join(parts[:3]).rstrip(".")


def has_moved(form: Form, stored: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Say whether one of these fields leads elsewhere than the stored configuration does.

    A secret that is left blank stays; so nobody who may edit a form, but not read its secrets, gets
    them by naming a server of their own. A write-only field that is blank has not changed.
    """
    return any(
        place_of(form[name].data) != place_of(stored.get(name))
        for name in names
        if form[name].data is not None or not isinstance(form[name], PasswordField)
    )


def is_less_safe(
    form: Form, stored: Mapping[str, Any], ways: Mapping[str, Mapping[str, int]]
) -> bool:
    """Say whether what is sent could be read by more people than with the stored configuration."""
    return any(
        risks.get(str(form[name].data), 0) > risks.get(str(stored.get(name)), 0)
        for name, risks in ways.items()
    )


class SecretField(PasswordField):
    """A secret: never echoed; left blank, the stored one stays; a box clears an optional one.

    After construction `data` is what was typed (None: nothing). `is_stored` says whether a value
    is there already, `is_cleared` whether the person asked to remove it, and `hint` what may be
    shown of the stored value.
    """

    limit = LONGEST_SECRET
    """In characters."""

    def __init__(
        self,
        label: str | None = None,
        *,
        required: bool = False,
        missing: str = "Enter it.",
        **kwargs: Any,
    ) -> None:
        """`missing` is the message for a required secret that was not entered."""
        kwargs.setdefault("description", REFERENCE_HELP)
        super().__init__(label, **kwargs)
        self.is_required = required
        self._missing = missing
        self.is_stored = False
        self.is_cleared = False
        self.hint = ""

    @property
    def clear_name(self) -> str:
        """Return the name of the box that removes an optional secret."""
        return f"{self.name}-clear"

    @property
    def can_be_cleared(self) -> bool:
        """Say whether there is a value that may be removed."""
        return self.is_stored and not self.is_required

    def attach(self, stored: object) -> None:
        """Tell the field what is stored; a reference may be shown."""
        self.is_stored = isinstance(stored, str) and bool(stored)
        self.hint = str(stored) if is_reference(stored) else ""

    def process(
        self, formdata: Any, data: Any = None, extra_filters: Sequence[Any] | None = None
    ) -> None:
        """Take only what was typed; stored values are none of the field's business."""
        super().process(formdata, None, extra_filters)
        self.is_cleared = bool(formdata is not None and formdata.getlist(self.clear_name))

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take what was typed; nothing is no value."""
        self.data = (valuelist[0] if valuelist else "") or None

    def pre_validate(self, form: Any) -> None:
        """Demand a required value, and check the form of a reference."""
        if self.data is None:
            self.check_kept(form)
            return
        if len(self.data) > self.limit or "\0" in self.data:
            raise StopValidation(f"Enter at most {self.limit} characters.")
        if is_reference(self.data):
            check_reference(self.data)

    def check_kept(self, form: Any) -> None:
        """Refuse that nothing is left of a required value, and that a stored one goes to another
        server than it was entered for.
        """
        kept = self.is_stored and not self.is_cleared
        if self.is_required and not kept:
            raise StopValidation(self._missing)
        if kept and form.asks_again_for(self.short_name):
            raise StopValidation(ENTER_AGAIN)

    def kept(self, stored: object) -> str:
        """Return the value to store: the typed one, nothing when cleared, else the stored one."""
        if self.data:
            return self.data
        return stored if isinstance(stored, str) and not self.is_cleared else ""

    @classmethod
    def resolved(cls, value: str) -> str:
        """Return the secret with references replaced.

        Raises:
            SecretError: a reference leads nowhere.
        """
        return resolve(value)


class _BlankArea:
    """A text area that never shows its value."""

    def __call__(self, field: Field, **kwargs: Any) -> Markup:
        attributes = {"id": field.id, "name": field.name, "rows": 4} | kwargs
        return Markup(f"<textarea {html_params(**attributes)}></textarea>")  # noqa: S704 - escaped


class SecretTextField(SecretField):
    """A secret of several lines, such as a private key."""

    widget = _BlankArea()
    limit = 20_000


class ConfigForm(Form):
    """The configuration of one type: its schema, its checks, its help texts."""

    bound_to: ClassVar[tuple[str, ...]] = ()
    """Fields that say who gets the secrets: when one changes, secrets must be entered again."""
    protected_by: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    """Fields that say how secrets travel, and how risky each choice is: a riskier one asks, too."""
    stays_here: ClassVar[tuple[str, ...]] = ()
    """Secrets that are never sent, such as private keys."""

    def __init__(
        self,
        formdata: Any = None,
        *,
        data: Mapping[str, Any] | None = None,
        stored: Mapping[str, Any] | None = None,
        fresh: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        """`fresh` names secrets of `stored` that were typed in this very form a moment ago."""
        super().__init__(formdata, data=data, **kwargs)
        self.stored = dict(stored or {})
        self._fresh = frozenset(fresh)
        for field in self:
            if isinstance(field, SecretField):
                field.attach(self.stored.get(field.short_name))

    def asks_again_for(self, name: str) -> bool:
        """Say whether this stored secret must be entered again, because it would go elsewhere."""
        if name in self._fresh or name in self.stays_here:
            return False
        others = [other for other in self.bound_to if other != name]
        return has_moved(self, self.stored, others) or is_less_safe(
            self, self.stored, self.protected_by
        )

    @classmethod
    def secret_fields(cls) -> tuple[str, ...]:
        """Return the names of the fields whose values are secret."""
        return tuple(_secret_fields(cls))

    @classmethod
    def shown(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stored configuration without its secrets."""
        hidden = cls.secret_fields()
        return {key: value for key, value in stored.items() if key not in hidden}

    @classmethod
    def resolved(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration with every reference to a secret replaced.

        Raises:
            SecretError: a reference leads nowhere.
        """
        secret = _secret_fields(cls)
        return {
            key: secret[key].resolved(value) if key in secret and isinstance(value, str) else value
            for key, value in config.items()
        }

    def merged(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration to store: what was entered, and the secrets that are kept."""
        return {field.short_name: _value(field, stored) for field in self}


@lru_cache(maxsize=64)  # making a form for each message would cost more than sending it
def _secret_fields(form: type[ConfigForm]) -> Mapping[str, type[SecretField]]:
    return {field.short_name: type(field) for field in form() if isinstance(field, SecretField)}


def check_reference(value: str) -> None:
    """Check the form of a reference to a secret; what it refers to is read when it is used."""
    if not _REFERENCE.fullmatch(value):
        raise StopValidation(
            "Write a reference as env:NAME (a variable of the server) or file:/path/to/file."
        )


def _value(field: Field, stored: Mapping[str, Any]) -> Any:
    if isinstance(field, SecretField):
        return field.kept(stored.get(field.short_name))
    return field.data.strip() if isinstance(field.data, str) else field.data
