"""What the form of an SFTP destination asks."""

from typing import Any, ClassVar

from wtforms import StringField
from wtforms.validators import DataRequired, Length, NumberRange, Optional, ValidationError

from webapp.backup.destinations import sftp_keys
from webapp.core.form_fields import ConfigForm, NumberField, SecretField, SecretTextField

DEFAULT_PORT = 22


class SftpForm(ConfigForm):
    """A directory on a server that is reached by SSH."""

    bound_to: ClassVar[tuple[str, ...]] = ("host", "port")
    stays_here: ClassVar[tuple[str, ...]] = ("private_key", "passphrase")

    host = StringField(
        "Host",
        [DataRequired("Enter the name or address of the server."), Length(max=253)],
        description="Name or address, for example backup.example.org.",
    )
    port = NumberField(
        "Port",
        [NumberRange(1, 65_535, "Enter a number from 1 to 65535.")],
        default=DEFAULT_PORT,
    )
    user = StringField("User", [DataRequired("Enter the user's name."), Length(max=100)])
    path = StringField(
        "Directory",
        [DataRequired("Enter the directory on the server."), Length(max=120)],
        description="Full path, or one below the user's home. It is made when it does not exist.",
    )
    password = SecretField("Password")
    private_key = SecretTextField(
        "Private key",
        description="In OpenSSH or PEM form, stored encrypted. A reference such as file:/path "
        "works, too.",
    )
    passphrase = SecretField("Passphrase of the private key")
    host_key = StringField(
        "Host key",
        [Optional(), Length(max=1200)],
        description="How the server is known. Leave it empty and press Test connection: the key "
        "of the server is shown. Compare it with the server's own, then enter it here.",
    )

    def validate_host(self, field: StringField) -> None:
        """Refuse what is no host name."""
        if any(not c.isprintable() or c in " ,=@'\"\\/" for c in field.data or ""):
            raise ValidationError("Enter one name or address, without port, user or spaces.")

    def validate_path(self, field: StringField) -> None:
        """Refuse what could lead elsewhere."""
        path = field.data or ""
        if not path.isprintable() or ".." in path.split("/"):
            raise ValidationError("Enter a path without “..”.")

    def validate_password(self, field: SecretField) -> None:
        """Ask for one way to sign in."""
        key = self.private_key
        has_password = bool(field.data) or (field.is_stored and not field.is_cleared)
        has_key = bool(key.data) or (key.is_stored and not key.is_cleared)
        if not has_password and not has_key:
            raise ValidationError("Enter the password, or a private key below.")

    def validate_host_key(self, field: StringField) -> None:
        """Accept a public key or a fingerprint with its type."""
        try:
            sftp_keys.parse(field.data or "")
        except ValueError as error:
            raise ValidationError(
                "Enter it as the test shows it: ssh-ed25519 SHA256:…, or a line of a .pub file."
            ) from error

    def merged(self, stored: Any) -> dict[str, Any]:
        """Store the host key in its short form."""
        values = super().merged(stored)
        if typed := values["host_key"]:
            values["host_key"] = str(sftp_keys.parse(typed))
        return values
