"""The menu of databases. A new kind is its file and one line here."""

from typing import Final

from webapp.backup.sources.base import Source
from webapp.backup.sources.mysql import Mysql
from webapp.backup.sources.postgresql import Postgresql
from webapp.backup.sources.sqlite import Sqlite

SOURCES: Final[tuple[type[Source], ...]] = (Postgresql, Mysql, Sqlite)
BY_TYPE: Final = {source.type: source for source in SOURCES}
