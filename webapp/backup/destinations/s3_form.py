"""What the form of an S3 destination asks."""

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from wtforms import SelectField, StringField
from wtforms.validators import DataRequired, Length, Optional, ValidationError

from webapp.core.form_fields import ConfigForm, SecretField

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


class S3Form(ConfigForm):
    """A bucket."""

    bucket = StringField("Bucket", [DataRequired("Enter the bucket's name."), Length(max=63)])
    prefix = StringField(
        "Folder",
        [Optional(), Length(max=120)],
        description="Everything is kept under it, for example backups/shop. Empty: in the bucket "
        "itself.",
    )
    endpoint = StringField(
        "Endpoint",
        [Optional(), Length(max=300)],
        description="Address of the service, for example https://s3.example.org:9000. Empty for "
        "Amazon.",
    )
    region = StringField(
        "Region",
        [DataRequired("Enter the region; many services take us-east-1."), Length(max=40)],
        default="us-east-1",
    )
    access_key = StringField(
        "Access key", [DataRequired("Enter the access key's id."), Length(max=200)]
    )
    secret_key = SecretField("Secret key", required=True)
    addressing = SelectField(
        "Bucket in the address",
        choices={
            "auto": "Automatic",
            "path": "In the path (MinIO, Ceph and others)",
            "virtual": "In the host name",
        },
        default="auto",
    )
    ca_file = StringField(
        "Certificate authority file",
        [Optional(), Length(max=400)],
        description="Full path on this server; only for certificates of an authority of your own.",
    )

    def validate_bucket(self, field: StringField) -> None:
        """Accept names that every service takes."""
        if not _BUCKET.fullmatch((field.data or "").strip()):
            raise ValidationError(
                "Enter the name alone, without s3:// and folders: 3 to 63 letters, digits, dots, "
                "hyphens and underscores."
            )

    def validate_prefix(self, field: StringField) -> None:
        """Refuse what could not be listed again."""
        path = (field.data or "").strip().strip("/")
        if not path.isprintable() or any(part in {"", ".", ".."} for part in path.split("/")[:-1]):
            raise ValidationError("Enter folders joined by slashes, for example backups/shop.")

    def validate_endpoint(self, field: StringField) -> None:
        """Accept an address without path and credentials."""
        try:
            parts = urlsplit((field.data or "").strip())
            wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
        except ValueError:
            wrong = True
        if wrong or "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValidationError(
                "Enter https://, the host and perhaps a port, without the bucket."
            )

    def validate_region(self, field: StringField) -> None:
        """Refuse what cannot be part of a host name."""
        if not re.fullmatch(r"[A-Za-z0-9-]+", (field.data or "").strip()):
            raise ValidationError("Enter letters, digits and hyphens, for example eu-central-1.")

    def validate_ca_file(self, field: StringField) -> None:
        """Accept absolute paths only: a relative one depends on where the server was started."""
        if field.data and not Path(field.data).is_absolute():
            raise ValidationError("Enter the full path, beginning with a slash.")

    def merged(self, stored: Any) -> dict[str, Any]:
        """Store the folder without slashes around it."""
        values = super().merged(stored)
        values["prefix"] = str(values["prefix"] or "").strip("/")
        return values
