"""What is in the target of a restore that was stopped: looked at, not assumed."""

from webapp.backup import replace
from webapp.backup.errors import BackupError
from webapp.backup.sources.base import Source
from webapp.backup.sources.mysql import Mysql
from webapp.core.scrub import conceal

UNTOUCHED = "Nothing had been loaded, so the target is as it was."


def look(source: Source, target: str, *, overwrite: bool) -> str:
    """Return a sentence about the target, after loading was stopped; it never raises."""
    try:
        there = replace.exists(source, target)
        if there and isinstance(source, Mysql) and source.server.is_being_restored(target):
            return (
                f"{target} is not whole: it has the table dbackup_restoring. Drop it before the "
                "next restore."
            )
    except BackupError as error:
        return f"Whether something is left in {target} could not be seen. " + conceal(
            str(error), source.secrets
        )
    if there and overwrite:
        return f"{target} is as it was before."
    if there:
        return f"Nothing of it was left. There is a {target} now, but this restore did not make it."
    if overwrite and isinstance(source, Mysql):
        return (
            f"There is no {target} now. If there was one, it had been dropped for the restore: "
            "restore a backup into it."
        )
    return f"Nothing of it was left: there is no {target}."
