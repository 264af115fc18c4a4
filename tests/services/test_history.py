"""Old deliveries, attempts, events and runs are forgotten, and nothing that is still needed."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from tests.factories import make_destination, make_job
from webapp.core import clock
from webapp.models.delivery import Attempt, Delivery, EventRow, State
from webapp.models.run import ArtifactRow, Outcome, Run, RunLine, Trigger
from webapp.services import history, unseen
from webapp.services.transaction import reading, transaction

pytestmark = pytest.mark.usefixtures("app")

OLD, YOUNG = timedelta(days=91), timedelta(days=89)


def happened(age: timedelta, state: State = State.SENT) -> str:
    with transaction() as session:
        event = EventRow(type="user_login", payload={}, occurred_at=clock.now() - age)
        session.add(event)
        session.flush()
        is_open = state is State.RETRYING
        row = Delivery(
            event_id=event.id, state=state, next_attempt_at=clock.now() if is_open else None
        )
        session.add(row)
        session.flush()
        session.add(
            Attempt(
                delivery_id=row.id,
                number=1,
                started_at=clock.now() - age,
                duration_ms=1,
                outcome="sent",
            )
        )
        return row.id


def run(age: timedelta, job_id: int | None, outcome: Outcome = Outcome.SUCCESS) -> int:
    started: datetime = clock.now() - age
    with transaction() as session:
        row = Run(
            job_id=job_id,
            job_name="Nightly",
            trigger=Trigger.SCHEDULE,
            outcome=outcome,
            started_at=started,
        )
        session.add(row)
        session.flush()
        session.add(RunLine(run_id=row.id, text="hello"))
        return row.id


def count(model: type) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def forget_all() -> int:
    steps = 0
    while history.forget_some():
        steps += 1
    return steps


def test_what_is_old_goes_with_its_attempts_and_the_rest_stays() -> None:
    happened(OLD)
    young = happened(YOUNG)
    assert forget_all() == 1
    with reading() as session:
        assert session.scalars(select(Delivery.id)).all() == [young]
    assert (count(EventRow), count(Attempt)) == (1, 1)


def test_what_is_still_on_its_way_stays_however_old() -> None:
    happened(OLD, State.RETRYING)
    assert forget_all() == 0
    assert count(Delivery) == 1


def test_what_expired_stays_until_somebody_looked() -> None:
    delivery_id = happened(OLD, State.EXPIRED)
    history.forget_some()
    assert unseen.expired().count == 1
    unseen.mark(delivery_id)
    history.forget_some()
    with reading() as session:
        assert session.get(Delivery, delivery_id) is None


def test_it_goes_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "STEP", 3)
    for _ in range(7):
        happened(OLD)
    assert history.forget_some() == 3
    assert forget_all() == 2
    assert count(Delivery) == 0


def test_runs_go_unless_they_run_are_the_latest_or_have_a_backup() -> None:
    job = make_job()
    gone = run(OLD, job.id, Outcome.FAILURE)
    stored = run(OLD, job.id)
    running = run(OLD, job.id, Outcome.RUNNING)
    latest = run(OLD, job.id)
    orphan = run(OLD, None)
    young = run(YOUNG, None)
    destination = make_destination()
    with transaction() as session:
        session.add(
            ArtifactRow(
                run_id=stored,
                destination_id=destination.id,
                key="a",
                source_type="sqlite",
                size=1,
                sha256="0" * 64,
                manifest={},
            )
        )
    forget_all()
    with reading() as session:
        left = set(session.scalars(select(Run.id)))
    assert left == {stored, running, latest, young}
    assert {gone, orphan}.isdisjoint(left)
    assert count(RunLine) == 4
