"""Where the server is killed: before and after each of these."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tests.torture.upgrades import STATEMENTS_OF_SQLITE


class Phase(StrEnum):
    """When in the life of a process a point is passed; it decides what is done to reach it."""

    START = "start"
    """While the process starts; a newer version is started, so that there is an upgrade to do."""
    RUNNING = "running"
    STOP = "stop"
    """While it stops: it is asked to, and passes do not count before."""


@dataclass(frozen=True)
class Point:
    """A function, and how many passes a life surely has."""

    place: str
    passes: int = 12
    phase: Phase = Phase.RUNNING


COMMIT: Final = "commit"
"""Not a function: around the commit of each transaction."""

# What a start passes is spread, so that each of these finds what killed processes left.
POINTS: Final = {
    "publish": Point("webapp.services.outbox:write"),
    "migrate": Point("webapp.services.schema:upgrade", 1, Phase.START),
    "claim": Point("webapp.services.claims:claim"),
    "due": Point("webapp.services.due:due_rows"),
    "statement": Point("alembic.ddl.impl:DefaultImpl._exec", STATEMENTS_OF_SQLITE, Phase.START),
    "admit": Point("webapp.services.admission:admit"),
    "render": Point("webapp.notify.channels.webhook:Webhook.render"),
    "attempt": Point("webapp.services.sending:attempt"),
    "takeover": Point("webapp.services.claims:release_dead_leases", 1, Phase.START),
    "request": Point("webapp.notify.outbound:Outbound.request"),
    "record": Point("webapp.services.outcomes:_record"),
    "stop": Point("webapp.workers.dispatcher:Dispatcher._release_lanes", 1, Phase.STOP),
    "retry": Point("webapp.services.outcomes:_after_error"),
    "health": Point("webapp.services.channel_health:note"),
    "migrated": Point("alembic.runtime.migration:_ProxyTransaction.__exit__", 1, Phase.START),
    "hand out": Point("webapp.workers.dispatcher:Dispatcher._hand_out"),
    "release": Point("webapp.services.claims:release", 1, Phase.STOP),
    COMMIT: Point("", 40),
    "last record": Point("webapp.workers.dispatcher:Dispatcher._record_last", 1, Phase.STOP),
}
SIDES: Final = ("before", "after")
NAMES: Final = tuple(f"{name}:{side}" for name in POINTS for side in SIDES)
