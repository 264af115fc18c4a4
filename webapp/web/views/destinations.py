"""Destinations: the places where backups are kept."""

from typing import Final

from webapp.services import destinations
from webapp.web.connection_pages import Words, blueprint

WORDS: Final = Words(
    noun="destination",
    title="Destinations",
    lead="Places where backups are kept. Test one before you rely on it.",
    new_lead="Say where backups are to be kept, and test it before you save.",
    empty="A destination is a place for backups. Without one, no job can run.",
    icon="hdd-stack",
    deleting="The files that are stored there stay, but DBackup forgets them.",
)

bp = blueprint("destinations", destinations.BOOK, WORDS)
