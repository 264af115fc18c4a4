"""What the form of a local directory asks."""

from pathlib import Path

from wtforms import StringField
from wtforms.validators import DataRequired, Length, ValidationError

from webapp.core.form_fields import ConfigForm


class LocalForm(ConfigForm):
    """A directory on the server."""

    path = StringField(
        "Directory",
        [DataRequired("Enter the path of the directory."), Length(max=180)],
        description="Full path on the server that runs DBackup, for example /srv/backups. "
        "It is made when it does not exist.",
    )

    def validate_path(self, field: StringField) -> None:
        """Accept absolute paths only: a relative one depends on where the server was started."""
        path = field.data or ""
        if not path.isprintable() or not Path(path).is_absolute() or ".." in Path(path).parts:
            raise ValidationError("Enter the full path, beginning with a slash and without “..”.")
