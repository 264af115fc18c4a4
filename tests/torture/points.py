"""Where the server is killed: before and after each of these, and around every commit."""

from typing import Final

POINTS: Final = {
    "publish": "webapp.services.outbox:write",
    "claim": "webapp.services.claims:claim",
    "due": "webapp.services.due:due_rows",
    "admit": "webapp.services.admission:admit",
    "render": "webapp.notify.channels.webhook:Webhook.render",
    "attempt": "webapp.services.sending:attempt",
    "request": "webapp.notify.outbound:Outbound.request",
    "record": "webapp.services.outcomes:_record",
    "retry": "webapp.services.outcomes:_after_error",
    "health": "webapp.services.channel_health:note",
    "hand out": "webapp.workers.dispatcher:Dispatcher._hand_out",
    "release": "webapp.services.claims:release",
    "takeover": "webapp.services.claims:release_dead_leases",
    "stop": "webapp.workers.dispatcher:Dispatcher._release_lanes",
    "last record": "webapp.workers.dispatcher:Dispatcher._record_last",
    "migrate": "webapp.services.schema:upgrade",
}
SHUTDOWN: Final = frozenset({"stop", "last record", "release"})
"""These are passed while the server stops, so it is asked to."""

NAMES: Final = tuple(
    f"{name}:{side}" for name in (*POINTS, "commit") for side in ("before", "after")
)
