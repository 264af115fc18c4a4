"""What the form of a PostgreSQL source asks."""

from pathlib import Path
from typing import ClassVar

from wtforms import SelectField, StringField
from wtforms.validators import DataRequired, Length, NumberRange, Optional, ValidationError

from webapp.backup.sources import databases, options
from webapp.backup.sources.databases import DatabasesField
from webapp.core.form_fields import ConfigForm, NumberField, SecretField

DEFAULT_PORT = 5432
LONGEST_NAME = 63  # characters


class PostgresqlForm(ConfigForm):
    """Databases of a server."""

    bound_to: ClassVar[tuple[str, ...]] = ("host", "port", "sslrootcert")
    protected_by: ClassVar = {
        "sslmode": {"verify-full": 0, "require": 1, "prefer": 2, "disable": 3}
    }

    host = StringField(
        "Host",
        [DataRequired("Enter the name or address of the server."), Length(max=253)],
        description="Name or address, for example db.example.org, or the directory of a socket.",
    )
    port = NumberField(
        "Port",
        [NumberRange(1, 65_535, "Enter a number from 1 to 65535.")],
        default=DEFAULT_PORT,
    )
    database = DatabasesField("Databases", [DataRequired("Enter the name of a database.")])
    user = StringField("User", [DataRequired("Enter the user's name."), Length(max=63)])
    password = SecretField(
        "Password",
        description="Stored encrypted. Empty when the server asks for none. A reference such as "
        "env:NAME or file:/path works, too.",
    )
    sslmode = SelectField(
        "Encryption",
        choices={
            "prefer": "When the server offers it",
            "require": "Required",
            "verify-full": "Required, and the certificate must be valid for the host",
            "disable": "Off",
        },
        default="prefer",
    )
    sslrootcert = StringField(
        "Certificate authority file",
        [Optional(), Length(max=400)],
        description="Full path on this server; needed when the certificate is to be checked.",
    )

    schemas = StringField(
        "Only these schemas",
        [Optional(), Length(max=400)],
        description="Names or patterns separated by commas, for example shop, audit_*. Empty: all.",
    )
    excluded_schemas = StringField(
        "Without these schemas",
        [Optional(), Length(max=400)],
        description="Names or patterns separated by commas.",
    )
    flags = StringField(
        "More options of pg_dump",
        [Optional(), Length(max=400)],
        description=options.help_for(options.POSTGRESQL),
    )

    def validate_host(self, field: StringField) -> None:
        """Refuse lists of hosts and options in disguise."""
        if any(not c.isprintable() or c in " ,=@'\\" for c in field.data or ""):
            raise ValidationError("Enter one name or address, without port, user or spaces.")

    def validate_database(self, field: DatabasesField) -> None:
        """Refuse what no name may hold."""
        databases.check(field, LONGEST_NAME)

    def validate_schemas(self, field: StringField) -> None:
        """Accept names and patterns of pg_dump."""
        options.validate_names(field)

    def validate_excluded_schemas(self, field: StringField) -> None:
        """Accept names and patterns of pg_dump."""
        options.validate_names(field)

    def validate_flags(self, field: StringField) -> None:
        """Accept only what cannot change where the dump goes or comes from."""
        options.validate(field, options.POSTGRESQL)

    def validate_sslmode(self, field: SelectField) -> None:
        """Ask for the authority when the certificate is to be checked."""
        if field.data == "verify-full" and not self.sslrootcert.data:
            raise ValidationError("Enter the certificate authority file below, or choose another.")

    def validate_sslrootcert(self, field: StringField) -> None:
        """Accept absolute paths only: a relative one depends on where the server was started."""
        if field.data and not Path(field.data).is_absolute():
            raise ValidationError("Enter the full path, beginning with a slash.")
