"""A bucket of Amazon S3 or of a service that speaks like it: files appear whole, or not at all."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

from webapp.backup.destinations import probing
from webapp.backup.destinations.base import Destination, Entry
from webapp.backup.destinations.s3_errors import words
from webapp.backup.destinations.s3_form import S3Form
from webapp.backup.destinations.s3_upload import Upload
from webapp.backup.errors import BackupError
from webapp.backup.sources.base import Reader, Writer
from webapp.core import clock

if TYPE_CHECKING:
    from botocore.client import BaseClient

CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 60
TRIES: Final = 4
PAGE_SIZE: Final = 1000  # of a list; the most that the protocol gives at once
LEFT_AFTER: Final = timedelta(hours=25)  # a dump ends after 24
# nothing of the user who runs the server: neither files nor profiles
_OWN_SETTINGS: Final = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
# the names that runs give, so that uploads of others are left alone
_OURS: Final = re.compile(
    r"(?:.*/)?[^/]+/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(?:_[A-Za-z0-9-]+)?-\d+\.[a-z0-9.]+"
)


class S3(Destination):
    """A bucket, or a folder of one."""

    type = "s3"
    label = "S3"
    icon = "bucket"
    tagline = "Amazon S3, MinIO, Ceph, Wasabi and the like"
    form: ClassVar = S3Form

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return bucket, folder and host."""
        folder = f"/{config['prefix']}" if config.get("prefix") else ""
        host = urlsplit(config.get("endpoint") or "").netloc or f"Amazon {config['region']}"
        return f"{config['bucket']}{folder} at {host}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the secret key."""
        return (str(self.config["secret_key"]),)

    def probe(self) -> str:
        """Write, read back and delete a small file."""
        probing.round_trip(self, self.summarize(self.config))
        return f"Bucket {self.config['bucket']} in {self.config['region']}."

    @contextmanager
    def open_write(self, key: str) -> Iterator[Writer]:
        """Open a file that appears when the block ends well."""
        doing = f"write {key} to {self.config['bucket']}"
        with words(doing, self.config):
            if self._exists(key):
                raise BackupError(f"{key} is there already. Nothing is overwritten.")
        upload = Upload(self._client, self.config["bucket"], self._key(key), self.journal)
        writer = _S3Writer(upload, doing, self.config)
        try:
            yield writer
            with words(doing, self.config):
                upload.finish()
        except BaseException:
            upload.abort()
            raise

    @contextmanager
    def open_read(self, key: str) -> Iterator[Reader]:
        """Open a stored file."""
        doing = f"read {key} in {self.config['bucket']}"
        with words(doing, self.config):
            found = self._client.get_object(Bucket=self.config["bucket"], Key=self._key(key))
        with contextlib.closing(found["Body"]) as body:
            yield _S3Reader(body, doing, self.config)

    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """Return the files, sorted by key."""
        with words(f"list {self.config['bucket']}", self.config):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.config["bucket"],
                Prefix=self._key(prefix),
                PaginationConfig={"PageSize": PAGE_SIZE},
            )
            start = len(self._key(""))
            found = [
                Entry(entry["Key"][start:], entry["Size"], entry["LastModified"])
                for page in pages
                for entry in page.get("Contents", ())
                if not entry["Key"].endswith("/")
            ]
        return tuple(sorted(found, key=lambda entry: entry.key))

    def delete(self, key: str) -> None:
        """Delete the file; one that is not there is fine."""
        with words(f"delete {key} in {self.config['bucket']}", self.config):
            self._client.delete_object(Bucket=self.config["bucket"], Key=self._key(key))

    def size(self, key: str) -> int:
        """Return the size of the stored file in bytes."""
        with words(f"read {key} in {self.config['bucket']}", self.config):
            found = self._client.head_object(Bucket=self.config["bucket"], Key=self._key(key))
        return int(found["ContentLength"])

    def discard(self, ref: str) -> None:
        """Abort an upload that never ended."""
        from botocore.exceptions import ClientError

        upload_id, _, key = ref.partition(" ")
        with words(f"clean up {self.config['bucket']}", self.config):
            try:
                self._client.abort_multipart_upload(
                    Bucket=self.config["bucket"], Key=key, UploadId=upload_id
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "NoSuchUpload":
                    raise

    def sweep(self) -> int:
        """Abort uploads of ours that were begun more than a day ago and never ended."""
        bucket, count = self.config["bucket"], 0
        with words(f"clean up {bucket}", self.config):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=bucket, Prefix=self._key(""), PaginationConfig={"PageSize": PAGE_SIZE}
            )
            found = [upload for page in pages for upload in page.get("Uploads", ())]
            for upload in found:
                is_old = clock.now() - upload["Initiated"] > LEFT_AFTER
                if is_old and _OURS.fullmatch(upload["Key"]):
                    self._client.abort_multipart_upload(
                        Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    count += 1
        return count

    @cached_property
    def _client(self) -> "BaseClient":
        """Return the client, after its host was judged."""
        from boto3.session import Session
        from botocore.config import Config
        from botocore.session import Session as Core

        with words("connect", self.config):
            core = Core(session_vars=_OWN_SETTINGS)
            made = Session(botocore_session=core).client(
                "s3",
                endpoint_url=self.config.get("endpoint") or None,
                region_name=self.config["region"],
                aws_access_key_id=self.config["access_key"],
                aws_secret_access_key=self.config["secret_key"],
                verify=self._authorities(),
                config=Config(
                    signature_version="s3v4",
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": TRIES},
                    proxies={},
                    ignore_configured_endpoint_urls=True,
                    # services other than Amazon's often do not know the newer checksums
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": self.config.get("addressing") or "auto"},
                ),
            )
        self._judge(made.meta.endpoint_url)
        return made

    def _judge(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        if self.config.get("addressing") == "virtual":
            host = f"{self.config['bucket']}.{host}"
        self.reach.require(host, port)

    def _authorities(self) -> str | bool:
        chosen = self.config.get("ca_file") or self.reach.ca_file
        return str(chosen) if chosen else True

    def _exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.head_object(Bucket=self.config["bucket"], Key=self._key(key))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"404", "NoSuchKey", "NotFound"}:
                return False
            raise
        return True

    def _key(self, key: str) -> str:
        prefix = self.config.get("prefix")
        return f"{prefix}/{key}" if prefix else key


class _S3Writer:
    def __init__(self, upload: Upload, doing: str, config: Mapping[str, Any]) -> None:
        self._upload, self._doing, self._config = upload, doing, config

    def write(self, data: bytes, /) -> int:
        with words(self._doing, self._config):
            self._upload.write(data)
        return len(data)


class _S3Reader:
    def __init__(self, body: Any, doing: str, config: Mapping[str, Any]) -> None:
        self._body, self._doing, self._config = body, doing, config

    def read(self, size: int = -1, /) -> bytes:
        with words(self._doing, self._config):
            data: bytes = self._body.read(size if size >= 0 else None)
        return data
