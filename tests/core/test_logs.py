"""Log lines: facts as key=value, credentials masked, our own paths readable."""

import io
import logging
from collections.abc import Iterator

import pytest

from tests.servers.http import Peer
from webapp.core import logs
from webapp.notify.outbound import Outbound, Reach


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.configure(stream=written)
    yield written
    root.handlers[:] = before
    root.setLevel(level)


def test_facts_follow_the_text(stream: io.StringIO) -> None:
    logging.getLogger("webapp.x").info("run finished", extra={"run": 7, "outcome": "success"})
    assert "INFO webapp.x: run finished run=7 outcome=success" in stream.getvalue()


@pytest.mark.parametrize(
    "secret",
    [
        "https://discord.com/api/webhooks/1174000000000000000/SECRETsecret-1",
        "https://hooks.slack.com/services/T0000/B0000/SECRETsecret1",
        "https://api.telegram.org/bot123456:SECRETsecret1/sendMessage",
        "postgresql://backup:SECRETsecret1@db/orders",
        "https://example.org/invoke?api-version=1&sig=SECRETsecret1",
        "could not connect: password=SECRETsecret1 host=db",
    ],
)
def test_credentials_are_masked_in_texts_facts_and_tracebacks(
    stream: io.StringIO, secret: str
) -> None:
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("webapp.x").exception("failed at %s", secret, extra={"where": secret})
    assert "SECRETsecret" not in stream.getvalue()


def test_libraries_do_not_tell_addresses_even_in_details(stream: io.StringIO, peer: Peer) -> None:
    logs.configure(logging.DEBUG, stream)
    way_out = Outbound(allow_private_networks="all", ca_file=None)
    way_out.request(
        "GET", f"{peer.url}/ping/a-token", reach=Reach.SELF_HOSTED, headers={}, body=b""
    )
    logging.getLogger("webapp").debug("done")
    assert "done" in stream.getvalue()
    assert "a-token" not in stream.getvalue()


def test_a_traceback_names_our_own_files(stream: io.StringIO) -> None:
    text = 'File "/srv/dbackup/webapp/services/claims.py", line 3'
    logging.getLogger("webapp.x").warning("%s", text)
    assert "services/claims.py" in stream.getvalue()
