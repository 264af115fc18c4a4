"""Credentials in errors of others: none stays, and no word that says what went wrong goes.

The two text files beside this one hold the errors, one a line.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp.backup.errors import BackupError
from webapp.core.errors import PermanentError
from webapp.core.scrub import conceal, scrub
from webapp.notify.channels.http import excerpt_of
from webapp.notify.outbound import Answer
from webapp.services import sending, system_errors
from webapp.services.run_log import Recorder

HERE = Path(__file__).parent
PIECE = re.compile(r"[^\s«»]{5,}")
ORDINARY = re.compile(r"[\w.&#!$-]{5,12}")
"""A secret of the corpus in whose place any other could stand."""
SIGNS = (("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\x5c", "\\"))
"""What stands in the files for what cannot stand in a line, or would be one of the signs."""
OTHERS = ("kT93xPq0LmZv71Rd", "Correct7HorseBattery", "s3cr3t!#_x", "0815-4711-0815")


def lines(name: str) -> Iterator[str]:
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            for sign, meant in SIGNS:
                line = line.replace(sign, meant)
            yield line


def parts(line: str) -> tuple[str, list[str], str]:
    """Return the text, its secrets, and the text without them."""
    text, secrets, words = "", [], ""
    for index, piece in enumerate(re.split("«(.*?)(?:»|$)", line, flags=re.DOTALL)):
        text += piece.replace("«", "")
        if index % 2:
            secrets.append(piece.replace("«", ""))
        else:
            words += piece + " "
    return text, secrets, words


def corpus() -> Iterator[str]:
    """Yield every error, and those with an ordinary password also with others of other kinds."""
    for number, line in enumerate(lines("errors_with_secrets.txt")):
        yield line
        secrets = re.findall("«(.*?)»", line)
        if len(secrets) == 1 and ORDINARY.fullmatch(secrets[0]):
            yield line.replace(f"«{secrets[0]}»", f"«{OTHERS[number % len(OTHERS)]}»")


ERRORS = tuple(corpus())


def test_there_are_at_least_300_errors() -> None:
    """Another secret in the same text is no other error."""
    assert len({re.sub("«.*?»", "«»", line) for line in lines("errors_with_secrets.txt")}) >= 330


@pytest.mark.parametrize("line", ERRORS)
def test_no_secret_stays_and_no_word_is_lost(line: str) -> None:
    text, secrets, words = parts(line)
    assert secrets
    left = scrub(text)
    for secret in secrets:
        assert secret not in left
        for piece in PIECE.findall(secret):
            assert piece not in left
    kept = set(re.findall(r"[^\W_]+", left))
    assert [word for word in re.findall(r"[^\W_]+", words) if word not in kept] == []


@pytest.mark.parametrize("line", tuple(lines("errors_without_secrets.txt")))
def test_an_error_without_a_secret_stays_as_it_is(line: str) -> None:
    assert scrub(line) == line


@pytest.mark.parametrize("line", ERRORS[::7])
def test_what_was_scrubbed_stays_as_it_is(line: str) -> None:
    once = scrub(parts(line)[0])
    assert scrub(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "password=",
            "://a:",
            "curl -u ",
            "mysql -p",
            "password='\\'",
            "<password",
            "token: ",
            "a",
        ),
        *("Authorization: ", "-----BEGIN PRIVATE KEY-----\n", "eyJaaaaaaaaa", "cookie:", "123456:"),
        *("into x(password) values ('", "into x(a password) values (", "key (token)=(", "crypt('"),
        *("334 aaaa\n> ", "334 \n", "attach b key ", "pragma key = ", "identified by ", "role a "),
        *("a:b1@", "://a b:c d ", "://a,b:", "host 'a", "url: /", "/bot1234567:", "%3A%2F%2Fa:"),
        *("password: |\n ", "password is was to ", "token ", "auth=a", "a.b:12:c:", "?code=aA1"),
        *('<a id="token" ', "<token>", "Header part (", "--a-b-c-token ", '"password": "', "a.b."),
        *("password=&quot;", "\\u0022token\\u0022:", "Private-Lines: 1\naaaa ", "key: ", "' "),
        *("name: token value: ", "private key aaaaaaaaaaaaaaaaaaaa\n", "api key format ", "ldapx "),
        *(">token</td><td>", '"name":"token","value":"', 'response="', "token: |\n ", "--token "),
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (20_000 // len(piece))
    began = time.process_time()
    scrub(text)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "://a:", "Key (token)=(", "-----BEGIN PRIVATE KEY-----\n"),
        "into x(password) values ('",
    ],
)
def test_a_megabyte_takes_fifty_times_as_long_and_no_longer(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    scrub(text)
    assert time.process_time() - began < 15


NAMES = (
    *("DbPassword", "db-password", "DB_PASS", "PGPASSWORD", "smtpPass", "clientSecret", "apiKey"),
    *("api-key", "accessToken", "refresh_token", "privateKey", "secretAccessKey", "bot_token"),
    *("webhookUrl", "sasl.password", "signingSecret", "key_passphrase"),
)
VALUES = (
    *("kT93xPq0LmZv71Rd", "Correct7HorseBattery", "s3cr3t!#_x", "pa$$word9", "x/y+z1==", "grün-9x"),
    *(
        "0815-4711",
        "p(w)d9x",
        "no-way9",
        "none.of9",
        "nullable9",
        "true9story",
        "{x}y9z",
        "emptyNest9",
    ),
    *("$ummer19", "%secret9", "[abc9]x", "#hash9tag", "@at9sign", "(par9en)x", "is9xyz", "!bang9x"),
    *("~til9de", "^car9et", "*star9x", "+pl9us", "?que9ry", "999999", "12345678", "abcd-efgh-9"),
)
"""Some begin like what is no secret at all."""


@pytest.mark.parametrize(
    "form",
    [
        *(
            "{n}={v}",
            "{n}={v} host=db",
            "({n}={v})",
            "[{n}={v}, x=1]",
            "{n}={v},x=1",
            "{n}={v};x=1",
        ),
        *('{n}="{v}"', "f({n}='{v}', port=1)", "{n} = {v}", "{n} => {v}", "('{n}', '{v}')"),
        *("{n}: {v}", "x failed: {n}: {v}\nnext", "- {n}: {v}", "X-{n}: {v}\nHost: h", "{n}:{v}"),
        *(
            '"{n}":"{v}"',
            '"{n}" : "{v}"',
            '{{\\"{n}\\":\\"{v}\\"}}',
            "{{'{n}': '{v}', 'host': 'db'}}",
        ),
        *("--{n}={v}", "--{n} {v}", "export {n}={v}", "<{n}>{v}</{n}>", "https://h/x?{n}={v}&x=1"),
    ],
)
def test_no_password_and_no_way_to_write_it_gets_through(form: str) -> None:
    texts = {form.format(n=name, v=value): value for name in NAMES for value in VALUES}
    assert [text for text, value in texts.items() if value[1:] in scrub(text)] == []


def test_known_secrets_go_too() -> None:
    assert conceal("no route to nightly, pwd=x1", ["nightly"]) == "no route to ***, pwd=***"


FOREIGN = "proxy http://squid:unKnown-77@proxy.example.org refused"


def test_every_error_is_scrubbed_before_it_is_stored_or_sent() -> None:
    told = PermanentError(FOREIGN, excerpt=FOREIGN)
    sending._masked(told, ())
    answer = Answer(status=502, headers={}, body=FOREIGN.encode())
    for words in (
        *(str(told), told.excerpt),
        excerpt_of(answer, ()),
        Recorder(1, ("Dump",)).masked(FOREIGN),
        system_errors.describe(ValueError(FOREIGN)),
        str(BackupError(FOREIGN)),
    ):
        assert "unKnown-77" not in words
        assert "proxy http://squid:***@proxy.example.org refused" in words
