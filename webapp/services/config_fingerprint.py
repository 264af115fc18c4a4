"""One hash over all that decides who is told about what, secrets included.

Two installations with the same fingerprint notify in the same way. Ids, health and times are left
out; an event without a stored setting counts with its defaults.
"""

import hashlib
import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.models.channel import ChannelRow
from webapp.notify.events import SYSTEM_EVENTS
from webapp.services import config_document
from webapp.services.installation import installation
from webapp.services.routing import event_routing
from webapp.services.transaction import reading


def notification_fingerprint() -> str:
    """Return the SHA-256 in hexadecimal.

    Raises:
        SecretError: a channel's configuration cannot be opened with the present keys.
    """
    with reading() as session:
        return fingerprint(session)


def fingerprint(session: Session) -> str:
    """Return the fingerprint of what this session sees."""
    document = config_document.collect(session, "").document
    known = {event["type"]: event["channels"] for event in document["events"]}
    rows = session.scalars(select(ChannelRow).order_by(ChannelRow.name)).all()
    opened = {row.name: installation().sealer.open(row.config) for row in rows}
    facts: dict[str, Any] = {
        "channels": [
            {
                "name": entry["name"],
                "type": entry["type"],
                "enabled": entry["enabled"],
                "fallback": entry["fallback"],
                "config": opened[entry["name"]],
            }
            for entry in sorted(document["channels"], key=lambda entry: str(entry["name"]))
        ],
        "global": document["global_channels"],
        "events": {
            event.type: _routing(session, event) | {"channels": known.get(event.type, [])}
            for event in SYSTEM_EVENTS
        },
        "jobs": {job["name"]: job["notifications"] for job in document["jobs"]},
    }
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _routing(session: Session, event: Any) -> dict[str, Any]:
    found = event_routing(session, event)
    return {
        "enabled": found.enabled,
        "custom": found.custom,
        "notify_user": str(found.notify_user),
    }
