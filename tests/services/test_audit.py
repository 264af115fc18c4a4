"""The audit log: everything that counts is noted, once, with its actor and without secrets."""

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, func, inspect, select, text, update
from sqlalchemy.exc import DBAPIError

from tests.factories import make_channel, make_destination, make_job, make_source, make_user
from tests.services.restoring import sqlite_artifact
from webapp.core import clock
from webapp.models.audit import AuditEntry
from webapp.models.channel import ChannelRow
from webapp.models.delivery import Delivery, State
from webapp.models.run import Trigger
from webapp.models.user import Role, User
from webapp.services import (
    artifacts,
    audit,
    audit_log,
    audit_watch,
    channel_edits,
    config_backups,
    config_schedule,
    delivery_actions,
    emitting,
    explorer,
    heartbeat,
    job_notifications,
    jobs,
    key_rotation,
    notification_settings,
    preferences,
    restores,
    run_history,
    runs,
    security_settings,
    unseen,
    users,
)
from webapp.services.audit import Actor
from webapp.services.audit_log import Filters, harmless
from webapp.services.channel_edits import Values
from webapp.services.security_settings import SecuritySettings
from webapp.services.sources import BOOK
from webapp.services.transaction import reading, transaction
from webapp.services.users import Account, Origin

MARA = Actor("Mara", 7, "192.0.2.7")
SECRET = "plant-8c1f-secret"


def noted(after: int = 0) -> list[AuditEntry]:
    with reading() as session:
        found = select(AuditEntry).where(AuditEntry.id > after).order_by(AuditEntry.id)
        return list(session.scalars(found))


def last_id() -> int:
    with reading() as session:
        return session.scalar(select(func.max(AuditEntry.id))) or 0


def one(action: str, entries: list[AuditEntry]) -> AuditEntry:
    found = [entry for entry in entries if entry.action == action]
    assert len(found) == 1, [entry.action for entry in entries]
    return found[0]


def webhook(name: str, url: str) -> Values:
    return Values(name=name, config={"url": url, "method": "POST"}, is_global=False)


def test_a_channel_from_its_making_to_its_end(app: Flask) -> None:
    with audit.acting(MARA):
        row = channel_edits.create("webhook", webhook("Ops", f"https://h.example/{SECRET}"))
        made = one("channel.created", noted())
        assert (made.object, made.user_name, made.user_id) == ("Ops", "Mara", 7)
        assert made.ip_address == "192.0.2.7"
        assert made.before is None
        assert made.after is not None
        assert (made.after["name"], made.after["url"]) == ("Ops", audit.CHANGED)

        start = last_id()
        channel_edits.save(row.id, 1, webhook("Ops 2", f"https://h.example/{SECRET}-new"))
        changed = one("channel.changed", noted(start))
        assert changed.before == {"name": "Ops", "url": audit.CHANGED}
        assert changed.after == {"name": "Ops 2", "url": audit.CHANGED}

        start = last_id()
        channel_edits.set_enabled(row.id, False)
        switched = one("channel.changed", noted(start))
        assert (switched.before, switched.after) == ({"enabled": True}, {"enabled": False})

        start = last_id()
        channel_edits.set_global(row.id, True)
        channel_edits.set_global(row.id, False)
        assert [entry.action for entry in noted(start)] == ["global_channels.changed"] * 2

        start = last_id()
        channel_edits.delete(row.id, everywhere=True)
        gone = one("channel.deleted", noted(start))
        assert gone.after is None
    assert SECRET not in json.dumps([[e.object, e.before, e.after] for e in noted()])


def test_what_the_dispatcher_writes_about_a_channel_is_no_entry(app: Flask) -> None:
    row = make_channel()
    start = last_id()
    with transaction() as session:
        stored = session.get_one(ChannelRow, row.id)
        stored.last_delivered_at, stored.failure_count, stored.broken_at = clock.now(), 3, None
    assert noted(start) == []


def test_routing_is_noted_although_it_bypasses_the_rows(app: Flask) -> None:
    one_, two = make_channel(name="One"), make_channel(name="Two")
    start = last_id()
    notification_settings.set_enabled("user_login", True)
    notification_settings.choose_channels("user_login", [two.id, one_.id])
    notification_settings.set_notify_user("user_login", "user_only")
    notification_settings.reset_channels("user_login")
    notification_settings.choose_global([one_.id])
    facts = [(entry.action, entry.object, entry.before, entry.after) for entry in noted(start)]
    assert facts == [
        ("event.changed", "User Login", {"enabled": False}, {"enabled": True}),
        (
            "event.changed",
            "User Login",
            {"custom": False, "channels": None},
            {"custom": True, "channels": ["Two", "One"]},
        ),
        (
            "event.changed",
            "User Login",
            {"notify_user": "disabled"},
            {"notify_user": "user_only"},
        ),
        (
            "event.changed",
            "User Login",
            {"custom": True, "channels": ["Two", "One"]},
            {"custom": False, "channels": None},
        ),
        ("global_channels.changed", "", {"channels": []}, {"channels": ["One"]}),
    ]


def test_what_a_deleted_channel_was_taken_out_of_is_noted(app: Flask) -> None:
    gone, stays = make_channel(name="Gone"), make_channel(name="Stays")
    channel_edits.save(stays.id, 1, replace(webhook("Stays", "https://h/"), fallback_id=gone.id))
    job = make_job(name="Shop")
    job_notifications.add(job.id, gone.id, "on_failure")
    notification_settings.choose_channels("user_login", [stays.id, gone.id])
    notification_settings.choose_global([gone.id])
    start = last_id()
    channel_edits.delete(gone.id, everywhere=True)
    facts = {(entry.action, entry.object): (entry.before, entry.after) for entry in noted(start)}
    assert facts.pop(("channel.deleted", "Gone"))[1] is None
    assert facts == {
        ("event.changed", "User Login"): ({"channels": ["Stays", "Gone"]}, {"channels": ["Stays"]}),
        ("job_channel.deleted", "Shop: Gone"): ({"condition": "on_failure"}, None),
        ("global_channels.changed", "Gone"): ({"global": True}, {"global": False}),
        ("channel.changed", "Stays"): ({"fallback_id": gone.id}, {"fallback_id": None}),
    }
    assert not notification_settings.overview().global_ids


def test_a_click_that_changes_nothing_is_no_entry(app: Flask) -> None:
    notification_settings.set_enabled("user_login", True)
    start = last_id()
    notification_settings.set_enabled("user_login", True)
    assert noted(start) == []


def test_the_rows_of_a_job_s_notifications_are_noted(app: Flask) -> None:
    job, channel = make_job(name="Shop"), make_channel(name="Ops")
    start = last_id()
    row_id = job_notifications.add(job.id, channel.id, "always")
    job_notifications.set_condition(job.id, row_id, "on_failure")
    job_notifications.remove(job.id, row_id)
    entries = noted(start)
    assert [entry.action for entry in entries] == [
        "job_channel.created",
        "job_channel.changed",
        "job_channel.deleted",
    ]
    assert {entry.object for entry in entries} == {"Shop: Ops"}
    assert entries[1].after == {"condition": "on_failure"}


def test_a_job_is_noted_with_its_destinations(app: Flask) -> None:
    source, disk, shelf = (
        make_source(),
        make_destination(name="Disk"),
        make_destination(name="Shelf"),
    )
    values = jobs.Values(
        name="Shop",
        source_id=source.id,
        destination_ids=[disk.id],
        schedule="0 2 * * *",
        timezone="UTC",
        compression="gzip",
        keep_last=7,
        enabled=True,
    )
    start = last_id()
    job_id = jobs.create(values)
    assert [entry.action for entry in noted(start)] == ["job.created", "job.changed"]
    start = last_id()
    jobs.save(job_id, replace(values, keep_last=3, destination_ids=[shelf.id, disk.id]), 1)
    facts = [(entry.before, entry.after) for entry in noted(start)]
    assert ({"keep_last": 7}, {"keep_last": 3}) in facts
    assert ({"destinations": ["Disk"]}, {"destinations": ["Shelf", "Disk"]}) in facts
    job_notifications.add(job_id, make_channel(name="Ops").id, "always")
    start = last_id()
    jobs.clone(job_id)
    both = {"destinations": ["Shelf", "Disk"]}
    assert one("job.changed", noted(start)).after == both
    assert one("job_channel.created", noted(start)).object == "Shop copy: Ops"
    start = last_id()
    jobs.remove(job_id)
    assert one("job.changed", noted(start)).before == both
    assert one("job_channel.deleted", noted(start)).object == "Shop: Ops"
    assert one("job.deleted", noted(start)).object == "Shop"


def test_people_are_noted_without_their_passwords(app: Flask) -> None:
    origin = Origin(name="Mara", ip_address="", browser="")
    make_user(role=Role.ADMIN)
    before = last_id()
    account = Account(name="Jonas", email="jonas@example.org", role=Role.VIEWER)
    user = users.create(account, f"{SECRET} long enough", origin)
    users.update(
        user.id,
        Account(name="Jonas", email="jonas@example.org", role=Role.ADMIN),
        version=1,
        password=f"{SECRET} another one",
    )
    users.set_active(user.id, False)
    made, changed, off = noted(before)
    assert (made.action, made.object) == ("user.created", "jonas@example.org")
    assert changed.before == {"password": audit.CHANGED, "role": "viewer"}
    assert changed.after == {"password": audit.CHANGED, "role": "admin"}
    assert off.after == {"active": False}
    text_ = json.dumps([[e.object, e.before, e.after] for e in noted()])
    assert SECRET not in text_
    assert "argon2" not in text_


def test_settings_and_connections_are_noted(app: Flask) -> None:
    preferences.save(instance_name="Home", base_url="", timezone="Europe/Berlin")
    preferences.save(instance_name="Office", base_url="", timezone="Europe/Berlin")
    last = one("setting.changed", noted())
    assert (last.object, last.before, last.after) == (
        "instance_name",
        {"value": "Home"},
        {"value": "Office"},
    )
    start = last_id()
    row = make_source(name="Shop", config={"path": "/srv/a.db"})
    BOOK.delete(row.id)
    made, gone = noted(start)
    assert (made.action, gone.action) == ("source.created", "source.deleted")
    assert made.after is not None
    assert made.after["path"] == "/srv/a.db"
    make_destination(name="Disk")
    assert noted()[-1].action == "destination.created"


def test_runs_restores_and_downloads_are_noted(app: Flask, tmp_path: Path) -> None:
    job, artifact = make_job(name="Shop"), sqlite_artifact(tmp_path)
    start = last_id()
    run_id = runs.start(job.id, Trigger.MANUAL, "Mara")
    runs.stop(run_id, "Mara")
    artifacts.download(artifact.id).chunks.close()
    run_history.log_text(run_id)
    target = str(tmp_path / "new.db")
    restore_id = restores.request(artifact.id, target=target, source_id=None, requested_by="Mara")
    restores.stop(restore_id, "Mara Lindqvist")
    assert [entry.action for entry in noted(start)] == [
        "run.started",
        "run.stopped",
        "artifact.downloaded",
        "run.log_downloaded",
        "restore.requested",
        "restore.stopped",
    ]
    assert one("restore.requested", noted(start)).after == {"restore": restore_id, "target": target}


def test_the_schedule_s_own_runs_are_no_entry(app: Flask) -> None:
    job = make_job()
    start = last_id()
    runs.start(job.id, Trigger.SCHEDULE)
    assert noted(start) == []


def test_exports_imports_and_rotation_are_noted(app: Flask) -> None:
    make_channel()
    start = last_id()
    config_backups.back_up(None, destination="Download")
    key_rotation.reseal()
    assert [entry.action for entry in noted(start)] == ["configuration.exported", "secrets.rotated"]


def test_rotation_reseals_second_factors_and_names_no_change(app: Flask) -> None:
    user = make_user(totp_secret=audit_watch.installation().sealer.seal({"totp": "JBSWY3DP"}))
    start = last_id()
    key_rotation.reseal()
    assert [entry.action for entry in noted(start)] == ["secrets.rotated"]
    with reading() as session:
        assert session.get_one(User, user.id).totp_secret != user.totp_secret


def test_sealed_settings_only_say_that_they_changed(app: Flask) -> None:
    place = make_destination()
    start = last_id()
    heartbeat.save("https://hc-ping.com/5f1d7a2c")
    config_schedule.save(
        enabled=True,
        schedule="0 3 * * *",
        destination_id=place.id,
        keep_last=3,
        sealed=True,
        typed="a long passphrase",
    )
    written = [f"{entry.before} {entry.after}" for entry in noted(start)]
    assert len(written) >= 4
    assert not any("gAAAA" in words for words in written), "what is sealed outlives its key here"
    start = last_id()
    key_rotation.reseal()
    assert [entry.action for entry in noted(start)] == ["secrets.rotated"]


def test_what_people_do_to_backups_is_noted(app: Flask, tmp_path: Path) -> None:
    artifact = sqlite_artifact(tmp_path)
    place, key = artifact.destination_id, artifact.key
    with transaction() as session:
        session.delete(session.merge(artifact))
    start = last_id()
    with audit.acting(MARA):
        explorer.import_(place)
        explorer.set_locked(place, key, True)
        explorer.set_locked(place, key, False)
        explorer.remove(place, key, key.rpartition("/")[2])
    done = [(entry.user_name, entry.action, entry.object) for entry in noted(start)]
    verbs = ("imported", "locked", "unlocked", "deleted")
    assert done == [("Mara", f"artifact.{verb}", key) for verb in verbs]


def test_what_people_do_to_messages_is_noted(app: Flask) -> None:
    channel = make_channel(name="Ops")
    notification_settings.set_enabled("restore_failure", True)
    notification_settings.choose_channels("restore_failure", [channel.id])
    start = last_id()
    with audit.acting(MARA):
        event_id, (waits,) = emitting.emit("restore_failure")
        delivery_actions.cancel(waits.delivery_id)
        delivery_actions.resend(waits.delivery_id)
        with transaction() as session:
            ended = {"state": State.EXPIRED, "next_attempt_at": None, "finished_at": clock.now()}
            session.execute(update(Delivery).values(**ended))
        assert unseen.mark_all() > 0
        assert unseen.mark_all() == 0
        assert delivery_actions.resend_failed(timedelta(hours=1)) == 1
    entries = noted(start)
    assert {entry.user_name for entry in entries} == {"Mara"}
    facts = [(entry.action, entry.object, entry.after) for entry in entries]
    assert facts[:3] == [
        ("event.published", "Restore Failed", {"event": event_id}),
        (
            "delivery.cancelled",
            "Ops",
            {"delivery": waits.delivery_id, "event": "restore_failure"},
        ),
        ("delivery.resent", "Ops", {"delivery": waits.delivery_id}),
    ]
    assert [action for action, _, _ in facts[3:]] == ["deliveries.seen", "deliveries.resent"]


def test_a_change_that_is_rolled_back_leaves_no_entry(app: Flask) -> None:
    start = last_id()

    def fail() -> None:
        with transaction() as session:
            session.add(User(email="x@e.org", email_key="x@e.org", name="X", password_hash="x"))
            session.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert noted(start) == []


def test_nobody_in_particular_is_the_system(app: Flask) -> None:
    make_channel()
    assert noted()[-1].user_name == "system"


def test_every_column_of_a_watched_table_is_shown_hidden_or_bookkeeping() -> None:
    """A column with a secret must have a name that hides it."""
    shown = {
        model.__tablename__: {
            name
            for name in audit_watch._columns(model(), watch)
            if not any(word in name for word in audit_watch.SECRET_WORDS) and name != "config"
        }
        for model, watch in audit_watch.WATCHED.items()
    }
    assert shown["user"] == {"email", "name", "role", "active", "timezone"}
    assert shown["channel"] == {"type", "name", "enabled", "fallback_id"}
    assert shown["source"] == {"type", "name"}
    assert shown["destination"] >= {"type", "name"}
    for model in audit_watch.WATCHED:
        assert inspect(model) is not None


# append-only ------------------------------------------------------------------------------------


def refuse_changes() -> None:
    with transaction() as session:
        audit.note(session, "test")
    for statement in (
        update(AuditEntry).values(user_name="somebody else"),
        delete(AuditEntry),
    ):
        with pytest.raises(DBAPIError, match="cannot be changed"), transaction() as session:
            session.execute(statement)
    assert [entry.user_name for entry in noted()] == ["system"]


def test_the_database_refuses_changes(app: Flask) -> None:
    refuse_changes()


def test_sqlite_refuses_to_replace_an_entry(app: Flask) -> None:
    make_channel()
    entry = noted()[-1]
    columns = "id, at, user_name, ip_address, action, object"
    values = f"{entry.id}, '2026-01-01', '', '', 'forged', ''"
    for verb in ("INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"):
        statement = text(f"{verb} INTO audit_entry ({columns}) VALUES ({values})")
        with pytest.raises(DBAPIError, match="cannot be changed"), transaction() as session:
            session.execute(statement)
    assert noted()[-1].action == entry.action


@pytest.mark.postgres
def test_postgresql_refuses_changes(postgres_app: Flask) -> None:
    refuse_changes()
    with pytest.raises(DBAPIError), transaction() as session:
        session.execute(text("TRUNCATE audit_entry"))
    for statement in ("DELETE FROM audit_entry", "TRUNCATE audit_entry"):
        as_replica = text(f"SET LOCAL session_replication_role = replica; {statement}")
        with pytest.raises(DBAPIError, match="cannot be changed"), transaction() as session:
            session.execute(as_replica)


def test_no_code_changes_entries() -> None:
    root = Path(audit.__file__).parents[1]
    for path in root.rglob("*.py"):
        words = path.read_text(encoding="utf-8")
        assert "update(AuditEntry" not in words, path
        assert "delete(AuditEntry" not in words or path.name == "audit_log.py", path


def aged(days: int) -> None:
    with transaction() as session:
        session.add(AuditEntry(action=f"{days} days ago", at=clock.now() - timedelta(days=days)))


def test_old_entries_go_after_the_time_that_was_set(app: Flask) -> None:
    for days in (1, 364, 400):
        aged(days)
    security_settings.save(SecuritySettings(audit_days=365))
    with transaction() as session:
        audit_log.prune(session)
    kept = {entry.action for entry in noted()}
    assert {"1 days ago", "364 days ago"} <= kept
    assert "400 days ago" not in kept


@pytest.mark.postgres
def test_old_entries_go_on_postgresql(postgres_app: Flask) -> None:
    aged(40)
    aged(3)
    security_settings.save(SecuritySettings(audit_days=30))
    with transaction() as session:
        audit_log.prune(session)
    assert [each.action for each in noted() if "ago" in each.action] == ["3 days ago"]


# reading ----------------------------------------------------------------------------------------


def test_pages_go_by_key_and_back(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "PAGE_SIZE", 3)
    with transaction() as session:
        for number in range(8):
            audit.note(session, "test", str(number))

    def objects(page: audit_log.AuditPage) -> list[str]:
        return [entry.object for entry in page.entries]

    first = audit_log.page(Filters())
    assert (objects(first), first.newer) == (["7", "6", "5"], None)
    second = audit_log.page(Filters(), before=first.older or 0)
    assert objects(second) == ["4", "3", "2"]
    third = audit_log.page(Filters(), before=second.older or 0)
    assert (objects(third), third.older) == (["1", "0"], None)
    back = audit_log.page(Filters(), after=third.newer or 0)
    assert objects(back) == ["4", "3", "2"]
    assert objects(audit_log.page(Filters(), after=back.newer or 0)) == ["7", "6", "5"]


def test_filters_narrow_by_person_action_and_time(app: Flask) -> None:
    with transaction() as session:
        audit.note(session, "sign_in", by=MARA)
        audit.note(session, "sign_in.failed", by=Actor("nobody"))
    aged(10)

    def actions(**values: Any) -> set[str]:
        return {entry.action for entry in audit_log.page(Filters(**values)).entries}

    assert actions(user_name="Mara") == {"sign_in"}
    assert actions(action="failed") == {"sign_in.failed"}
    assert actions(since=timedelta(days=1)) == {"sign_in", "sign_in.failed"}


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "  =1", "＝1"])
def test_no_cell_is_taken_for_a_formula(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"
    assert harmless(f"a{cell}") == f"a{cell}"


def test_the_export_has_everything_and_no_formulas(app: Flask) -> None:
    with transaction() as session:
        audit.note(session, "test", '=HYPERLINK("http://evil")', by=Actor("@mara", 1, "192.0.2.1"))
    content = b"".join(audit_log.export(Filters())).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert rows[0]["object"] == '\'=HYPERLINK("http://evil")'
    assert rows[0]["user"] == "'@mara"
    assert noted()[-1].action == "audit.exported"


def test_every_action_of_the_code_has_its_group() -> None:
    """What the code notes can be found by the filter."""
    import re

    root = Path(audit.__file__).parents[1]
    grouped = {action for actions in audit_log.GROUPS.values() for action in actions}
    literal = re.compile(
        r'(?:audit\.note(?:_alone|_change)?|_note)\(\s*(?:session,\s*)?"([a-z_.]+)"'
    )
    used = {
        action
        for path in root.rglob("*.py")
        for action in literal.findall(path.read_text(encoding="utf-8"))
    }
    assert len(used) > 10
    assert used - grouped == set()
