"""Sources: the databases that jobs back up."""

from typing import Final

from webapp.services import sources
from webapp.web.connection_pages import Words, blueprint

WORDS: Final = Words(
    noun="source",
    title="Sources",
    lead="Databases that jobs back up. Test one before you rely on it.",
    new_lead="Choose the kind of database, connect it, and test the connection before you save.",
    empty="A source is a database to back up. Add the first one, then make a job for it.",
    icon="database",
    deleting="The database itself and the backups of it stay as they are.",
)

bp = blueprint("sources", sources.BOOK, WORDS)
