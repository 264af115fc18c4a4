"""Generic webhook: JSON, a template, or a preset of a well-known service, to any address."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from wtforms import SelectField, StringField, TextAreaField
from wtforms.validators import StopValidation, ValidationError

from webapp.core import clock, foreign_json, network
from webapp.core.buckets import Rate
from webapp.core.errors import PermanentError
from webapp.core.secrets import is_reference
from webapp.notify import plain, presets, signing, variables
from webapp.notify.channels.base import Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    HeadersField,
    SecretField,
    check_ca_file,
    check_url,
    client_certificate_field,
    parse_headers,
    proxy_field,
)
from webapp.notify.channels.http import TROUBLES, Sorted, Sorter, deliver_http, said_in
from webapp.notify.message import Field, Message, Severity
from webapp.notify.outbound import Answer, Outbound, Reach
from webapp.notify.shorten import fit, utf8

BODY_LIMIT: Final = 20_000  # bytes of our own body; receivers with small buffers are common
LONGEST_TEMPLATE: Final = 10_000
"""In characters. Texts may be a thousand times longer than their variables: 10 MB, once filled."""
TITLE: Final = 300  # bytes, as all that follow
TEXT: Final = 4_000
FIELD_NAME: Final = 100
FIELD_VALUE: Final = 1_000
FIELDS: Final = 10_000
ERROR_IN_TEMPLATE: Final = 10_000
IN_URL: Final = 250  # bytes before encoding; servers begin to refuse addresses at 8 kB
JSON: Final = "application/json"
BODILESS: Final = frozenset({"GET", "HEAD"})

COLOURS: Final = {
    Severity.INFO: "#3498db",
    Severity.SUCCESS: "#2ecc71",
    Severity.WARNING: "#f1c40f",
    Severity.FAILURE: "#e74c3c",
    Severity.CRITICAL: "#992d22",
}
VARIABLES: Final = (
    "title", "message", "success", "status", "color", "timestamp", "eventType", "fields", "error",
    "id", "deliveryId", "severity", "instance", "link", "test",
)  # fmt: skip
HOSTILE: Final = "\"quotes\" \\ {{title}} & <b>\nsecond line\t'x' é 😀 @everyone"
"""What a value may hold; a template is tried with it before it is saved."""
_EXAMPLE: Final = '{"text": "{{title}}: {{message}}", "failed": {{success}}}'
_KEY: Final = re.compile(r"[A-Za-z0-9]{32}")
_AUTHORIZATION: Final = re.compile(r"[!-~](?:[ -~]{0,1998}[!-~])?")
_CONTENT_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;\s*[\w.-]+=[\w.\"-]+)*")


def _check_address(value: str) -> None:
    _check_variables(value)
    if "{" in value.partition("://")[2].partition("/")[0]:
        raise ValidationError("Put variables behind the host, not into it.")
    check_url(_fill_url(value, dict.fromkeys(VARIABLES, "x")))


def _check_key(value: str) -> None:
    if not _KEY.fullmatch(value):
        raise ValidationError("Enter the integration key: 32 letters and digits.")


def _check_authorization(value: str) -> None:
    if not _AUTHORIZATION.fullmatch(value):
        raise ValidationError("Use letters, digits and signs of ASCII, as in Bearer abc123.")


def _check_secret(value: str) -> None:
    try:
        signing.key_of(value)
    except ValueError:
        raise ValidationError(
            "Enter the secret as the receiver shows it: whsec_ and base64 of 24 to 64 bytes."
        ) from None


def _check_variables(template: str) -> None:
    unknown = sorted(variables.used(template) - set(VARIABLES))
    if unknown:
        raise ValidationError(
            f"There is no variable {{{{{unknown[0]}}}}}. Use: {', '.join(VARIABLES)}."
        )


def _fill_url(template: str, values: Mapping[str, Any]) -> str:
    return variables.fill(template, values, variables.for_url)


def _hint(value: str) -> str:
    parts = urlsplit(value)
    return f"{parts.scheme}://{parts.netloc}/…"


def _path_of(value: str) -> Path | None:
    return Path(value) if value else None


class AddressField(SecretField):
    """The URL; a preset may know it by itself."""

    def pre_validate(self, form: Any) -> None:
        """Demand an address unless the preset has one."""
        kept = self.is_stored and not self.is_cleared
        if self.data is None and not kept and form.preset.data == presets.PAGERDUTY:
            raise StopValidation
        super().pre_validate(form)


class WebhookForm(ChannelForm):
    """What a generic webhook needs."""

    bound_to: ClassVar[tuple[str, ...]] = ("url", "proxy", "ca_file")
    stays_here: ClassVar[tuple[str, ...]] = ("signing_secret", "previous_secret")

    advanced: ClassVar[tuple[str, ...]] = (
        "content_type", "template", "expected_status", "signing_secret", "previous_secret",
        "ca_file", "client_certificate", "proxy",
    )  # fmt: skip

    preset = SelectField(
        "Preset",
        choices=presets.LABELS,
        default="",
        description="Knows method, address and body of a service, and how it hears of success and "
        "failure. It takes the place of method, content type and template.",
    )
    url = AddressField(
        "URL",
        required=True,
        check=_check_address,
        hint=_hint,
        missing="Enter the URL.",
        description="Stored encrypted, because addresses of webhooks often hold a token. "
        "{{variables}} are allowed behind the host. Uptime Kuma and Healthchecks: the push or "
        "ping URL. PagerDuty: empty, or https://events.eu.pagerduty.com/v2/enqueue.",
        render_kw={"placeholder": "https://example.org/hooks/backup"},
    )
    method = SelectField(
        "Method",
        choices={name: name for name in ("POST", "PUT", "PATCH", "GET", "HEAD")},
        default="POST",
        description="GET and HEAD send no body.",
    )
    routing_key = SecretField(
        "Integration key",
        check=_check_key,
        description="Only for PagerDuty: Service → Integrations → Events API v2. Stored encrypted; "
        "a reference such as env:NAME or file:/path works, too.",
    )
    authorization = SecretField(
        "Authorization",
        check=_check_authorization,
        description="Value of this header, such as Bearer and a token. Stored encrypted; a "
        "reference such as env:NAME or file:/path works, too.",
        render_kw={"placeholder": "Bearer …"},
    )
    headers = HeadersField(
        "Headers",
        description="One per line, as Name: value. Values are stored encrypted; a value may be "
        "env:NAME or file:/path. What you enter replaces all stored headers.",
        render_kw={"rows": 3, "placeholder": "Authorization: Bearer …", "autocomplete": "off"},
    )
    content_type = StringField("Content type", default=JSON)
    template = TextAreaField(
        "Body template",
        description="Empty: the JSON body of the documentation. "
        f"Variables: {', '.join(VARIABLES)}. Put texts in quotes: {_EXAMPLE}",
        render_kw={"rows": 6},
    )
    expected_status = StringField(
        "Expected status",
        description="Codes that mean success, such as 200, 204. Empty: every 2xx.",
    )
    signing_secret = SecretField(
        "Signing secret",
        check=_check_secret,
        description="Signs each message (Standard Webhooks, HMAC-SHA256). A reference such as "
        "env:NAME or file:/path works, too.",
        render_kw={"placeholder": "whsec_…"},
    )
    previous_secret = SecretField(
        "Previous signing secret",
        check=_check_secret,
        description="While receivers change to a new secret: messages bear both signatures. "
        "Remove it when all have changed.",
        render_kw={"placeholder": "whsec_…"},
    )
    ca_file = StringField(
        "Certificate authority",
        description="Path of a PEM file on this server, trusted beside the usual authorities.",
    )
    client_certificate = client_certificate_field()
    proxy = proxy_field()

    def validate_routing_key(self, field: SecretField) -> None:
        """Check that there is something to use the key for."""
        if self.preset.data != presets.PAGERDUTY:
            raise ValidationError("Only PagerDuty has a key. Choose its preset, or remove the key.")

    def validate_preset(self, field: SelectField) -> None:
        """Check that the preset has what it needs."""
        key: Any = self.routing_key
        if field.data == presets.PAGERDUTY and not (
            key.data or (key.is_stored and not key.is_cleared)
        ):
            raise ValidationError("PagerDuty needs an integration key. Enter it below.")
        if field.data and "{{" in (self.url.data or ""):
            raise ValidationError("A preset fills the URL by itself. Remove the {{variables}}.")

    def validate_authorization(self, field: SecretField) -> None:
        """Check that the header is not there twice."""
        names = {name.lower() for name, _ in parse_headers(self.headers.data or "")}
        if "authorization" in names:
            raise ValidationError("Headers hold Authorization already. Enter it in one place.")

    def validate_content_type(self, field: StringField) -> None:
        """Check that this may stand in a header."""
        if not _CONTENT_TYPE.fullmatch((field.data or "").strip()):
            raise ValidationError("Enter a content type such as application/json.")

    def validate_template(self, field: TextAreaField) -> None:
        """Fill the template with hostile values and see whether the result holds."""
        if not (field.data or "").strip():
            return
        if len(field.data or "") > LONGEST_TEMPLATE:
            raise ValidationError(f"Use at most {LONGEST_TEMPLATE:,} characters.")
        _check_variables(str(field.data))
        if not variables.is_json(self.content_type.data or ""):
            return
        sample = dict.fromkeys(VARIABLES, HOSTILE) | {"success": False, "test": False, "fields": []}
        try:
            foreign_json.loads(variables.fill(str(field.data), sample, variables.for_json))
        except ValueError as error:
            place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
            raise ValidationError(
                f"With values filled in, this is no JSON{place}. Put text variables in quotes, "
                "and success, test and fields without."
            ) from None

    def validate_expected_status(self, field: StringField) -> None:
        """Check that only codes of success are named."""
        if not re.fullmatch(r"(\s*2\d\d\s*(,|$))*", field.data or ""):
            raise ValidationError("Enter codes from 200 to 299, separated by commas.")

    def validate_ca_file(self, field: StringField) -> None:
        """Check that there is such a file."""
        check_ca_file(field)


class Webhook(Channel):
    """A call to any address."""

    type: ClassVar[str] = "webhook"
    label: ClassVar[str] = "Generic Webhook"
    icon: ClassVar[str] = "braces"
    tagline: ClassVar[str] = "JSON to any address"
    bundle_characters: ClassVar[int] = 1800
    setup_hint: ClassVar[str] = "Enter the address that shall receive the message."
    form: ClassVar = WebhookForm
    rate: ClassVar[Rate | None] = Rate(seconds=0.5, burst=20)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "401 / 403",
            "The receiver does not accept the credentials.",
            "Enter the header or token again that the receiver expects.",
        ),
        Trouble(
            "404 / 410",
            "There is nothing at this address, or not any more.",
            "Check the path of the URL at the receiver and enter it again.",
        ),
        Trouble(
            "405",
            "The receiver does not take this method.",
            "Choose the method that the receiver expects; most take POST.",
        ),
        Trouble(
            "413",
            "The message was too large for the receiver.",
            "Raise the receiver's limit, or use a template without {{error}}.",
        ),
        Trouble(
            "400 / 415 / 422",
            "The receiver does not understand the body.",
            "Check content type and template against what the receiver expects.",
        ),
        Trouble(
            "408 / 425 / 429",
            "The receiver asks for more time.",
            "Nothing: DBackup tries again, no sooner than the receiver allows.",
        ),
        Trouble(
            "5xx",
            "The receiver has trouble.",
            "Look at the receiver's own log. DBackup tries again.",
        ),
        Trouble(
            "4xx",
            "The receiver refuses the message.",
            "Look at the receiver's answer and correct this channel.",
        ),
        Trouble(
            "400 / invalid event",
            "PagerDuty does not know the integration key, or does not take the event.",
            "Copy the key under Service → Integrations → Events API v2 and enter it again.",
        ),
        Trouble(
            "404 / ok false",
            "Uptime Kuma has no monitor with this push URL, or the monitor is paused.",
            "Resume the monitor, or copy its push URL again. DBackup tries again.",
        ),
        Trouble(
            "404 / not found",
            "Healthchecks has no check with this ping URL.",
            "Copy the ping URL of the check again. In the form with a slug use small letters.",
        ),
        Trouble(
            "409 / ambiguous slug",
            "Several checks of the Healthchecks project have this slug.",
            "Use the ping URL with the UUID of the check.",
        ),
        *TROUBLES,
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return method and host; the path may be secret."""
        url = _address_of(config)
        where = url if is_reference(url) else urlsplit(url).netloc
        preset = str(config.get("preset") or "")
        first = presets.LABELS[preset].partition(" (")[0] if preset else config.get("method")
        return f"{first or 'POST'} {where}"

    @property
    def buckets(self) -> tuple[tuple[str, Rate], ...]:
        """Return no limit for a server of the own network: it belongs to the admin."""
        host = urlsplit(self._address).hostname or ""
        return () if network.looks_local(host) else super().buckets

    @property
    def target(self) -> str:
        """Return the host: receivers count per host if they count at all."""
        return f"webhook:{urlsplit(self._address).netloc}"

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Return path and query of the URL, the values of headers, and the signing secret."""
        parts = urlsplit(self._address)
        steps = [step for step in re.split(r"[/?&=]", f"{parts.path}?{parts.query}") if step]
        values = [value for _, value in self._headers]
        values += filter(None, [str(self.config.get("authorization") or "")])
        tokens = [word for value in values for word in value.split() if word != value]
        found = (
            self._address,
            *(step for step in steps if "{{" not in step and _may_be_token(step)),
            *values,
            *filter(_may_be_token, tokens),
            *(str(self.config.get(name) or "") for name in _OTHER_SECRETS),
        )
        return tuple(filter(None, found))

    @property
    def _address(self) -> str:
        return _address_of(self.config)

    @property
    def _preset(self) -> str:
        return str(self.config.get("preset") or "")

    @property
    def _headers(self) -> list[tuple[str, str]]:
        return parse_headers(str(self.config.get("headers") or ""))

    def render(self, message: Message) -> Rendered:
        """Return our JSON, the admin's template filled in, or the call of the preset.

        Raises:
            PermanentError: the template does not make valid JSON of this message.
        """
        headers = dict(self._headers) | {"webhook-id": message.delivery_id}
        if self.config.get("authorization"):
            headers["Authorization"] = str(self.config["authorization"])
        if self._preset:
            return self._called(message, headers)
        method = str(self.config.get("method") or "POST")
        content_type = str(self.config.get("content_type") or JSON)
        return Rendered(
            method=method,
            url=self._filled_address(message),
            content_type=content_type,
            headers=headers,
            body=b"" if method in BODILESS else self._body(message, content_type),
        )

    def _called(self, message: Message, headers: Mapping[str, str]) -> Rendered:
        key = str(self.config.get("routing_key") or "")
        call = presets.make(
            self._preset,
            plain.masked(message, filter(None, (key, *self.secrets))),
            url=self._address,
            key=key,
        )
        return Rendered(
            method=call.method,
            url=call.url,
            content_type=call.content_type,
            headers=headers,
            body=call.body,
        )

    def _filled_address(self, message: Message) -> str:
        if "{{" not in self._address:
            return self._address
        return _fill_url(self._address, _short_values(message))

    def _body(self, message: Message, content_type: str) -> bytes:
        template = str(self.config.get("template") or "")
        if not template.strip():
            return _dump(_default_body(message))
        filled = variables.fill(template, _values(message), variables.escape_for(content_type))
        if variables.is_json(content_type):
            try:
                foreign_json.loads(filled)
            except ValueError as error:
                raise PermanentError(
                    "The body template makes no valid JSON of this message.",
                    advice="Correct the template of this channel.",
                    breaks_channel=True,
                ) from error
        return filled.encode()

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Call the address; the signature belongs to this attempt."""
        codes = frozenset(int(code) for code in re.findall(r"\d+", self._expected))
        return deliver_http(
            rendered,
            outbound,
            service=urlsplit(rendered.url).hostname or "The receiver",
            reach=Reach.SELF_HOSTED,
            secrets=self.secrets,
            troubles=self.troubles,
            expected=codes or None,
            headers=self._signature(rendered),
            sort=_SORTERS.get(self._preset),
            way=self.way,
        )

    @property
    def _expected(self) -> str:
        return str(self.config.get("expected_status") or "")

    def _signature(self, rendered: Rendered) -> dict[str, str]:
        secret = str(self.config.get("signing_secret") or "")
        if not secret:
            return {}
        try:
            return signing.headers(
                secret,
                rendered.headers["webhook-id"],
                rendered.body,
                clock.now(),
                previous=str(self.config.get("previous_secret") or ""),
            )
        except ValueError as error:
            raise PermanentError(
                "A signing secret of this channel is none.",
                advice="Enter it as the receiver shows it: whsec_ and base64 of 24 to 64 bytes.",
                breaks_channel=True,
            ) from error

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return the body, indented when it is JSON."""
        shown = body
        if variables.is_json(content_type) and body:
            shown = json.dumps(json.loads(body), ensure_ascii=False, indent=2)
        return Preview(look="webhook", data={"body": shown, "content_type": content_type})


_OTHER_SECRETS: Final = ("signing_secret", "previous_secret", "routing_key")


def _address_of(config: Mapping[str, Any]) -> str:
    url = str(config.get("url") or "")
    return url or (presets.PAGERDUTY_URL if config.get("preset") == presets.PAGERDUTY else "")


def _said(answer: Answer) -> Mapping[str, Any]:
    said = said_in(answer)
    return said if isinstance(said, dict) else {}


def _sort_pagerduty(answer: Answer) -> Sorted | None:
    said = _said(answer)
    if answer.status != 400:
        return None
    errors = "; ".join(str(one) for one in said.get("errors") or ())
    words = ". ".join(filter(None, (str(said.get("message") or ""), errors)))
    return Sorted(code="invalid event", words=words, breaks_channel="routing key" in words.lower())


def _sort_kuma(answer: Answer) -> Sorted | None:
    """A paused monitor answers 404 as an unknown one does, so it is tried again."""
    said = _said(answer)
    if answer.status != 404 or said.get("ok") is not False:
        return None
    return Sorted(permanent=False, code="ok false", words=str(said.get("msg") or ""))


def _sort_healthchecks(answer: Answer) -> Sorted | None:
    if answer.status == 404:
        return Sorted(code="not found", breaks_channel=True)
    if answer.status == 409:
        return Sorted(code="ambiguous slug", breaks_channel=True)
    return None


_SORTERS: Final[Mapping[str, Sorter]] = {
    presets.PAGERDUTY: _sort_pagerduty,
    presets.UPTIME_KUMA: _sort_kuma,
    presets.HEALTHCHECKS: _sort_healthchecks,
}


def _may_be_token(part: str) -> bool:
    """Say whether a part of an address or header is rather a credential than a word."""
    mixed = part != part.lower() or any(character.isdigit() for character in part)
    return len(part) >= 16 or (len(part) >= 8 and mixed)


_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _dump(value: Any) -> bytes:
    return _encode(value).encode()


def _default_body(message: Message) -> dict[str, Any]:
    """Return the documented body; the error takes the room that the rest leaves."""
    values = _values(message, error_room=0)
    body = {
        "title": values["title"],
        "message": values["message"],
        "success": values["success"],
        "color": values["color"],
        "timestamp": values["timestamp"],
        "eventType": values["eventType"],
        "fields": values["fields"],
        "id": values["id"],
        "deliveryId": values["deliveryId"],
        "severity": values["severity"],
        "instance": values["instance"],
        "link": values["link"],
        "test": values["test"],
        "error": "",
    }
    room = BODY_LIMIT - len(_dump(body))
    return body | {"error": _limited(message.error, room, keep_end=True)}


_LONGEST_ESCAPE: Final = 6  # bytes of one character inside JSON: \\u0000


def _limited(value: str, limit: int, *, keep_end: bool = False) -> str:
    """Return the text cut so that it measures at most so many bytes inside JSON."""
    if len(value) * _LONGEST_ESCAPE <= limit:
        return value

    def measure(text: str) -> int:
        return utf8(variables.for_json(text))

    return fit(value, limit, measure=measure, keep_end=keep_end)


def _values(message: Message, *, error_room: int = ERROR_IN_TEMPLATE) -> dict[str, Any]:
    said = "\n".join(filter(None, (message.text, message.late_note)))
    return {
        "title": _limited(message.title, TITLE),
        "message": _limited(said, TEXT),
        "success": message.success,
        "status": "up" if message.success else "down",
        "color": COLOURS[message.severity],
        "timestamp": _timestamp(message.occurred_at),
        "eventType": message.event_type,
        "fields": _fields(message.fields),
        "error": _limited(message.error, error_room, keep_end=True) if error_room else "",
        "id": message.event_id,
        "deliveryId": message.delivery_id,
        "severity": message.severity.value,
        "instance": _limited(message.instance, TITLE),
        "link": message.link,
        "test": message.is_test,
    }


def _short_values(message: Message) -> dict[str, Any]:
    """Return the values for an address, where little room is."""
    return {
        name: _limited(value, IN_URL) if isinstance(value, str) else value
        for name, value in _values(message).items()
    }


def _fields(fields: tuple[Field, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    room = FIELDS
    for field in fields:
        entry = {
            "name": _limited(field.name, FIELD_NAME),
            "value": _limited(field.value, FIELD_VALUE),
            "inline": field.short,
        }
        room -= len(_dump(entry)) + 1
        if room < 0:
            break
        found.append(entry)
    return found


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
