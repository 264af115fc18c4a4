"""A plausible installation to look at: channels, jobs, two weeks of runs, and a log of deliveries.

Runs and messages go through the product's own records, so what pages show is what they would show;
only the services' answers are made up. Nothing is sent.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from unittest import mock

from sqlalchemy import func, select, update

from tests.factories import make_channel, make_destination, make_job, make_source, make_user
from webapp.backup.engine import PlaceResult, Stored
from webapp.core import clock
from webapp.core.errors import ChannelError, PermanentError, TransientError
from webapp.models.channel import ChannelRow
from webapp.models.job import DestinationRow, Job, SourceRow
from webapp.models.routing import Condition, GlobalChannel, JobChannel
from webapp.models.run import ArtifactRow, Outcome, Restore, Run, RunLine
from webapp.models.setting import Setting
from webapp.models.user import Role, User
from webapp.notify.channels.base import Receipt
from webapp.notify.events.restore_complete import RestoreComplete
from webapp.notify.events.system_error import SystemError
from webapp.notify.events.user_login import UserLogin
from webapp.services import (
    channels,
    claims,
    notification_settings,
    outbox,
    outcomes,
    processes,
    run_end,
    sending,
    trials,
)
from webapp.services.outcomes import Result
from webapp.services.run_end import End
from webapp.services.transaction import transaction

EMAIL: Final = "mara@example.org"
STEPS: Final = ("Connect", "Dump", "Store", "Verify", "Prune")
FULL: Final = "No space left on the device."
NETWORK: Final = "could not connect to server: No route to host"


@dataclass
class Demo:
    """What pages need to know to be opened."""

    now: datetime = field(default_factory=clock.now)
    users: dict[str, User] = field(default_factory=dict)
    channels: dict[str, ChannelRow] = field(default_factory=dict)
    sources: dict[str, SourceRow] = field(default_factory=dict)
    destinations: dict[str, DestinationRow] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    """By how they ended: success, failure, partial, running."""
    restores: dict[str, int] = field(default_factory=dict)
    artifact_id: int = 0
    delivery_ids: dict[str, str] = field(default_factory=dict)
    """By state, the latest of each."""
    trial_id: str = ""
    """A finished test of Restore Failed with one failure."""


def fill(*, live: bool = True) -> Demo:
    """Fill the empty tables of the current application; `live`: with what seems to happen now."""
    demo = Demo()
    _people(demo)
    _channels(demo)
    _settings(demo)
    _jobs(demo)
    _two_weeks(demo)
    _today(demo)
    _restores(demo, live=live)
    _test(demo)
    if live:
        _live_run(demo)
    return demo


def _people(demo: Demo) -> None:
    demo.users = {
        "admin": make_user(
            name="Mara Lindqvist", email=EMAIL, role=Role.ADMIN, last_login_at=demo.now
        ),
        "operator": make_user(
            name="Otis Okafor", email="otis@example.org", role=Role.OPERATOR,
            last_login_at=demo.now - timedelta(hours=3),
        ),
        "viewer": make_user(name="Vera Novak", email="vera@example.org", role=Role.VIEWER),
        "gone": make_user(name="Tom Reyes", email="tom@example.org", active=False),
    }  # fmt: skip


def _channels(demo: Demo) -> None:
    mail = {
        "host": "smtp.example.org", "port": 587, "security": "starttls",
        "username": "dbackup", "password": "hush", "sender": "dbackup@example.org",
    }  # fmt: skip
    discord = "https://discord.com/api/webhooks/123456789012345678/" + "t" * 68
    configs: dict[str, tuple[str, dict[str, Any]]] = {
        "db-backups": ("discord", {"webhook_url": discord}),
        "Ops mailing list": ("email", mail | {"recipients": ["ops@example.org"]}),
        "Audit webhook": ("webhook", {"url": "https://audit.example.org/hooks/dbackup"}),
        "Night shift": ("webhook", {"url": "https://hooks.example.org/night-shift"}),
        "Server room": ("webhook", {"url": "https://alarm.example.org/lamp", "method": "PUT"}),
        "Release channel": ("discord", {"webhook_url": discord.replace("tt", "ab", 1)}),
    }
    for name, (kind, config) in configs.items():
        demo.channels[name] = make_channel(
            name=name, type=kind, config=config, enabled=name != "Release channel",
            created_at=demo.now - timedelta(days=40),
        )  # fmt: skip
    with transaction() as session:
        for name, (_, config) in configs.items():
            channels.seal_into(session.get_one(ChannelRow, demo.channels[name].id), config)


def _settings(demo: Demo) -> None:
    with transaction() as session:
        session.add(Setting(key="instance_name", value="Fernhill"))
        for position, name in enumerate(("db-backups", "Ops mailing list", "Audit webhook")):
            channel_id = demo.channels[name].id
            session.add(GlobalChannel(channel_id=channel_id, position=position))
    ids = {name: row.id for name, row in demo.channels.items()}
    notification_settings.set_enabled("user_login", True)
    notification_settings.set_notify_user("user_login", "admin_and_user")
    notification_settings.choose_channels(
        "restore_failure", [ids["db-backups"], ids["Ops mailing list"], ids["Night shift"]]
    )
    notification_settings.set_enabled("config_backup", True)
    notification_settings.choose_channels("config_backup", [])


def _jobs(demo: Demo) -> None:
    for name, kind, summary in (
        ("orders", "postgresql", "orders at db1.example.org:5432"),
        ("crm", "postgresql", "crm at db1.example.org:5432"),
        ("wiki", "sqlite", "/srv/wiki/wiki.db"),
        ("metrics", "postgresql", "metrics at db2.example.org:5432"),
    ):
        server = {"host": "db1.example.org", "port": 5432, "database": name, "username": "backup"}
        config = {"path": summary} if kind == "sqlite" else server
        demo.sources[name] = make_source(name=name, type=kind, summary=summary, config=config)
    for name, path in (("nas", "/mnt/nas/dbackup"), ("spare disk", "/mnt/spare/dbackup")):
        demo.destinations[name] = make_destination(name=name, summary=path, config={"path": path})
    both = [row.id for row in demo.destinations.values()]
    for name, source, schedule, places in (
        ("nightly-orders", "orders", "0 2 * * *", both),
        ("crm-hourly", "crm", "30 * * * *", both[:1]),
        ("wiki-daily", "wiki", "15 3 * * *", both),
        ("metrics-weekly", "metrics", "0 4 * * 0", both[1:]),
    ):
        demo.jobs[name] = make_job(
            name=name, source_id=demo.sources[source].id, schedule=schedule, keep_last=14,
            destinations=places, enabled=name != "metrics-weekly",
        )  # fmt: skip
    with transaction() as session:
        for job, channel, condition in (
            ("nightly-orders", "db-backups", Condition.ALWAYS),
            ("nightly-orders", "Ops mailing list", Condition.ON_FAILURE),
            ("nightly-orders", "Night shift", Condition.ON_FAILURE),
            ("crm-hourly", "Night shift", Condition.ON_FAILURE),
            ("crm-hourly", "Ops mailing list", Condition.ON_FAILURE),
            ("wiki-daily", "Audit webhook", Condition.ON_SUCCESS),
        ):
            session.add(
                JobChannel(
                    job_id=demo.jobs[job].id,
                    channel_id=demo.channels[channel].id,
                    condition=condition,
                )
            )


def _two_weeks(demo: Demo) -> None:
    """Runs older than a day, without messages: the log begins yesterday."""
    for days in range(13, 0, -1):
        at = demo.now - timedelta(days=days, hours=2)
        for number, name in enumerate(("nightly-orders", "wiki-daily")):
            failed = (days, name) in {(9, "nightly-orders"), (5, "wiki-daily"), (4, "wiki-daily")}
            run = _run(demo, name, at + timedelta(hours=number), failed=failed)
            with transaction() as session:
                outcome = Outcome.FAILURE if failed else Outcome.SUCCESS
                values = {
                    "outcome": outcome,
                    "finished_at": at + timedelta(hours=number, minutes=3),
                }
                size = None if failed else 640_000_000 + days * 1_234_567
                session.execute(update(Run).where(Run.id == run).values(**values, size=size))


def _run(demo: Demo, job: str, at: datetime, *, failed: bool = False) -> int:
    """Add a run that has begun."""
    row = demo.jobs[job]
    run = Run(
        job_id=row.id, job_name=job, trigger="schedule", started_at=at,
        source_name=next(s.name for s in demo.sources.values() if s.id == row.source_id),
        owner=processes.owner(), outcome=Outcome.RUNNING, step="Dump" if failed else "Prune",
        steps=_steps(at, stopped_in="Dump" if failed else ""),
        destinations=[
            {"id": place.id, "name": place.name, "stored": False, "detail": ""}
            for place in demo.destinations.values()
        ],
    )  # fmt: skip
    with transaction() as session:
        session.add(run)
        session.flush()
        session.add_all(
            RunLine(run_id=run.id, at=at + timedelta(seconds=second), level="info", text=text)
            for second, text in (
                (0, "Started by the schedule."),
                (1, "Connected to PostgreSQL 16.4 with pg_dump 16.4."),
                (2, "Dump begins: 214 tables."),
            )
        )
        return run.id


def _steps(at: datetime, *, stopped_in: str = "", state: str = "failed") -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    reached = True
    for name, seconds in zip(STEPS, (0.4, 96.0, 61.0, 32.0, 0.2), strict=True):
        if not reached:
            steps.append({"name": name, "state": "waiting"})
        elif name == stopped_in:
            steps.append({"name": name, "state": state, "started_at": at.isoformat()})
            reached = False
        else:
            began = at.isoformat()
            steps.append({"name": name, "state": "done", "started_at": began, "seconds": seconds})
    return steps


@contextmanager
def _at(moment: datetime) -> Iterator[None]:
    with mock.patch.object(clock, "now", return_value=moment):
        yield


def _today(demo: Demo) -> None:
    """Let yesterday and today happen: runs end, people sign in, channels answer."""

    def ago(hours: float) -> datetime:
        return demo.now - timedelta(hours=hours)

    for hours, job, end in (
        (20, "crm-hourly", _success),
        (14, "crm-hourly", _success),
        (9, "wiki-daily", _partial),
        (8, "crm-hourly", _success),
        (7.2, "nightly-orders", _success),
        (6, "wiki-daily", _success),
        (5, "crm-hourly", _success),
    ):
        _end(demo, job, ago(hours), end)
        _answer(demo, ago(hours) + timedelta(minutes=3, seconds=13))
    with _at(ago(4)), transaction() as session:
        outbox.publish(session, RestoreComplete.sample())
    for hours in (4, 3.9, 3.7, 3.5):  # what failed is tried again
        _answer(demo, ago(hours))
    with _at(ago(2)), transaction() as session:
        outbox.publish(session, UserLogin.sample())
    for hours in (2, 1.9):
        _answer(demo, ago(hours))
    _end(demo, "crm-hourly", ago(0.45), _failure)
    for hours in (0.4, 0.38, 0.36):
        _answer(demo, ago(hours))
    with _at(ago(0.02)), transaction() as session:
        outbox.publish(session, SystemError.sample())
    _answer(demo, ago(0.018))


End_ = Callable[[Demo, str, datetime], End]


def _end(demo: Demo, job: str, at: datetime, end: End_) -> None:
    failed = end is _failure
    run_id = _run(demo, job, at, failed=failed)
    with _at(at + timedelta(minutes=3, seconds=12)), transaction() as session:
        run = session.get_one(Run, run_id)
        ended = end(demo, job, at)
        run_end.record(session, run, ended)
        session.flush()
        last = select(func.max(RunLine.id)).where(RunLine.run_id == run_id).scalar_subquery()
        session.execute(update(RunLine).where(RunLine.id == last).values(at=clock.now()))
        demo.runs[ended.outcome] = run_id
        if ended.stored:
            demo.artifact_id = session.scalar(select(func.max(ArtifactRow.id))) or 0
            stored = update(ArtifactRow).where(ArtifactRow.run_id == run_id)
            session.execute(stored.values(created_at=clock.now()))


def _success(demo: Demo, job: str, at: datetime) -> End:
    return End(outcome=Outcome.SUCCESS, stored=_stored(demo, job, at, broken=""))


def _partial(demo: Demo, job: str, at: datetime) -> End:
    error = "spare disk: No space left on the device. Free some space or keep fewer backups."
    return End(
        outcome=Outcome.PARTIAL, error=error, stored=_stored(demo, job, at, broken="spare disk")
    )


def _failure(demo: Demo, job: str, at: datetime) -> End:
    error = f"pg_dump: error: connection to server at db1.example.org failed: {NETWORK}"
    return End(outcome=Outcome.FAILURE, step="Dump", error=error)


def _stored(demo: Demo, job: str, at: datetime, *, broken: str) -> Stored:
    kind = "sqlite" if job.startswith("wiki") else "postgresql"
    key = (
        f"{demo.jobs[job].folder}/{at:%Y-%m-%dT%H-%M-%SZ}.{'db' if kind == 'sqlite' else 'dump'}.gz"
    )
    size = 48_300_000 if kind == "sqlite" else 644_100_000
    manifest = {
        "format": 1, "key": key, "created_at": at.isoformat(timespec="seconds"),
        "source": {"type": kind, "version": "16.4", "client": "16.4"}, "job": job,
        "compression": "gzip", "dump_size": size * 3, "size": size, "sha256": "5f" * 32,
    }  # fmt: skip
    places = tuple(
        PlaceResult(row.id, name, name != broken, FULL if name == broken else "")
        for name, row in demo.destinations.items()
    )  # fmt: skip
    return Stored(key=key, size=size, sha256="5f" * 32, manifest=manifest, places=places)


def _answer(demo: Demo, moment: datetime) -> None:
    """Let every channel answer what is due."""
    with _at(moment):
        outcomes.record([_result(demo, claim) for claim in claims.claim_due(100).claims])


def _result(demo: Demo, claim: claims.Claim) -> Result:
    answer = _words(claim.channel.name, 9 if claim.is_test else claim.attempt)
    channel = sending._open(claim)
    rendered = channel.render(sending._message(claim))
    demo.delivery_ids["sent" if isinstance(answer, Receipt) else "failed"] = claim.delivery_id
    if isinstance(answer, TransientError):
        demo.delivery_ids["retrying"] = claim.delivery_id
    said: Mapping[str, Any] = (
        {"receipt": answer} if isinstance(answer, Receipt) else {"error": answer}
    )
    return Result(
        claim=claim,
        started_at=clock.now(),
        took=timedelta(milliseconds=182 + 37 * claim.attempt),
        rendered=sending.for_the_log(rendered, channel.secrets),
        **said,
    )


def _words(channel: str, attempt: int) -> Receipt | ChannelError:
    if channel == "Night shift":
        return PermanentError(
            "404: the address is unknown there.",
            status="404",
            excerpt='{"message": "Unknown Webhook", "code": 10015}',
            advice="The webhook was deleted. Create a new one there, then replace the address "
            "in this channel.",
        )
    if channel == "Ops mailing list" and attempt < 2:
        return TransientError(
            "421: the mail server is busy.",
            status="421 4.3.2",
            excerpt="421 4.3.2 Too many connections, try again later",
            advice="The fault is on the server's side, so DBackup keeps trying.",
        )
    if channel == "Ops mailing list":
        return Receipt(
            status="250 2.0.0", words="The mail server took it.", excerpt="250 2.0.0 Queued"
        )
    if channel == "db-backups":
        return Receipt(status="204", words="Discord took it.")
    return Receipt(status="200", words="The server answered 200.", excerpt='{"ok": true}')


def _restores(demo: Demo, *, live: bool) -> None:
    hour = timedelta(hours=1)
    for outcome, ago, step in (
        (Outcome.SUCCESS, 30, ""), (Outcome.FAILURE, 4, "Load"), (Outcome.RUNNING, 0, "Load"),
    ):  # fmt: skip
        at = demo.now - ago * hour - timedelta(seconds=40)
        ended = outcome is not Outcome.RUNNING
        if not (ended or live):
            continue
        row = Restore(
            artifact_id=demo.artifact_id,
            artifact_key="nightly-orders/2026-11-16T01-00-00Z.dump.gz",
            destination_name="nas", source_id=demo.sources["orders"].id, source_name="orders",
            source_type="postgresql", target="orders_restored", size=644_100_000, step=step,
            requested_by="Mara Lindqvist", outcome=outcome, started_at=at, bytes_done=310_000_000,
            finished_at=at + timedelta(seconds=192) if ended else None, owner=processes.owner(),
            error='pg_restore: error: type "geometry" does not exist' if step and ended else None,
        )  # fmt: skip
        with transaction() as session:
            session.add(row)
            session.flush()
            demo.restores[outcome] = row.id


def _test(demo: Demo) -> None:
    at = demo.now - timedelta(seconds=12)
    with _at(at):
        demo.trial_id = trials.test_event("restore_failure", demo.users["admin"].id)
    _answer(demo, at)


def _live_run(demo: Demo) -> None:
    at = demo.now - timedelta(seconds=143)
    run_id = _run(demo, "crm-hourly", at, failed=True)
    changes = {
        "steps": _steps(at, stopped_in="Dump", state="running"),
        "bytes_done": 412_000_000,
        "bytes_total": 644_100_000,
    }
    with transaction() as session:
        session.execute(update(Run).where(Run.id == run_id).values(**changes))
    demo.runs["running"] = run_id
