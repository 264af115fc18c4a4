"""What the form of a MySQL or MariaDB source asks."""

from pathlib import Path
from typing import ClassVar

from wtforms import SelectField, StringField
from wtforms.validators import DataRequired, Length, NumberRange, Optional, ValidationError

from webapp.backup.sources import databases, options
from webapp.backup.sources.databases import DatabasesField
from webapp.core.form_fields import ConfigForm, NumberField, SecretField

DEFAULT_PORT = 3306
LONGEST_NAME = 64  # characters


class MysqlForm(ConfigForm):
    """Databases of a server."""

    bound_to: ClassVar[tuple[str, ...]] = ("host", "port", "ca_file")
    protected_by: ClassVar = {"tls": {"verify-full": 0, "require": 1, "prefer": 2, "disable": 3}}

    host = StringField(
        "Host",
        [DataRequired("Enter the name or address of the server."), Length(max=253)],
        description="Name or address, for example db.example.org, or the full path of a socket.",
    )
    port = NumberField(
        "Port",
        [NumberRange(1, 65_535, "Enter a number from 1 to 65535.")],
        default=DEFAULT_PORT,
    )
    database = DatabasesField("Databases", [DataRequired("Enter the name of a database.")])
    user = StringField("User", [DataRequired("Enter the user's name."), Length(max=128)])
    password = SecretField(
        "Password",
        description="Stored encrypted. Empty when the server asks for none. A reference such as "
        "env:NAME or file:/path works, too.",
    )
    tls = SelectField(
        "Encryption",
        choices={
            "prefer": "When the server offers it",
            "require": "Required",
            "verify-full": "Required, and the certificate must be valid for the host",
            "disable": "Off",
        },
        default="prefer",
    )
    ca_file = StringField(
        "Certificate authority file",
        [Optional(), Length(max=400)],
        description="Full path on this server; needed when the certificate is to be checked.",
    )
    flags = StringField(
        "More options of the dump program",
        [Optional(), Length(max=400)],
        description=options.help_for(options.MYSQL),
    )

    def validate_host(self, field: StringField) -> None:
        """Refuse lists of hosts and options in disguise."""
        if any(not c.isprintable() or c in " ,=@'\"\\" for c in field.data or ""):
            raise ValidationError("Enter one name or address, without port, user or spaces.")

    def validate_database(self, field: DatabasesField) -> None:
        """Refuse what no name may hold."""
        for name in databases.check(field, LONGEST_NAME):
            if name.startswith("-") or "/" in name or "\\" in name:
                raise ValidationError("A name holds characters that cannot be used.")

    def validate_user(self, field: StringField) -> None:
        """Refuse what no name may hold."""
        if not (field.data or "").isprintable():
            raise ValidationError("The name holds characters that cannot be used.")

    def validate_tls(self, field: SelectField) -> None:
        """Ask for the authority when the certificate is to be checked."""
        if field.data == "verify-full" and not self.ca_file.data:
            raise ValidationError("Enter the certificate authority file below, or choose another.")

    def validate_ca_file(self, field: StringField) -> None:
        """Accept absolute paths only: a relative one depends on where the server was started."""
        if field.data and (not field.data.isprintable() or not Path(field.data).is_absolute()):
            raise ValidationError("Enter the full path, beginning with a slash.")

    def validate_flags(self, field: StringField) -> None:
        """Accept only what cannot change where the dump goes or comes from."""
        options.validate(field, options.MYSQL)
