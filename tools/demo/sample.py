"""Fills a new demo: people, channels of every type, jobs that work, two weeks of history."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from flask import Flask
from sqlalchemy import select, update

from tests import demo
from tests.browser import PASSWORD
from tests.factories import make_channel
from tools.demo.services import config_of
from webapp.models.channel import ChannelRow
from webapp.models.job import DestinationRow, Job, SourceRow
from webapp.models.routing import Condition, JobChannel
from webapp.notify.channels import CHANNELS
from webapp.services import channels, users
from webapp.services.installation import installation
from webapp.services.transaction import transaction

NAMES: Final = {
    "discord": "db-backups",
    "slack": "#ops",
    "teams": "Operations team",
    "gotify": "Gotify at home",
    "ntfy": "Phones of the night shift",
    "webhook": "Audit webhook",
    "telegram": "Backup bot",
    "sms": "On-call phone",
    "email": "Ops mailing list",
    "apprise": "Mattermost through Apprise",
}
EVERYBODY_HEARS: Final = "wiki-daily"
SIGN_IN: Final = {"email": demo.EMAIL, "password": PASSWORD}


def prepare(app: Flask) -> None:
    """Mark every page, and fill the tables when nobody has an account yet."""
    app.context_processor(lambda: {"demo": SIGN_IN})
    if users.any_user():
        return
    demo.fill(live=False)
    _lead_channels_to_their_stand_ins()
    _let_jobs_work(Path(app.instance_path))


def _lead_channels_to_their_stand_ins() -> None:
    with transaction() as session:
        known = set(session.scalars(select(ChannelRow.name)))
    for kind in CHANNELS:
        if NAMES[kind.type] not in known:
            make_channel(name=NAMES[kind.type], type=kind.type)
    with transaction() as session:
        job_id = session.scalars(select(Job.id).where(Job.name == EVERYBODY_HEARS)).one()
        for row in session.scalars(select(ChannelRow)).all():
            channels.seal_into(row, config_of(row.type))
            row.broken_at = row.last_error = None
            if row.name not in known:
                told = JobChannel(job_id=job_id, channel_id=row.id, condition=Condition.ALWAYS)
                session.add(told)


def _let_jobs_work(instance: Path) -> None:
    """Give every job a small database that is there, and folders that are."""
    database = instance / "shop.db"
    with closing(sqlite3.connect(database)) as shop, shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, paid REAL)")
        shop.executemany(
            "INSERT INTO orders (item, paid) VALUES (?, ?)",
            [(f"Item {number % 97}", number * 1.25) for number in range(20_000)],
        )
    seal = installation().sealer.seal
    with transaction() as session:
        session.execute(
            update(SourceRow).values(
                type="sqlite", config=seal({"path": str(database)}), summary=str(database)
            )
        )
        for row in session.scalars(select(DestinationRow)):
            folder = instance / "backups" / row.name.replace(" ", "-")
            folder.mkdir(parents=True)
            row.config, row.summary = seal({"path": str(folder)}), str(folder)
