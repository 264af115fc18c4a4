"""Fields that channel forms share, and the form that they are put in; see core/form_fields.py.

A channel is made from what `channel_type.form.resolved(config)` returns.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from wtforms import Field, StringField, TextAreaField
from wtforms.validators import NumberRange, Optional, StopValidation, ValidationError
from wtforms.widgets import TextArea

from webapp.core import form_fields, text
from webapp.core.errors import SecretError
from webapp.core.form_fields import NumberField, check_reference
from webapp.core.secrets import is_reference, resolve

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_OWN_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_HEADER_VALUE_LIMIT: Final = 1000
# The local part is what mail servers accept in practice; quoted local parts are refused on purpose.
_ADDRESS: Final = re.compile(
    r"[^\s@<>()\[\]\\,;:\"\x00-\x1f\x7f]{1,64}@[^\s@<>,;:\"\x00-\x1f\x7f]+"
)
ADDRESS_LIMIT: Final = 254

Check = Callable[[str], None]
"""Raises ValidationError for a value that cannot be used."""


class SecretField(form_fields.SecretField):
    """A secret of a channel: checked when it is typed, and hinted at once it is stored."""

    def __init__(
        self,
        label: str,
        *,
        check: Check | None = None,
        hint: Callable[[str], str] | None = None,
        warn: Callable[[str], str] | None = None,
        missing: str = "",
        **kwargs: Any,
    ) -> None:
        """`warn` says what is strange about a value that is accepted all the same."""
        super().__init__(label, missing=missing or f"Enter the {_lower(label)}.", **kwargs)
        self._stored = ""
        self._check = check
        self._describe = hint
        self._warn = warn

    @property
    def warning(self) -> str:
        """Return what is strange about the value that is typed or stored."""
        value = self.data or self._stored
        return self._warn(value) if self._warn and value and not is_reference(value) else ""

    def attach(self, stored: object) -> None:
        """Tell the field what is stored."""
        super().attach(stored)
        if self.is_stored and not is_reference(stored):
            self._stored = str(stored)
            self.hint = self._describe(self._stored) if self._describe else ""

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take what was typed, without white space around it; nothing is no value."""
        self.data = (valuelist[0].strip() if valuelist else "") or None

    def pre_validate(self, form: Any) -> None:
        """Accept a kept value or a reference, demand a required value, check a typed one."""
        if self.data is None:
            self.check_kept(form)
            raise StopValidation
        if is_reference(self.data):
            check_reference(self.data)
            raise StopValidation
        self.check_value(self.data)

    def check_value(self, value: str) -> None:
        """Check a typed value that is not a reference."""
        if self._check is None:
            return
        try:
            self._check(value)
        except ValidationError:
            raise
        except ValueError:  # an address that cannot be taken apart, such as http://[
            raise ValidationError("This is no address that can be called.") from None


class HeadersField(SecretField):
    """Extra HTTP headers, one `Name: value` per line; the values are secrets.

    Each value may be a reference. Line breaks matter here, so it is a text area that never shows
    what is stored.
    """

    widget = TextArea()

    def _value(self) -> str:
        return ""

    def attach(self, stored: object) -> None:
        """Show the names of the stored headers."""
        super().attach(stored)
        if self.is_stored:
            self.hint = ", ".join(name for name, _ in parse_headers(str(stored)))

    def pre_validate(self, form: Any) -> None:
        """Check every line."""
        if self.data is None:
            self.check_kept(form)
            raise StopValidation
        for number, line in enumerate(self.data.splitlines(), start=1):
            if line.strip():
                _check_header(line, number)

    @classmethod
    def resolved(cls, value: str) -> str:
        """Return the lines with the reference in each value replaced.

        Raises:
            SecretError: a reference leads nowhere, or to several lines: those would be headers.
        """
        found = [(name, resolve(content).strip()) for name, content in parse_headers(value)]
        for name, content in found:
            if len(content.splitlines()) > 1:
                raise SecretError(f"The secret of the header {name} has several lines.")
        return "\n".join(f"{name}: {content}" for name, content in found)


class OutboundUrlField(StringField):
    """The address of a service; http and https only, without user and password."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take the address without white space around it."""
        self.data = valuelist[0].strip() if valuelist else ""

    def pre_validate(self, form: Any) -> None:
        """Check the address when there is one; DataRequired demands it."""
        if self.data:
            check_url(self.data)


class WordsField(TextAreaField):
    """Words separated by blanks, commas or line breaks; `data` is a list without repetitions."""

    def _value(self) -> str:
        found: Any = self.data
        return " ".join(found or ())

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Split what was typed."""
        typed = re.split(r"[,;\s]+", valuelist[0]) if valuelist else []
        found: Any = list(dict.fromkeys(map(self.normalized, filter(None, typed))))
        self.data = found

    def normalized(self, word: str) -> str:
        """Return the form of a word that is stored."""
        return word


class RecipientsField(TextAreaField):
    """Mail addresses, one per line or separated by commas; `data` is a list without repetitions."""

    def __init__(self, label: str | None = None, *, most: int = 50, **kwargs: Any) -> None:
        super().__init__(label, **kwargs)
        self.most = most

    def _value(self) -> str:
        found: Any = self.data
        return "\n".join(found or ())

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Split what was typed."""
        typed = re.split(r"[,;\s]+", valuelist[0]) if valuelist else []
        unique: dict[str, str] = {}
        for address in filter(None, typed):
            unique.setdefault(address.casefold(), address)
        found: Any = list(unique.values())
        self.data = found

    def pre_validate(self, form: Any) -> None:
        """Check every address and how many there are."""
        found: Any = self.data
        if len(found or ()) > self.most:
            raise ValidationError(
                f"Enter at most {self.most} addresses. Use a distribution list for more people."
            )
        for address in found or ():
            check_address(address)


class PriorityField(NumberField):
    """A service's priority as a number; empty (None) leaves it to the severity of the message."""

    def __init__(
        self, label: str | None = None, *, lowest: int, highest: int, **kwargs: Any
    ) -> None:
        message = f"Enter a number from {lowest} to {highest}, or leave it empty."
        super().__init__(
            label, validators=[Optional(), NumberRange(lowest, highest, message)], **kwargs
        )
        self._message = message

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take the number; nothing is no number and no mistake."""
        typed = valuelist[0].strip() if valuelist else ""
        self.data = None
        try:
            self.data = int(typed) if typed else None
        except ValueError:
            raise ValueError(self._message) from None


class ChannelForm(form_fields.ConfigForm):
    """The configuration of one channel type."""

    advanced: ClassVar[tuple[str, ...]] = ()
    """Names of fields that a page may put behind "More options"."""

    def config(self) -> dict[str, Any]:
        """Return what was entered, JSON-ready; a secret left blank is empty."""
        return self.merged({})

    def merged(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration to store; what another version knows of it stays, too."""
        return dict(stored) | super().merged(stored)


def _lower(label: str) -> str:
    """Return a label for the middle of a sentence; abbreviations stay."""
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def check_ca_file(field: Field) -> None:
    """Check that there is such a file, if one is named."""
    if not field.data:
        return
    try:
        found = Path(field.data.strip()).is_file()
    except OSError:  # a name that is too long, or a directory that may not be looked into
        found = False
    if not found:
        raise ValidationError("There is no such file that this server may read.")


def client_certificate_field() -> StringField:
    """Return the field for a certificate by which the service knows this server."""
    return StringField(
        "Client certificate",
        validators=[_check_client_certificate],
        description="Path of a PEM file on this server with a certificate and its key, for a "
        "service that asks for one.",
    )


def proxy_field() -> StringField:
    """Return the field for a proxy of the channel's own."""
    return StringField(
        "Proxy",
        validators=[_check_proxy],
        description="Address of an HTTP proxy, such as http://proxy.example.org:3128. Empty: none.",
        filters=[lambda typed: (typed or "").strip().rstrip("/")],
    )


def _check_client_certificate(_form: Any, field: Field) -> None:
    check_ca_file(field)


def _check_proxy(_form: Any, field: Field) -> None:
    if not field.data:
        return
    check_url(field.data)
    parts = urlsplit(field.data)
    if parts.scheme != "http" or parts.path or parts.query or parts.fragment:
        raise ValidationError("Enter http://, the host and the port of the proxy.")


def check_url(value: str) -> None:
    """Check that the text is an address that can be called."""
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        raise ValidationError("Enter an address such as https://example.org/path.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_good:
        raise ValidationError("Enter an address such as https://example.org/path.")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("Leave user and password out of the address. Use a header instead.")
    if any(character.isspace() for character in value) or text.clean(value) != value:
        raise ValidationError("Remove blanks and line breaks from the address.")


def check_address(value: str) -> None:
    """Check that the text is one mail address."""
    if len(value) > ADDRESS_LIMIT or not _ADDRESS.fullmatch(value):
        raise ValidationError(f"“{value[:60]}” is no mail address. Write it as name@example.org.")
    local, _, domain = value.rpartition("@")
    if not local.isascii():
        raise ValidationError(f"“{value[:60]}”: use ASCII letters before the @.")
    try:
        domain.encode("idna")
    except UnicodeError:
        raise ValidationError(f"“{domain[:60]}” is no mail domain. Check its spelling.") from None


def parse_headers(lines: str) -> list[tuple[str, str]]:
    """Return name and value of each line `Name: value`."""
    pairs = (line.partition(":") for line in lines.splitlines() if line.strip())
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _check_header(line: str, number: int) -> None:
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not _HEADER_NAME.fullmatch(name):
        raise ValidationError(f"Line {number}: write a header as Name: value.")
    if name.lower() in _OWN_HEADERS:
        raise ValidationError(f"Line {number}: {name} is set by DBackup. Remove this line.")
    if is_reference(value):
        check_reference(value)
    elif not value or len(value) > _HEADER_VALUE_LIMIT:
        raise ValidationError(
            f"Line {number}: enter a value of 1 to {_HEADER_VALUE_LIMIT} characters."
        )
    elif not value.isascii() or not value.isprintable():
        raise ValidationError(
            f"Line {number}: use letters, digits and signs of ASCII in the value only."
        )
