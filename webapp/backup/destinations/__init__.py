"""The menu of destinations. A new kind is its file and one line here."""

from typing import Final

from webapp.backup.destinations.base import Destination
from webapp.backup.destinations.local import Local
from webapp.backup.destinations.s3 import S3
from webapp.backup.destinations.sftp import Sftp

DESTINATIONS: Final[tuple[type[Destination], ...]] = (Local, S3, Sftp)
BY_TYPE: Final = {destination.type: destination for destination in DESTINATIONS}
