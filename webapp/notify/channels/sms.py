"""Text messages through Twilio. Every copy is billed, so what may have been sent is not repeated.

API: https://www.twilio.com/docs/messaging/api/message-resource
Codes: https://www.twilio.com/docs/api/errors
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlencode

from wtforms import StringField, TextAreaField
from wtforms.validators import DataRequired, NumberRange, ValidationError

from webapp.core import ids, text
from webapp.core.buckets import Rate
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.core.form_fields import NumberField
from webapp.notify import gsm, plain
from webapp.notify.channels.base import Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    SecretField,
    proxy_field,
)
from webapp.notify.channels.http import TROUBLES, Sorted, advice_for, deliver_http, said_in
from webapp.notify.message import Message
from webapp.notify.outbound import Answer, Outbound, Reach
from webapp.notify.shorten import fit

HOST: Final = "api.twilio.com"
FORM: Final = "application/x-www-form-urlencoded"
MOST_RECIPIENTS: Final = 20
MOST_SEGMENTS: Final = 10  # Twilio takes 1,600 characters
VALID_FOR: Final = 14_400  # seconds that an operator may wait for a phone that is off
ERROR_TAIL: Final = 80  # characters; an error may hold what belongs on no lock screen
MOST_UNANSWERED: Final = 2

_ACCOUNT: Final = re.compile(r"AC[0-9a-fA-F]{32}")
_KEY: Final = re.compile(r"SK[0-9a-fA-F]{32}")
_SERVICE: Final = re.compile(r"MG[0-9a-fA-F]{32}")
_NUMBER: Final = re.compile(r"\+[1-9]\d{6,14}")
_SHORT_CODE: Final = re.compile(r"\d{3,8}")
_NAME: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_SECRET: Final = re.compile(r"[!-~]{16,200}")
_REGION: Final = re.compile(r"[a-z-]{2,20}\.[a-z]{2}\d")
_DECORATION: Final = re.compile(r"[\s().\-/\u2010-\u2015\u00a0]|\(0\)")

_CODES: Final[Mapping[int, Sorted]] = {
    # about the channel
    20003: Sorted(breaks_channel=True),
    20404: Sorted(breaks_channel=True),
    21212: Sorted(breaks_channel=True),
    21606: Sorted(breaks_channel=True),
    21659: Sorted(breaks_channel=True),
    21660: Sorted(breaks_channel=True),
    # about this recipient or message
    21211: Sorted(),
    21408: Sorted(),
    21602: Sorted(),
    21608: Sorted(),
    21610: Sorted(),
    21612: Sorted(),
    21614: Sorted(),
    21617: Sorted(),
    21635: Sorted(),
    # passing
    20429: Sorted(permanent=False),
    21611: Sorted(permanent=False, retry_after=timedelta(hours=1)),
    63038: Sorted(permanent=False, retry_after=timedelta(hours=4)),
}


def normalized(number: str) -> str:
    """Return a phone number as E.164 wants it, without what people put in to read it."""
    bare = _DECORATION.sub("", number.replace("(0)", ""))
    return f"+{bare[2:]}" if bare.startswith("00") else bare


def _check_number(number: str) -> None:
    if not _NUMBER.fullmatch(number):
        raise ValidationError(
            f"“{number[:40]}” is no full phone number. Begin with + and the country's code, as in "
            "+15551234567."
        )


def _check_secret(value: str) -> None:
    if not _SECRET.fullmatch(value):
        raise ValidationError("Enter the token as the Twilio console shows it, without blanks.")


class PhoneNumbersField(TextAreaField):
    """Phone numbers, one per line or separated by commas; `data` is a list in E.164."""

    def _value(self) -> str:
        found: Any = self.data
        return "\n".join(found or ())

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Split and normalize what was typed."""
        typed = re.split(r"[,;\n]+", valuelist[0].replace("\r", "\n")) if valuelist else []
        found: Any = list(dict.fromkeys(filter(None, map(normalized, typed))))
        self.data = found

    def pre_validate(self, form: Any) -> None:
        """Check every number and how many there are."""
        found: Any = self.data
        if len(found or ()) > MOST_RECIPIENTS:
            raise ValidationError(f"Enter at most {MOST_RECIPIENTS} numbers; each copy is billed.")
        for number in found or ():
            _check_number(number)


class SmsForm(ChannelForm):
    """What a channel for text messages needs."""

    advanced: ClassVar[tuple[str, ...]] = ("api_key", "max_segments", "region", "proxy")

    account_sid = StringField(
        "Account SID",
        validators=[DataRequired("Enter the Account SID from the Twilio console.")],
        render_kw={"placeholder": "AC…", "autocomplete": "off", "spellcheck": "false"},
    )
    auth_token = SecretField(
        "Auth token",
        required=True,
        check=_check_secret,
        description="Or the secret of an API key, when one is entered under More options. A "
        "reference such as env:NAME or file:/path works, too.",
    )
    sender = StringField(
        "From",
        validators=[DataRequired("Enter what the messages come from.")],
        description="A number of your account (+15551234567), a short code, a Messaging Service "
        "SID (MG…), or a name of at most 11 letters and digits (not in the US and Canada).",
        render_kw={"placeholder": "+15551234567"},
    )
    recipients = PhoneNumbersField(
        "To",
        validators=[DataRequired("Enter at least one phone number.")],
        description="One number per line with + and the country's code. Each number gets a "
        "message of its own, which is billed.",
        render_kw={"rows": 3, "placeholder": "+15551234567", "inputmode": "tel"},
    )
    api_key = StringField(
        "API key SID",
        description="Instead of the account's own token, which may do everything.",
        render_kw={"placeholder": "SK…", "autocomplete": "off", "spellcheck": "false"},
    )
    max_segments = NumberField(
        "Segments",
        default=2,
        validators=[NumberRange(1, MOST_SEGMENTS, f"Enter a number from 1 to {MOST_SEGMENTS}.")],
        description="How long a message may be; each segment is billed. One has 160 signs, or 70 "
        "when the text needs signs beyond the GSM alphabet.",
    )
    region = StringField(
        "Edge and region",
        description="For accounts outside of the US region, such as dublin.ie1. Tokens differ by "
        "region.",
    )
    proxy = proxy_field()

    def validate_account_sid(self, field: StringField) -> None:
        """Check the form."""
        if field.data and not _ACCOUNT.fullmatch(field.data.strip()):
            raise ValidationError("An Account SID is AC and 32 digits or letters from a to f.")

    def validate_sender(self, field: StringField) -> None:
        """Normalize a number; check that this is one of the four kinds."""
        typed = (field.data or "").strip()
        number = normalized(typed)
        if _NUMBER.fullmatch(number) or _SHORT_CODE.fullmatch(number):
            field.data = number
        elif not (_SERVICE.fullmatch(typed) or _NAME.fullmatch(typed)):
            raise ValidationError(
                "Enter a number with + and the country's code, a short code, a Messaging Service "
                "SID (MG…), or a name of at most 11 letters, digits and blanks."
            )

    def validate_api_key(self, field: StringField) -> None:
        """Check the form."""
        if (field.data or "").strip() and not _KEY.fullmatch(str(field.data).strip()):
            raise ValidationError("An API key SID is SK and 32 digits or letters from a to f.")

    def validate_region(self, field: StringField) -> None:
        """Check the form."""
        if (field.data or "").strip() and not _REGION.fullmatch(str(field.data).strip()):
            raise ValidationError("Write edge and region with a dot, as in dublin.ie1.")


class Sms(Channel):
    """Phone numbers, reached through an account at Twilio."""

    type: ClassVar[str] = "sms"
    label: ClassVar[str] = "SMS (Twilio)"
    icon: ClassVar[str] = "phone"
    tagline: ClassVar[str] = "Text messages; each is billed"
    bundle_characters: ClassVar[int] = 140
    setup_hint: ClassVar[str] = (
        "The Twilio console shows Account SID and Auth token on its first page."
    )
    form: ClassVar = SmsForm
    recipients_apart: ClassVar[bool] = True
    rate: ClassVar[Rate | None] = Rate(seconds=1.0, burst=10)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "401 / 20003",
            "Twilio does not accept Account SID and token, or the account is suspended.",
            "Copy both from the Twilio console again. With an API key enter its secret instead of "
            "the token; outside of the US enter edge and region.",
        ),
        Trouble(
            "404 / 20404",
            "There is no such account in this region.",
            "Check the Account SID, and edge and region.",
        ),
        Trouble(
            "21211 / 21614 / 21635",
            "This recipient's number does not exist or cannot receive text messages.",
            "Correct the number under To in this channel.",
        ),
        Trouble(
            "21212 / 21606 / 21659 / 21660",
            "Twilio does not send from this sender: it is not yours, or cannot send texts.",
            "Enter a number or Messaging Service of this account under From.",
        ),
        Trouble(
            "21408 / 21612",
            "The account may not send to this country, or there is no way from this sender.",
            "Allow the country in the console under Messaging → Settings → Geo permissions, or "
            "use another sender.",
        ),
        Trouble(
            "21608",
            "A trial account writes to verified numbers only.",
            "Verify the number in the Twilio console, or upgrade the account.",
        ),
        Trouble(
            "21610",
            "This recipient answered STOP and is not written to any more.",
            "Have the recipient answer START, or remove the number from this channel.",
        ),
        Trouble(
            "400 / 21602 / 21617",
            "Twilio did not accept the message; its answer says why.",
            "Look at the answer. If sender and recipient are right, report it as a fault of "
            "DBackup.",
        ),
        Trouble(
            "21611",
            "The sender has more messages waiting than Twilio keeps.",
            "DBackup tries again after an hour. Send fewer events to this channel.",
        ),
        Trouble(
            "429 / 20429",
            "Too many calls at once. None of them was sent or billed.",
            "Nothing: DBackup tries again.",
        ),
        Trouble(
            "63038",
            "The account has sent as many messages as it may within 24 hours.",
            "DBackup tries again after 4 hours. Raise the account's limit, and set a fallback "
            "channel.",
        ),
        Trouble(
            "5xx",
            "Twilio has trouble. The message may have been sent all the same.",
            "DBackup tries once more and no further, because every copy is billed. See "
            "status.twilio.com.",
        ),
        Trouble(
            "30003 / 30005 / 30006 / 30007 / 30034",
            "Only in Twilio's log: the operator did not deliver the message. The phone is off or "
            "unknown, it is a landline, the text was filtered, or a US number is not registered.",
            "Open Monitor → Logs → Messaging in the Twilio console; it explains the code.",
        ),
        *TROUBLES,
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the end of the first number, how many more there are, and the sender."""
        people = list(config.get("recipients") or ())
        more = f" and {len(people) - 1} more" if len(people) > 1 else ""
        sender = str(config.get("sender") or "")
        shown = f"{sender[:6]}…" if len(sender) > 11 else sender
        return f"…{people[0][-4:] if people else 'nobody'}{more} from {shown}"

    @classmethod
    def people_in(cls, summary: str) -> str:
        """Return the numbers without the sender."""
        return summary.rpartition(" from ")[0]

    @property
    def target(self) -> str:
        """Return the account and the sender: operators count per sender."""
        return f"sms:{self._text('account_sid')}:{self._text('sender')}"

    @property
    def buckets(self) -> tuple[tuple[str, Rate], ...]:
        """Return a limit in messages: a long one takes the time of its segments."""
        return ((self.target, Rate(seconds=float(self._segments), burst=10)),)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Return the numbers that the channel writes to."""
        return tuple(self.config.get("recipients") or ())

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the token and the header that is made of it."""
        token = self._text("auth_token")
        return (token, self._basic) if token else ()

    @property
    def _segments(self) -> int:
        return int(self.config.get("max_segments") or 2)

    @property
    def _basic(self) -> str:
        user = self._text("api_key") or self._text("account_sid")
        return base64.b64encode(f"{user}:{self._text('auth_token')}".encode()).decode()

    def _text(self, name: str) -> str:
        return str(self.config.get(name) or "")

    def render(self, message: Message) -> Rendered:
        """Return the form for the message's recipient, else for the first of the channel."""
        to = (message.recipient,) if message.recipient else self.recipients
        sender = self._text("sender")
        parameters = {
            "To": to[0] if to else "",
            "MessagingServiceSid" if _SERVICE.fullmatch(sender) else "From": sender,
            "Body": _say(plain.masked(message, self.secrets), self._segments),
            "ValidityPeriod": VALID_FOR,
            "SmartEncoded": "true",
        }
        region = self._text("region")
        host = f"api.{region}.twilio.com" if region else HOST
        return Rendered(
            body=urlencode(parameters).encode(),
            content_type=FORM,
            url=f"https://{host}/2010-04-01/Accounts/{self._text('account_sid')}/Messages.json",
            headers={"Authorization": f"Basic {self._basic}"},
            recipients=to,
        )

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Hand the message to Twilio for everybody who is left (mostly that is one person)."""
        accepted: list[str] = list(progress.get("accepted", ()))
        problem: ChannelError | None = None
        receipt = Receipt(status="201", words="Twilio took the message before.")
        for number in rendered.recipients:
            if number in accepted:
                continue
            try:
                receipt = self._send_one(_to(rendered, number), number, outbound, progress)
            except ChannelError as error:
                problem = problem or error
                if isinstance(error, PermanentError) and error.breaks_channel:
                    break
                continue
            accepted.append(number)
            progress["accepted"] = accepted
        if problem is not None:
            raise problem
        return receipt

    def _send_one(
        self, rendered: Rendered, number: str, outbound: Outbound, progress: dict[str, Any]
    ) -> Receipt:
        unanswered: dict[str, int] = dict(progress.get("unanswered", {}))
        before = unanswered.get(number, 0)
        try:
            receipt = deliver_http(
                rendered,
                outbound,
                service="Twilio",
                reach=Reach.HOSTED,
                secrets=self.secrets,
                troubles=self.troubles,
                way=self.way,
                sort=_sort,
            )
        except TransientError as error:
            if not (error.maybe_sent or (error.status or "").startswith("5")):
                raise
            progress["unanswered"] = unanswered | {number: before + 1}
            raise self._unsure(error, before + 1) from error
        twice = " An earlier try got no answer, so it may arrive twice." if before else ""
        words = f"Twilio answered {receipt.status}: accepted, but not delivered yet.{twice}"
        return replace(receipt, words=words)

    def _unsure(self, error: TransientError, times: int) -> ChannelError:
        """Return the error of a message that may have been sent: it is tried once more at most."""
        advice = advice_for(self.troubles, "5xx")
        if times >= MOST_UNANSWERED:
            return PermanentError(
                f"{error} It may have been sent, so it is not tried again.",
                status=error.status,
                excerpt=error.excerpt,
                advice="Look into Twilio's log (Monitor → Logs → Messaging) and press Resend if "
                "the message is not there.",
            )
        return TransientError(
            f"{error} It may have been sent, so it is tried once more only.",
            status=error.status,
            excerpt=error.excerpt,
            advice=advice,
            retry_after=error.retry_after,
            maybe_sent=True,
        )

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return the text as a phone shows it, and what it costs."""
        form = dict(parse_qsl(body, keep_blank_values=True))
        said = form["Body"]
        count = gsm.segments(said)
        alphabet = "GSM-7" if gsm.is_gsm(said) else "UCS-2"
        return Preview(
            look="sms",
            data={
                "sender": form.get("From") or form.get("MessagingServiceSid", ""),
                "to": form["To"],
                "text": said,
                "cost": f"{gsm.units(said)} units in {alphabet}, {text.plural(count, 'segment')}",
            },
        )


def _to(rendered: Rendered, number: str) -> Rendered:
    form = dict(parse_qsl(rendered.body.decode(), keep_blank_values=True))
    return replace(rendered, body=urlencode(form | {"To": number}).encode())


def _say(message: Message, segments: int) -> str:
    """Return what fits into so many segments: title and link first, a short tail of the error last.

    Look-alikes of the GSM alphabet are used when that spares the whole text from UCS-2.
    """
    tail = message.error[-ERROR_TAIL:].strip()
    said = " ".join(filter(None, (message.text.strip(), message.late_note)))
    parts = [message.title or "–", said[:1600], tail, message.link]
    simple = [gsm.plain(part) for part in parts]
    use_gsm = all(map(gsm.is_gsm, simple))
    title, said, tail, link = simple if use_gsm else parts
    room = gsm.capacity(segments, gsm=use_gsm)
    footer = f"#{ids.short(message.event_id)}"
    if gsm.units(link) <= room * 2 // 5:
        footer = f"{link} {footer}"

    def measured(value: str) -> int:
        return gsm.units(gsm.plain(value)) if use_gsm else len(value.encode("utf-16-le")) // 2

    def left() -> int:
        return room - measured("\n".join([*lines, footer])) - 1

    lines = [fit(title[:1600], room - measured(footer) - 1, measure=measured)]
    if said and left() > 20:
        lines.append(fit(said, left(), measure=measured))
    if tail and left() > len(tail) // 2 and left() > 20:
        lines.append(fit(tail, left(), measure=measured))
    whole = "\n".join([*lines, footer])
    return gsm.plain(whole) if use_gsm else whole


def _sort(answer: Answer) -> Sorted | None:
    """Return what Twilio's own code means."""
    said = said_in(answer)
    if not isinstance(said, dict) or not isinstance(said.get("code"), int):
        return None
    known = _CODES.get(said["code"])
    words = text.one_line(str(said.get("message", "")))
    code = str(said["code"])
    if known is None:
        if answer.status >= 500 or answer.status == 429:
            return Sorted(permanent=False, code=code, words=words)
        return Sorted(code=code, words=words, breaks_channel=answer.status in {401, 403, 404})
    return replace(known, code=code, words=words)
