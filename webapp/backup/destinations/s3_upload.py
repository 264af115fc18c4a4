"""Uploads a stream of unknown length in parts, one of them on its way while the next one fills."""

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from webapp.backup.errors import BackupError
from webapp.backup.journal import Journal

MEGABYTE: Final = 1 << 20
MOST_PARTS: Final = 10_000  # of the protocol
# from this part on, parts of that many bytes: memory stays flat, and 470 GB fit into the parts
_SIZES: Final = (
    (1, 8 * MEGABYTE),
    (1001, 16 * MEGABYTE),
    (2001, 32 * MEGABYTE),
    (4001, 64 * MEGABYTE),
)


def reference(key: str, upload_id: str) -> str:
    """Return what names an upload in a journal."""
    return f"{upload_id} {key}"


class Upload:
    """One object; it exists when `finish` returns, and nothing of it after `abort`."""

    def __init__(self, client: Any, bucket: str, key: str, journal: Journal) -> None:
        self._client, self._journal = client, journal
        self._where = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._pool: ThreadPoolExecutor | None = None
        self._sending: Future[dict[str, Any]] | None = None

    def write(self, data: bytes) -> None:
        """Take the data; errors of the part that was on its way are raised here."""
        self._buffer += data
        size = self._part_size()
        while len(self._buffer) >= size:
            part = bytes(memoryview(self._buffer)[:size])
            del self._buffer[:size]
            self._send(part)

    def finish(self) -> None:
        """Send the rest and make the object."""
        if self._upload_id is None:
            self._client.put_object(**self._where, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._send(bytes(self._buffer))
        self._collect()
        self._client.complete_multipart_upload(
            **self._where, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
        )
        self._journal.ended(self._ref)
        self._upload_id = None
        self._stop()

    def abort(self) -> None:
        """Take back what was sent; that this fails is the smaller trouble."""
        self._stop()
        if self._upload_id is not None:
            with contextlib.suppress(Exception):
                self._client.abort_multipart_upload(**self._where, UploadId=self._upload_id)
                self._journal.ended(self._ref)

    @property
    def _ref(self) -> str:
        return reference(self._where["Key"], self._upload_id or "")

    def _send(self, part: bytes) -> None:
        if self._pool is None:
            self._upload_id = self._client.create_multipart_upload(**self._where)["UploadId"]
            self._journal.began(self._ref)
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="S3 part")
        self._collect()
        number = len(self._parts) + 1
        if number > MOST_PARTS:
            raise BackupError("The backup is larger than 470 GB, which S3 cannot take as a stream.")
        self._sending = self._pool.submit(self._upload_part, number, part)

    def _upload_part(self, number: int, part: bytes) -> dict[str, Any]:
        sent = self._client.upload_part(
            **self._where, UploadId=self._upload_id, PartNumber=number, Body=part
        )
        return {"PartNumber": number, "ETag": sent["ETag"]}

    def _collect(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            self._parts.append(sending.result())

    def _part_size(self) -> int:
        number = len(self._parts) + (1 if self._sending is None else 2)
        return max(size for start, size in _SIZES if number >= start)

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
