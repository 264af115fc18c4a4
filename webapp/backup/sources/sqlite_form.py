"""What the form of a SQLite source asks."""

from pathlib import Path

from wtforms import StringField
from wtforms.validators import DataRequired, Length, ValidationError

from webapp.core.form_fields import ConfigForm


class SqliteForm(ConfigForm):
    """A file on the server."""

    path = StringField(
        "Database file",
        [DataRequired("Enter the path of the database file."), Length(max=400)],
        description="Full path on the server that runs DBackup, for example /srv/shop/shop.db.",
    )

    def validate_path(self, field: StringField) -> None:
        """Accept absolute paths only: a relative one depends on where the server was started."""
        if "\0" in (field.data or "") or not Path(field.data or "").is_absolute():
            raise ValidationError("Enter the full path, beginning with a slash.")
