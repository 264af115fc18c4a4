"""Email: what is sent, to whom, over which connection, and what refusals mean."""

import smtplib
from collections.abc import Callable
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.notify.samples import DELIVERY_ID, HOSTILE, LONG_ERROR, failure, hostile, success
from tests.servers.names import Names
from tests.servers.raw import RawServer
from tests.servers.smtp import MailServer
from webapp.core.errors import PermanentError, TransientError
from webapp.notify import outbound
from webapp.notify.channels.email import Email
from webapp.notify.message import Message
from webapp.notify.outbound import Outbound

ServerMaker = Callable[..., MailServer]


def channel(server: MailServer, **changes: Any) -> Email:
    config: dict[str, Any] = {
        "host": server.name,
        "port": server.port,
        "security": "none",
        "plain_login": False,
        "username": "",
        "password": "",
        "sender": "dbackup@example.org",
        "sender_name": "DBackup",
        "recipients": ["ops@example.org", "dba@example.org"],
        "subject_prefix": "[DBackup]",
    }
    return Email(config | changes)


@pytest.fixture
def way_out(ca_file: Path) -> Outbound:
    return Outbound(allow_private_networks="self-hosted", ca_file=ca_file, total_seconds=5)


def send(
    email: Email,
    way_out: Outbound,
    message: Message | None = None,
    progress: dict[str, Any] | None = None,
) -> str:
    rendered = email.render(message or failure())
    return email.send(rendered, way_out, {} if progress is None else progress).words


def parsed(message: Message, **changes: Any) -> EmailMessage:
    config = {"sender": "dbackup@example.org", "recipients": ["ops@example.org"]} | changes
    found = BytesParser(policy=policy.default).parsebytes(Email(config).render(message).body)
    assert isinstance(found, EmailMessage)
    return found


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_a_mail_arrives_at_all_recipients(mail_server: MailServer, way_out: Outbound) -> None:
    words = send(channel(mail_server), way_out)
    assert mail_server.last.recipients == ("ops@example.org", "dba@example.org")
    assert mail_server.last.sender == "dbackup@example.org"
    assert mail_server.last.message["Subject"] == "[DBackup] Backup failed: nightly-orders"
    assert words == "127.0.0.1 accepted the mail for 2 recipients."


def test_the_receipt_holds_the_servers_words(mail_server: MailServer, way_out: Outbound) -> None:
    email = channel(mail_server)
    receipt = email.send(email.render(failure()), way_out, {})
    assert (receipt.status, receipt.excerpt) == ("250 2.0.0", "2.0.0 Queued as 0001")


def test_a_mail_names_itself_the_same_way_in_every_attempt() -> None:
    first, second = parsed(failure()), parsed(failure(attempt=2))
    assert first["Message-ID"] == second["Message-ID"] == f"<{DELIVERY_ID}@example.org>"


def test_mails_of_one_job_refer_to_one_thread() -> None:
    first, second = parsed(failure(thread="job-17")), parsed(success(thread="job-17"))
    assert first["References"] == second["References"]
    assert first["References"] != parsed(failure(thread="job-18"))["References"]
    assert parsed(failure())["References"] is None


def test_only_failures_are_marked_as_important() -> None:
    assert (parsed(failure())["Importance"], parsed(failure())["X-Priority"]) == ("high", "2")
    assert parsed(success())["Importance"] is None


def test_automatic_answers_are_not_asked_for() -> None:
    assert parsed(failure())["Auto-Submitted"] == "auto-generated"
    assert parsed(failure())["X-Auto-Response-Suppress"] == "All"


def test_a_direct_mail_goes_to_the_person_only(mail_server: MailServer, way_out: Outbound) -> None:
    send(channel(mail_server), way_out, failure(recipient="mara@example.org"))
    assert mail_server.last.recipients == ("mara@example.org",)
    assert mail_server.last.message["To"] == "mara@example.org"


def test_reply_to_is_set_when_it_is_configured() -> None:
    assert parsed(failure(), reply_to="help@example.org")["Reply-To"] == "help@example.org"
    assert parsed(failure())["Reply-To"] is None


def test_international_domains_are_written_in_ascii(
    mail_server: MailServer, way_out: Outbound
) -> None:
    send(channel(mail_server, recipients=["ops@bücher.example"]), way_out)
    assert mail_server.last.recipients == ("ops@xn--bcher-kva.example",)


def test_text_and_html_say_the_same_and_load_nothing() -> None:
    mail = parsed(failure())
    for kind in ("plain", "html"):
        assert "connection to server was lost" in text_of(mail, kind)
        assert "https://backup.example.org/runs/4711" in text_of(mail, kind)
    html = text_of(mail, "html")
    assert "<img" not in html
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html


def test_values_are_escaped_in_html() -> None:
    html = text_of(parsed(failure(title="<script>x</script>", link='https://e/"><b>')), "html")
    assert "<script>" not in html
    assert '"><b>' not in html


@pytest.mark.parametrize("value", HOSTILE)
def test_foreign_text_forges_no_header(value: str) -> None:
    mail = parsed(hostile(value), sender_name=value.replace("\ud800", ""), subject_prefix="[x]")
    assert mail["Bcc"] is None
    assert len(mail.get_all("To", [])) == len(mail.get_all("Subject", [])) == 1
    assert len(str(mail["Subject"])) <= 320
    assert not mail.defects


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_mail_arrives(mail_server: MailServer, way_out: Outbound, value: str) -> None:
    send(channel(mail_server), way_out, hostile(value))
    assert max(map(len, mail_server.last.content.split(b"\r\n"))) <= 998
    assert mail_server.last.content.isascii()


def test_a_long_error_is_attached_whole(mail_server: MailServer, way_out: Outbound) -> None:
    send(channel(mail_server), way_out, failure(error=LONG_ERROR))
    mail = mail_server.last.message
    (attached,) = mail.iter_attachments()
    assert attached.get_filename() == "error.txt"
    assert attached.get_content().replace("\r\n", "\n").rstrip("\n") == LONG_ERROR.rstrip("\n")
    assert len(text_of(mail)) < 6_000
    assert "cut, 100000 characters" in text_of(mail)
    assert "attached as error.txt" in text_of(mail)


def test_a_short_error_is_not_attached() -> None:
    assert list(parsed(failure(error="x" * 19_000)).iter_attachments()) == []


def test_starttls_and_login(make_mail_server: ServerMaker, way_out: Outbound) -> None:
    server = make_mail_server("starttls", {"dbackup": "s3cret-word"})
    send(channel(server, security="starttls", username="dbackup", password="s3cret-word"), way_out)
    assert server.last.secure
    assert server.logins == [("dbackup", True)]


def test_tls_from_the_first_byte(make_mail_server: ServerMaker, way_out: Outbound) -> None:
    server = make_mail_server("tls", {"dbackup": "s3cret-word"})
    send(channel(server, security="tls", username="dbackup", password="s3cret-word"), way_out)
    assert server.last.secure


def test_without_starttls_nothing_is_sent_not_even_the_login(
    make_mail_server: ServerMaker, way_out: Outbound
) -> None:
    server = make_mail_server("none", {"dbackup": "s3cret-word"})
    email = channel(server, security="starttls", username="dbackup", password="s3cret-word")
    with pytest.raises(PermanentError, match="does not offer STARTTLS") as caught:
        send(email, way_out)
    assert caught.value.breaks_channel
    assert caught.value.advice
    assert (server.mails, server.logins) == ([], [])


def test_a_login_without_encryption_needs_consent(
    make_mail_server: ServerMaker, way_out: Outbound
) -> None:
    server = make_mail_server("none", {"dbackup": "s3cret-word"})
    login = {"username": "dbackup", "password": "s3cret-word"}
    with pytest.raises(PermanentError, match="not sent without encryption"):
        send(channel(server, **login), way_out)
    assert server.logins == []
    send(channel(server, **login, plain_login=True), way_out)
    assert server.last.user == "dbackup"


def test_a_wrong_password_breaks_the_channel_and_is_not_shown(
    make_mail_server: ServerMaker, way_out: Outbound
) -> None:
    server = make_mail_server("starttls", {"dbackup": "right"})
    server.refuse_login = "535 5.7.8 Wrong password wr0ng-word"
    email = channel(server, security="starttls", username="dbackup", password="wr0ng-word")
    with pytest.raises(PermanentError, match=r"refused the login with 535 5\.7\.8") as caught:
        send(email, way_out)
    assert caught.value.breaks_channel
    assert "app password" in caught.value.advice
    assert "wr0ng" not in str(caught.value) + caught.value.excerpt


def test_a_certificate_that_is_not_trusted_needs_a_person(
    make_mail_server: ServerMaker,
) -> None:
    server = make_mail_server("tls")
    way_out = Outbound(allow_private_networks="self-hosted", ca_file=None)
    with pytest.raises(TransientError, match="certificate") as caught:
        send(channel(server, security="tls"), way_out)
    assert caught.value.needs_you
    assert server.mails == []


def test_an_own_authority_may_be_given(make_mail_server: ServerMaker, ca_file: Path) -> None:
    server = make_mail_server("starttls")
    way_out = Outbound(allow_private_networks="self-hosted", ca_file=None)
    send(channel(server, security="starttls", ca_file=str(ca_file)), way_out)
    assert server.last.secure


def test_tls_to_a_port_without_it_says_which_port_fits(
    mail_server: MailServer, way_out: Outbound
) -> None:
    with pytest.raises(TransientError) as caught:
        send(channel(mail_server, security="tls"), way_out)
    assert caught.value.needs_you
    assert "465" in caught.value.advice


def test_who_accepted_is_not_asked_again(mail_server: MailServer, way_out: Outbound) -> None:
    email, progress = channel(mail_server), dict[str, Any]()
    mail_server.refuse_recipients = {"dba@example.org": "450 4.2.1 Mailbox is busy"}
    with pytest.raises(TransientError, match="1 recipient got the mail") as caught:
        send(email, way_out, progress=progress)
    assert caught.value.status == "450 4.2.1"
    mail_server.refuse_recipients = {}
    send(email, way_out, progress=progress)
    assert [mail.recipients for mail in mail_server.mails] == [
        ("ops@example.org",),
        ("dba@example.org",),
    ]


def test_a_recipient_that_does_not_exist_is_named_and_the_others_get_the_mail(
    mail_server: MailServer, way_out: Outbound
) -> None:
    mail_server.refuse_recipients = {"dba@example.org": "550 5.1.1 No such user"}
    with pytest.raises(PermanentError, match=r"dba@example\.org") as caught:
        send(channel(mail_server), way_out)
    assert not caught.value.breaks_channel
    assert "Correct the addresses" in caught.value.advice
    assert mail_server.last.recipients == ("ops@example.org",)


def test_a_lasting_refusal_is_told_after_the_passing_ones_are_over(
    mail_server: MailServer, way_out: Outbound
) -> None:
    email, progress = channel(mail_server), dict[str, Any]()
    mail_server.refuse_recipients = {
        "dba@example.org": "550 5.1.1 No such user",
        "ops@example.org": "451 4.3.0 Later",
    }
    with pytest.raises(TransientError):
        send(email, way_out, progress=progress)
    mail_server.refuse_recipients.pop("ops@example.org")
    with pytest.raises(PermanentError, match=r"dba@example\.org was refused \(550 5\.1\.1\)"):
        send(email, way_out, progress=progress)
    assert mail_server.last.recipients == ("ops@example.org",)


def test_a_channel_without_a_single_good_recipient_is_broken(
    mail_server: MailServer, way_out: Outbound
) -> None:
    email = channel(mail_server, recipients=["gone@example.org"])
    mail_server.refuse_recipients = {"gone@example.org": "550 5.1.1 No such user"}
    with pytest.raises(PermanentError) as caught:
        send(email, way_out)
    assert caught.value.breaks_channel


def test_a_person_without_a_mailbox_does_not_break_the_channel(
    mail_server: MailServer, way_out: Outbound
) -> None:
    mail_server.refuse_recipients = {"mara@example.org": "550 5.1.1 No such user"}
    with pytest.raises(PermanentError) as caught:
        send(channel(mail_server), way_out, failure(recipient="mara@example.org"))
    assert not caught.value.breaks_channel


@pytest.mark.parametrize(
    ("reply", "kind", "breaks"),
    [
        ("421 4.3.2 Shutting down", TransientError, None),
        ("451 4.7.1 Greylisted, try again", TransientError, None),
        ("452 4.3.1 Full", TransientError, None),
        ("550 5.4.5 Daily quota", TransientError, None),
        ("552 5.3.4 Too large", PermanentError, False),
        ("554 5.7.1 Spam", PermanentError, False),
        ("550 5.7.60 Not your sender", PermanentError, True),
    ],
)
def test_refusals_of_the_mail_are_sorted(
    mail_server: MailServer,
    way_out: Outbound,
    reply: str,
    kind: type[Exception],
    breaks: bool | None,
) -> None:
    mail_server.refuse_data = reply
    progress: dict[str, Any] = {}
    with pytest.raises(kind) as caught:
        send(channel(mail_server), way_out, progress=progress)
    assert getattr(caught.value, "breaks_channel", None) == breaks
    assert getattr(caught.value, "advice", "")
    assert progress == {}


def test_a_greylisted_mail_waits_five_minutes(mail_server: MailServer, way_out: Outbound) -> None:
    mail_server.refuse_data = "451 4.7.1 Greylisted"
    with pytest.raises(TransientError) as caught:
        send(channel(mail_server), way_out)
    assert caught.value.retry_after == timedelta(minutes=5)


def test_a_sender_that_is_refused_breaks_the_channel(
    mail_server: MailServer, way_out: Outbound
) -> None:
    mail_server.refuse_sender = "550 5.7.1 Not allowed"
    with pytest.raises(PermanentError, match="refused the sender") as caught:
        send(channel(mail_server), way_out)
    assert caught.value.breaks_channel


def test_a_connection_lost_after_the_last_byte_may_have_delivered(
    mail_server: MailServer, way_out: Outbound
) -> None:
    mail_server.drop_after_data = True
    with pytest.raises(TransientError) as caught:
        send(channel(mail_server), way_out)
    assert caught.value.maybe_sent


def test_a_server_that_hangs_is_left_by_the_watchdog(
    mail_server: MailServer, ca_file: Path
) -> None:
    mail_server.hang_seconds = 3
    way_out = Outbound(allow_private_networks="all", ca_file=ca_file, total_seconds=0.5)
    with pytest.raises(TransientError, match=r"did not finish within 0\.5 s") as caught:
        send(channel(mail_server), way_out)
    assert caught.value.maybe_sent


def test_a_server_that_falls_silent_is_not_said_to_have_hung_up(
    mail_server: MailServer, way_out: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "READ_SECONDS", 0.3)
    mail_server.hang_seconds = 2
    with pytest.raises(TransientError, match="did not answer in time"):
        send(channel(mail_server), way_out)


@pytest.mark.parametrize("greeting", [b"220-x\r\n", b"220-" + b"x" * 8000 + b"\r\n"])
def test_a_reply_without_end_is_not_read(
    mail_server: MailServer, way_out: Outbound, greeting: bytes
) -> None:
    endless = greeting * (2_000_000 // len(greeting))
    with (
        RawServer(greeting=endless + b"220 ready\r\n") as server,
        pytest.raises(TransientError, match="closed the connection") as caught,
    ):
        send(channel(mail_server, port=server.port), way_out)
    assert not caught.value.maybe_sent


def test_an_unknown_host_needs_a_person(
    mail_server: MailServer, way_out: Outbound, names: Names
) -> None:
    with pytest.raises(TransientError, match="no host called") as caught:
        send(channel(mail_server, host="mail.nowhere.example"), way_out)
    assert caught.value.needs_you


def test_letters_that_a_login_cannot_carry_are_permanent(
    make_mail_server: ServerMaker, way_out: Outbound
) -> None:
    server = make_mail_server("starttls", {"dbackup": "x"})
    with pytest.raises(PermanentError, match="letters"):
        send(channel(server, security="starttls", username="dbackup", password="пароль"), way_out)


def test_no_name_is_looked_up_to_say_hello(
    mail_server: MailServer, way_out: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object) -> str:
        raise AssertionError("asked the DNS for the own name")

    monkeypatch.setattr(smtplib.socket, "getfqdn", ask)  # type: ignore[attr-defined]
    send(channel(mail_server), way_out)


def test_the_preview_is_read_from_the_very_bytes() -> None:
    email = Email({"sender": "dbackup@example.org", "recipients": ["ops@example.org"]})
    rendered = email.render(failure(error=LONG_ERROR))
    data = Email.preview(rendered.body.decode(), rendered.content_type).data
    assert data["heading"] == "Backup failed: nightly-orders"
    assert {"name": "Job", "value": "nightly-orders"} in data["facts"]
    assert data["attachments"][0]["name"] == "error.txt"
    assert data["error"].startswith("line 0")
    assert "<h1" in data["html"]


FORM = {
    "host": "smtp.example.org",
    "port": "587",
    "security": "starttls",
    "sender": "dbackup@example.org",
    "recipients": "ops@example.org, dba@example.org\nOPS@example.org",
    "username": "u",
    "password": "p-a-s-s",
}


def errors(**changes: str) -> set[str]:
    form = Email.form(MultiDict(FORM | changes))
    form.validate()
    return set(form.errors)


def test_the_form_takes_what_is_right() -> None:
    form = Email.form(MultiDict(FORM))
    assert form.validate(), form.errors
    config = form.merged({})
    assert config["recipients"] == ["ops@example.org", "dba@example.org"]
    assert config["password"] == "p-a-s-s"
    assert Email.summarize(config) == "ops@example.org and 1 more by smtp.example.org"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"host": ""}, "host"),
        ({"host": "https://smtp.example.org"}, "host"),
        ({"port": "0"}, "port"),
        ({"port": "465"}, "security"),
        ({"security": "none"}, "plain_login"),
        ({"password": ""}, "username"),
        ({"sender": "nobody"}, "sender"),
        ({"recipients": ""}, "recipients"),
        ({"recipients": "a@b.example x\r\nBcc:y@z.example"}, "recipients"),
        ({"recipients": "ü@example.org"}, "recipients"),
        ({"recipients": "\n".join(f"p{n}@example.org" for n in range(51))}, "recipients"),
        ({"reply_to": "x"}, "reply_to"),
        ({"ca_file": "/there/is/none.pem"}, "ca_file"),
        ({"ehlo_name": "a b"}, "ehlo_name"),
    ],
)
def test_the_form_says_what_is_wrong(changes: dict[str, str], wrong: str) -> None:
    assert errors(**changes) == {wrong}
