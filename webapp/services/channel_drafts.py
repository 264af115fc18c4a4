"""Keeps secrets of a form that came back, so that nobody has to type them twice.

They travel in the page as a sealed token that only the same person's next try of the same form
opens, for an hour.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from webapp.core import clock
from webapp.core.errors import SecretError
from webapp.services.installation import installation

LASTS: Final = timedelta(hours=1)


def keep(purpose: str, user_id: int, secrets: Mapping[str, str]) -> str:
    """Return the token, or nothing when there is no secret. `purpose` names the form."""
    if not secrets:
        return ""
    return installation().sealer.seal(
        {
            "purpose": purpose,
            "user": user_id,
            "until": (clock.now() + LASTS).isoformat(),
            "secrets": dict(secrets),
        }
    )


def recall(token: str, purpose: str, user_id: int) -> dict[str, str]:
    """Return the secrets of a token; nothing when it is not for this form, person and hour."""
    if not token or not token.isascii():
        return {}
    try:
        kept = installation().sealer.open(token)
    except SecretError:
        return {}
    fits = kept.get("purpose") == purpose and kept.get("user") == user_id
    if not fits or datetime.fromisoformat(kept["until"]) < clock.now():
        return {}
    secrets: dict[str, str] = kept["secrets"]
    return secrets
