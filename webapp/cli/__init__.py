"""The commands for the terminal. A new one is its file and one line here.

`dbackup` has them all and `serve`; `flask --app webapp.app` has them too.
"""

from typing import Final

import click

from webapp.cli.channels import channels
from webapp.cli.config import config
from webapp.cli.db import db
from webapp.cli.deliveries import deliveries
from webapp.cli.doctor import doctor
from webapp.cli.events import events
from webapp.cli.jobs import jobs
from webapp.cli.secrets import secrets
from webapp.cli.users import users

COMMANDS: Final[tuple[click.Command, ...]] = (
    users,
    channels,
    events,
    jobs,
    deliveries,
    config,
    secrets,
    doctor,
    db,
)
