"""The menu of destinations. A new kind is its file and one line here."""

from typing import Final

from webapp.backup.destinations.base import Destination
from webapp.backup.destinations.local import Local

DESTINATIONS: Final[tuple[type[Destination], ...]] = (Local,)
BY_TYPE: Final = {destination.type: destination for destination in DESTINATIONS}
