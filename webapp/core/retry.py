"""When a delivery is tried again: a pure function of the error and the attempt."""

import random
from datetime import timedelta
from typing import Final

from webapp.core.errors import TransientError

STEPS: Final = tuple(
    timedelta(seconds=seconds) for seconds in (10, 60, 300, 900, 3600, 10_800, 21_600, 43_200)
)
EXPIRES_AFTER: Final = timedelta(hours=24)
SHORTEST_HINT: Final = timedelta(seconds=1)
LONGEST_HINT: Final = timedelta(hours=24)
JITTER: Final = (0.8, 1.2)


def delay(error: Exception, attempt: int) -> timedelta | None:
    """Return the wait after this attempt (1 is the first), or None to give up.

    The service's own hint counts when it is longer than ours, within 1 second to 24 hours. After
    the last step the last one repeats: it is the expiry of 24 hours that ends a delivery.
    """
    if not isinstance(error, TransientError):
        return None
    own = STEPS[min(attempt, len(STEPS)) - 1] * random.uniform(*JITTER)  # noqa: S311 - spreads load, guards nothing
    if error.retry_after is None:
        return own
    return max(own, min(max(error.retry_after, SHORTEST_HINT), LONGEST_HINT))
