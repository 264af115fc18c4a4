"""Rows for tests: keyword arguments, everything else has a sane value."""

from itertools import count
from typing import Any

from tests.browser import PASSWORD
from webapp.models.channel import ChannelRow
from webapp.models.job import DestinationRow, Job, JobDestination, SourceRow
from webapp.models.user import Role, User
from webapp.services import passwords
from webapp.services.installation import installation
from webapp.services.transaction import transaction
from webapp.services.users import email_key

_numbers = count(1)
_HASH = passwords.hashed(PASSWORD)  # once: hashing is slow on purpose


def make_user(**values: Any) -> User:
    """Add an account; its password is tests.browser.PASSWORD unless `password` says otherwise."""
    number = next(_numbers)
    password = values.pop("password", None)
    email = values.pop("email", f"person{number}@example.org")
    user = User(
        **{
            "email": email,
            "email_key": email_key(email),
            "name": f"Person {number}",
            "role": Role.VIEWER,
            "password_hash": passwords.hashed(password) if password else _HASH,
        }
        | values
    )
    return _added(user)


def make_channel(**values: Any) -> ChannelRow:
    """Add a channel; `config` is given in the clear and sealed here."""
    config = values.pop("config", {"url": "https://hooks.example.org/backup"})
    row = ChannelRow(
        **{
            "type": "webhook",
            "name": f"Channel {next(_numbers)}",
            "config": installation().sealer.seal(config),
        }
        | values
    )
    return _added(row)


def make_source(**values: Any) -> SourceRow:
    """Add a source; `config` is given in the clear and sealed here."""
    config = values.pop("config", {"path": "/srv/app.db"})
    row = SourceRow(
        **{
            "type": "sqlite",
            "name": f"Source {next(_numbers)}",
            "config": installation().sealer.seal(config),
        }
        | values
    )
    return _added(row)


def make_destination(**values: Any) -> DestinationRow:
    """Add a destination; `config` is given in the clear and sealed here."""
    config = values.pop("config", {"path": "/srv/backups"})
    row = DestinationRow(
        **{
            "type": "local",
            "name": f"Destination {next(_numbers)}",
            "config": installation().sealer.seal(config),
        }
        | values
    )
    return _added(row)


def make_job(**values: Any) -> Job:
    """Add a job, with a source and `destinations` (ids) of its own unless given."""
    destinations = values.pop("destinations", None)
    if "source_id" not in values:
        values["source_id"] = make_source().id
    if destinations is None:
        destinations = [make_destination().id]
    job = _added(Job(**{"name": f"Job {next(_numbers)}"} | values))
    with transaction() as session:
        session.add_all(
            JobDestination(job_id=job.id, destination_id=destination_id, position=position)
            for position, destination_id in enumerate(destinations)
        )
    return job


def _added(row: Any) -> Any:
    with transaction() as session:
        session.add(row)
        session.flush()
        session.refresh(row)
    return row
