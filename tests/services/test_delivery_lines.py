"""One delivery as lists show it: its title, what made it, how long it took."""

from datetime import timedelta

import pytest

from tests.services.delivered import deliver, happened
from webapp.core import clock
from webapp.core.errors import NotFoundError
from webapp.models.delivery import Attempt, EventRow
from webapp.services import delivery_actions, delivery_detail, delivery_lines
from webapp.services.transaction import transaction

pytestmark = pytest.mark.usefixtures("app")


def test_direct_mail_has_the_title_that_the_person_reads() -> None:
    delivery_id = deliver(recipient="mara@example.org", is_direct=True)
    assert delivery_lines.line(delivery_id).title == "New sign-in to DBackup"


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("backup_failure", "Job notification"),
        ("system_error", "System event"),
        ("channel_test", "Channel test"),
    ],
)
def test_a_line_says_what_made_it(event_type: str, kind: str) -> None:
    assert delivery_lines.line(deliver(event_id=happened(event_type))).kind == kind


def test_an_event_of_another_version_is_listed_by_its_type() -> None:
    with transaction() as session:
        session.add(EventRow(id="later", type="storage_full", payload={}))
        session.add(EventRow(id="changed", type="user_login", payload={"who": "Mara"}))
    assert delivery_lines.line(deliver(event_id="later")).title == "storage_full"
    assert delivery_lines.line(deliver(event_id="changed")).title == "User Login"


def test_a_line_shows_how_long_the_latest_attempt_took() -> None:
    delivery_id = deliver(attempts=2)
    with transaction() as session:
        for number, duration in ((2, 96), (1, 10_000)):
            session.add(
                Attempt(
                    delivery_id=delivery_id,
                    number=number,
                    started_at=clock.now(),
                    duration_ms=duration,
                    outcome="sent",
                )
            )
    assert delivery_lines.line(delivery_id).took == timedelta(milliseconds=96)


def test_an_unknown_delivery_is_not_found() -> None:
    for ask in (
        lambda: delivery_lines.line("nowhere"),
        lambda: delivery_detail.detail("nowhere", with_message=True),
        lambda: delivery_actions.resend("nowhere"),
        lambda: delivery_actions.cancel("nowhere"),
    ):
        with pytest.raises(NotFoundError):
            ask()
