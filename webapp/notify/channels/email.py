"""Email through an SMTP server."""

import re
import smtplib
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from wtforms import BooleanField, SelectField, StringField
from wtforms.validators import DataRequired, InputRequired, NumberRange, ValidationError

from webapp.core.buckets import Rate
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.core.form_fields import NumberField
from webapp.core.scrub import conceal
from webapp.notify import mail, mail_reader, plain
from webapp.notify.channels.base import EXCERPT_LIMIT, Channel, Preview, Receipt, Rendered, Trouble
from webapp.notify.channels.fields import (
    ChannelForm,
    RecipientsField,
    SecretField,
    check_address,
    check_ca_file,
    client_certificate_field,
)
from webapp.notify.channels.http import TROUBLES, advice_for
from webapp.notify.message import Message
from webapp.notify.outbound import NO_ANSWER_ADVICE, Call, Outbound, Reach, tls_error
from webapp.notify.smtp import Client, Reply, refusal

MIME: Final = "message/rfc822"
STARTTLS: Final = "starttls"
TLS: Final = "tls"
NONE: Final = "none"
_HOST: Final = re.compile(r"[^\s/@:]+|[0-9a-fA-F:.]+")


class EmailForm(ChannelForm):
    """What an email channel needs."""

    bound_to: ClassVar[tuple[str, ...]] = ("host", "port", "ca_file")
    protected_by: ClassVar = {"security": {TLS: 0, STARTTLS: 0, NONE: 1}}

    advanced: ClassVar[tuple[str, ...]] = (
        "reply_to", "subject_prefix", "ca_file", "ehlo_name", "client_certificate",
    )  # fmt: skip

    host = StringField(
        "SMTP server",
        validators=[DataRequired("Enter the name of the mail server.")],
        render_kw={"placeholder": "smtp.example.org"},
    )
    port = NumberField(
        "Port",
        default=587,
        validators=[
            InputRequired("Enter the port, mostly 587 or 465."),
            NumberRange(1, 65_535, "Enter a port from 1 to 65535."),
        ],
        description="587 for STARTTLS, 465 for TLS, 25 without encryption.",
    )
    security = SelectField(
        "Encryption",
        choices={
            STARTTLS: "STARTTLS, required (port 587)",
            TLS: "TLS (port 465)",
            NONE: "None (port 25)",
        },
        default=STARTTLS,
    )
    plain_login = BooleanField(
        "Send the password without encryption",
        description="Only with encryption None. Everybody on the way can read the password.",
    )
    username = StringField(
        "User name",
        description="Empty: no login. Microsoft 365 switches logins with a password off for "
        "existing tenants at the end of December 2026.",
    )
    password = SecretField("Password")
    sender = StringField(
        "From",
        validators=[DataRequired("Enter the address that the mails come from.")],
        render_kw={"placeholder": "dbackup@example.org", "type": "email"},
    )
    sender_name = StringField("Sender name", default="DBackup")
    recipients = RecipientsField(
        "To",
        validators=[DataRequired("Enter at least one address.")],
        description="One address per line, at most 50.",
        render_kw={"rows": 3, "placeholder": "ops@example.org"},
    )
    reply_to = StringField("Reply to", description="Where answers go. Empty: the sender.")
    subject_prefix = StringField(
        "Subject prefix", default="[DBackup]", description="Stands before every subject."
    )
    ca_file = StringField(
        "Certificate authority",
        description="Path of a PEM file on this server, trusted beside the usual authorities.",
    )
    ehlo_name = StringField(
        "Name of this server",
        description="How DBackup introduces itself (EHLO). Empty: its address.",
    )
    client_certificate = client_certificate_field()

    def validate_host(self, field: StringField) -> None:
        """Check that this is a host and no address of a page."""
        if field.data and not _HOST.fullmatch(field.data.strip()):
            raise ValidationError("Enter the name only, such as smtp.example.org.")

    def validate_security(self, field: SelectField) -> None:
        """Check the pair that hangs most often."""
        if self.port.data == 465 and field.data != TLS:
            raise ValidationError("Port 465 speaks TLS. Choose TLS, or use port 587 for STARTTLS.")

    def validate_plain_login(self, field: BooleanField) -> None:
        """Demand the consent that an unencrypted password needs."""
        if self.security.data == NONE and self.username.data and not field.data:
            raise ValidationError(
                "Without encryption the password can be read on the way. Choose STARTTLS or TLS, "
                "or confirm this."
            )

    def validate_username(self, field: StringField) -> None:
        """Check that user and password come together."""
        secret: Any = self.password
        has_password = bool(secret.data or (secret.is_stored and not secret.is_cleared))
        if field.data and field.data.strip() and not has_password:
            raise ValidationError("Enter the password as well, or remove the user name.")

    def validate_sender(self, field: StringField) -> None:
        """Check the address."""
        if field.data:
            check_address(field.data.strip())

    def validate_reply_to(self, field: StringField) -> None:
        """Check the address if there is one."""
        if field.data and field.data.strip():
            check_address(field.data.strip())

    def validate_ca_file(self, field: StringField) -> None:
        """Check that there is such a file."""
        check_ca_file(field)

    def validate_ehlo_name(self, field: StringField) -> None:
        """Check that this is a name."""
        if field.data and not re.fullmatch(r"[A-Za-z0-9.-]{1,255}", field.data.strip()):
            raise ValidationError("Use letters, digits, dots and hyphens, or leave it empty.")


class Email(Channel):
    """An SMTP server and the people it writes to."""

    type: ClassVar[str] = "email"
    label: ClassVar[str] = "Email (SMTP)"
    icon: ClassVar[str] = "envelope"
    tagline: ClassVar[str] = "One or more addresses"
    setup_hint: ClassVar[str] = (
        "Your mail provider's help names the SMTP server. Many, such as Gmail, demand an app "
        "password instead of your own."
    )
    form: ClassVar = EmailForm
    rate: ClassVar[Rate | None] = Rate(seconds=1.0, burst=10)
    troubles: ClassVar[tuple[Trouble, ...]] = (
        Trouble(
            "535 / 534",
            "User name or password is wrong.",
            "Enter both again. Gmail and others demand an app password.",
        ),
        Trouble(
            "530 / 5.7.0 / 5.7.57",
            "The server wants encryption or a login first.",
            "Choose STARTTLS or TLS and enter user name and password.",
        ),
        Trouble(
            "5.7.30 / 5.7.139",
            "Microsoft has switched off logins with a password for this mailbox.",
            "Let the tenant's admin allow SMTP AUTH, or use another mail server.",
        ),
        Trouble(
            "STARTTLS missing",
            "The server does not offer STARTTLS. DBackup never goes on without the encryption "
            "that was chosen.",
            "Choose TLS with port 465, or ask the server's admin to offer STARTTLS.",
        ),
        Trouble(
            "TLS failed",
            "Port and encryption do not fit together.",
            "Use TLS with port 465 and STARTTLS with port 587.",
        ),
        Trouble(
            "550 5.1.1 / 5.1.1 / 551 / 553",
            "The server does not know this recipient.",
            "Correct the addresses under To. The mail went to the others, if there are any.",
        ),
        Trouble(
            "5.7.60 / 5.7.1 / 554",
            "The server does not let this sender write, or takes the mail for spam.",
            "Use a From address that this login may use, and have the server allow it.",
        ),
        Trouble(
            "552 / 5.3.4",
            "The mail was too large for the server or the mailbox.",
            "Look at the full error in DBackup, and have the mailbox checked.",
        ),
        Trouble(
            "4.7.1",
            "The server makes unknown senders wait (greylisting).",
            "Nothing: DBackup tries again after 5 minutes at the earliest.",
        ),
        Trouble(
            "5.4.5",
            "The account has sent as many mails as its provider allows per day.",
            "Use another mail server, or send fewer events to this channel. DBackup tries again "
            "after 6 hours.",
        ),
        Trouble(
            "421 / 450 / 451 / 452 / 454 / 4yz",
            "The server is busy, or the mailbox is full or locked for the moment.",
            "Nothing: DBackup tries again.",
        ),
        Trouble(
            "5yz",
            "The server refuses the mail for good.",
            "Read the server's words and correct this channel.",
        ),
        *TROUBLES[1:],
    )

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return the first recipient, how many more there are, and the server."""
        people = list(config.get("recipients") or ())
        more = f" and {len(people) - 1} more" if len(people) > 1 else ""
        return f"{people[0] if people else 'nobody'}{more} by {config.get('host', '')}"

    @classmethod
    def people_in(cls, summary: str) -> str:
        """Return the recipients without the server."""
        return summary.rpartition(" by ")[0]

    @property
    def target(self) -> str:
        """Return server and account: providers count per account."""
        return f"email:{self._host}:{self._text('username')}"

    @property
    def recipients(self) -> tuple[str, ...]:
        """Return the addresses that the channel writes to."""
        return tuple(self.config.get("recipients") or ())

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the password."""
        return tuple(filter(None, (self._text("password"),)))

    @property
    def _host(self) -> str:
        return self._text("host")

    def _text(self, name: str) -> str:
        return str(self.config.get(name) or "")

    def render(self, message: Message) -> Rendered:
        """Return the finished mail, to the person of the message or to all recipients."""
        to = (message.recipient,) if message.recipient else self.recipients
        envelope = mail.Envelope(
            sender=self._text("sender"),
            sender_name=self._text("sender_name"),
            reply_to=self._text("reply_to"),
            subject_prefix=self._text("subject_prefix"),
        )
        try:
            body = mail.build(plain.masked(message, self.secrets), envelope, to)
        except (ValueError, IndexError) as error:  # the library's words for what is no address
            raise PermanentError(
                "An address of this mail cannot be used.",
                advice="Correct From, To and Reply to of this channel, or the person's address.",
            ) from error
        return Rendered(body=body, content_type=MIME, method="SMTP", recipients=to)

    def send(self, rendered: Rendered, outbound: Outbound, progress: dict[str, Any]) -> Receipt:
        """Hand the mail to the server for everybody who has not accepted it yet."""
        encrypted = self._text("security") or STARTTLS
        context = outbound.ssl_context(self.way)
        with outbound.call(Reach.SELF_HOSTED) as call:
            client = Client(call, context if encrypted == TLS else None, self._text("ehlo_name"))
            state = _State()
            try:
                self._introduce(client, context, encrypted)
                return self._transfer(client, rendered, progress, state)
            except (smtplib.SMTPException, OSError, UnicodeError, ValueError) as error:
                raise self._sorted(error, call, state, outbound.total_seconds) from error
            finally:
                client.leave()

    def _introduce(self, client: Client, context: ssl.SSLContext, encrypted: str) -> None:
        """Connect, encrypt, sign in: in this order, and nothing without what was chosen."""
        self._agreed(client.open(self._host, int(self.config["port"])), "the connection", True)
        client.ehlo_or_helo_if_needed()
        if encrypted == STARTTLS:
            if not client.has_extn("starttls"):
                raise PermanentError(
                    f"{self._host} does not offer STARTTLS, so nothing was sent.",
                    advice=advice_for(self.troubles, "STARTTLS missing"),
                    breaks_channel=True,
                )
            self._agreed(Reply.of(*client.starttls(context=context)), "STARTTLS", True)
            client.ehlo_or_helo_if_needed()
        if self._text("username"):
            if encrypted == NONE and not self.config.get("plain_login"):
                raise PermanentError(
                    "The password is not sent without encryption.",
                    advice="Choose STARTTLS or TLS, or confirm the login without encryption.",
                    breaks_channel=True,
                )
            client.login(self._text("username"), self._text("password"))

    def _transfer(
        self, client: Client, rendered: Rendered, progress: dict[str, Any], state: "_State"
    ) -> Receipt:
        """Offer the mail to those who are left; remember who took it and who never will."""
        accepted: list[str] = list(progress.get("accepted", ()))
        refused: dict[str, str] = dict(progress.get("refused", {}))
        left = [one for one in rendered.recipients if one not in accepted and one not in refused]
        sender = mail.ascii_address(self._text("sender"))
        if left:
            self._agreed(Reply.of(*client.mail(sender)), "the sender", True)
        replies = {one: Reply.of(*client.rcpt(mail.ascii_address(one))) for one in left}
        taken = [one for one, reply in replies.items() if reply.is_good]
        later = {one: reply for one, reply in replies.items() if not reply.is_good}
        reply = Reply(250, "")
        if taken:
            reply = self._hand_over(client, rendered.body, state)
            accepted += taken
        refused |= {one: said.status for one, said in later.items() if not said.is_passing}
        progress |= {"accepted": accepted, "refused": refused}
        self._report(later, refused, accepted, rendered)
        return Receipt(
            status=reply.status,
            words=f"{self._host} accepted the mail for {_people(len(accepted))}.",
            excerpt=conceal(reply.words, self.secrets)[:EXCERPT_LIMIT],
        )

    def _hand_over(self, client: Client, body: bytes, state: "_State") -> Reply:
        state.handing_over = True
        try:
            reply = Reply.of(*client.data(body))
        except smtplib.SMTPDataError as error:
            reply = Reply.of(error.smtp_code, error.smtp_error)
        state.handing_over = False
        self._agreed(reply, "the mail", False)
        return reply

    def _report(
        self,
        later: Mapping[str, Reply],
        refused: Mapping[str, str],
        accepted: list[str],
        rendered: Rendered,
    ) -> None:
        """Raise when somebody did not get the mail, or has to wait for it."""
        passing = {one: reply for one, reply in later.items() if reply.is_passing}
        if not passing and not refused:
            return
        nobody = not accepted and not passing
        is_all = rendered.recipients == self.recipients
        lasting = [reply for reply in later.values() if not reply.is_passing]
        decisive = next(iter(passing.values()), lasting[0] if lasting else None)
        if decisive is None:  # the refusal came with an earlier attempt
            who, status = next(iter(refused.items()))
            raise PermanentError(
                f"{_people(len(accepted))} got the mail; {who} was refused ({status}).",
                status=status,
                advice=advice_for(self.troubles, status, status.partition(" ")[2], status[:3]),
            )
        names = ", ".join([*passing, *refused])[:300]
        got = f" {_people(len(accepted))} got the mail." if accepted else ""
        error = self._refusal(decisive, f"the recipient {names}", nobody and is_all)
        error.args = (f"{error}{got}",)
        raise error

    def _agreed(self, reply: Reply, doing: str, breaks_channel: bool) -> None:
        if not reply.is_good:
            raise self._refusal(reply, doing, breaks_channel)

    def _refusal(self, reply: Reply, doing: str, breaks_channel: bool) -> ChannelError:
        return refusal(
            reply,
            service=self._host,
            doing=doing,
            troubles=self.troubles,
            secrets=self.secrets,
            breaks_channel=breaks_channel,
        )

    def _sorted(
        self, error: Exception, call: Call, state: "_State", seconds: float
    ) -> ChannelError:
        """Return what the library's error means; the texts of errors are not passed on."""
        if call.expired:
            return TransientError(
                f"{self._host} did not finish within {seconds:g} s.",
                advice=NO_ANSWER_ADVICE,
                maybe_sent=state.handing_over,
            )
        if isinstance(error, ssl.SSLError):
            found = tls_error(error)
            if not isinstance(error, ssl.SSLCertVerificationError):
                found.advice = advice_for(self.troubles, "TLS failed")
            return found
        if isinstance(error, smtplib.SMTPAuthenticationError):
            reply = Reply.of(error.smtp_code, error.smtp_error)
            return self._refusal(reply, "the login", True)
        if isinstance(error, smtplib.SMTPResponseException):
            reply = Reply.of(error.smtp_code, error.smtp_error)
            return self._refusal(reply, "the connection", True)
        if isinstance(error, smtplib.SMTPNotSupportedError) or type(error) is smtplib.SMTPException:
            return PermanentError(
                f"{self._host} offers no login that DBackup knows.",
                advice="Remove the user name, or choose the encryption that the server demands.",
                breaks_channel=True,
            )
        if isinstance(error, (UnicodeError, ValueError)):
            return PermanentError(
                "User name, password or an address has letters that this server does not take.",
                advice="Use ASCII letters, digits and signs.",
                breaks_channel=True,
            )
        # smtplib turns silence into a disconnection
        if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
            words = f"{self._host} did not answer in time."
        else:
            words = f"{self._host} closed the connection."
        return TransientError(words, advice=NO_ANSWER_ADVICE, maybe_sent=state.handing_over)

    @classmethod
    def preview(cls, body: str, content_type: str) -> Preview:
        """Return the mail as a reader shows it; `data["html"]` is its HTML part."""
        return Preview(look="email", data=mail_reader.read(body))


class _State:
    """How far a conversation got."""

    handing_over: bool = False
    """True while the server may have taken the mail without our knowing."""


def _people(count: int) -> str:
    return f"{count} recipient{'' if count == 1 else 's'}"
