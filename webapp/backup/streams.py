"""Links of the pipeline: they count, compress and decompress what passes through."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from typing import IO, Final, cast

from webapp.backup.errors import BackupError
from webapp.backup.files import CHUNK
from webapp.backup.progress import Progress
from webapp.backup.sources.base import Reader, Writer

GZIP: Final = "gzip"
ZSTD: Final = "zstd"
NONE: Final = "none"
SUFFIXES: Final = {GZIP: ".gz", ZSTD: ".zst", NONE: ""}
LEVEL: Final = 6
ZSTD_LEVEL: Final = 3
ZSTD_JOB: Final = 1 << 20  # bytes
_GZIP_WINDOW: Final = 31  # 15 bits of window, and 16 for the gzip frame


class Metered:
    """Reports each chunk that is written, and stops when the run is cancelled."""

    def __init__(self, output: Writer, progress: Progress, total: int | None) -> None:
        self._output, self._progress, self._total = output, progress, total
        self.size = 0

    def write(self, data: bytes, /) -> int:
        """Pass on."""
        self._progress.check()
        self._output.write(data)
        self.size += len(data)
        self._progress.advance(self.size, self._total)
        return len(data)


class Gzip:
    """Compresses; `finish` writes the end of the frame."""

    def __init__(self, output: Writer) -> None:
        self._output = output
        self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def write(self, data: bytes, /) -> int:
        """Compress and pass on what is ready."""
        if ready := self._compressor.compress(data):
            self._output.write(ready)
        return len(data)

    def finish(self) -> None:
        """Pass on the rest."""
        self._output.write(self._compressor.flush())


class Zstd:
    """Compresses in a thread beside the dump; `finish` writes the end of the frame.

    Small jobs for that thread: with those that the library chooses itself, 100 MB wait in memory.
    """

    def __init__(self, output: Writer) -> None:
        import zstandard

        self._output = output
        parameters = zstandard.ZstdCompressionParameters.from_level(
            ZSTD_LEVEL, threads=1, job_size=ZSTD_JOB, write_checksum=True
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def write(self, data: bytes, /) -> int:
        """Compress and pass on what is ready."""
        if ready := self._compressor.compress(data):
            self._output.write(ready)
        return len(data)

    def finish(self) -> None:
        """Pass on the rest."""
        self._output.write(self._compressor.flush())


class Plain:
    """Passes on as it is."""

    def __init__(self, output: Writer) -> None:
        self.write = output.write

    def finish(self) -> None:
        """Do nothing: there is no frame."""


COMPRESSORS: Final[dict[str, Callable[[Writer], Gzip | Zstd | Plain]]] = {
    ZSTD: Zstd,
    GZIP: Gzip,
    NONE: Plain,
}


class Counted:
    """Reports each chunk that is read, and stops when the run is cancelled."""

    def __init__(self, source: Reader, progress: Progress, total: int | None) -> None:
        self._source, self._progress, self._total = source, progress, total
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        """Pass on."""
        self._progress.check()
        data = self._source.read(size)
        self.size += len(data)
        self._progress.advance(self.size, self._total)
        return data

    def digest(self) -> str:
        """Read to the end and return the SHA-256 of it, in hexadecimal."""
        hashed = hashlib.sha256()
        while chunk := self.read(CHUNK):
            hashed.update(chunk)
        return hashed.hexdigest()


class Bounded:
    """Refuses a dump that becomes larger than its manifest says: a bomb, or damage."""

    def __init__(self, source: Reader, largest: int | None) -> None:
        self._source, self._largest = source, largest
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        """Pass on."""
        data = self._source.read(size)
        self._size += len(data)
        if self._largest is not None and self._size > self._largest:
            raise BackupError(
                "The dump is larger than its manifest says. It is damaged, or was made to fill "
                "this disk: restore another backup."
            )
        return data


class Gunzip:
    """Decompresses, a chunk at a time."""

    def __init__(self, source: Reader) -> None:
        self._file = gzip.GzipFile(fileobj=cast("io.BufferedIOBase", source), mode="rb")

    def read(self, size: int = -1, /) -> bytes:
        """Return decompressed bytes."""
        try:
            return self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BackupError(
                "The artifact is damaged: it cannot be decompressed. Restore another one."
            ) from error


class Unzstd:
    """Decompresses, a chunk at a time."""

    def __init__(self, source: Reader) -> None:
        import zstandard

        self._trouble = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor().stream_reader(
            cast("IO[bytes]", source), read_size=CHUNK, read_across_frames=True
        )

    def read(self, size: int = -1, /) -> bytes:
        """Return decompressed bytes."""
        try:
            return self._reader.read(size)
        except self._trouble as error:
            raise BackupError(
                "The artifact is damaged: it cannot be decompressed. Restore another one."
            ) from error


def decompressed(source: Reader, compression: str) -> Reader:
    """Return a reader of the dump itself.

    Raises:
        BackupError: this version does not know the compression.
    """
    if compression == NONE:
        return source
    if compression == GZIP:
        return Gunzip(source)
    if compression == ZSTD:
        return Unzstd(source)
    raise BackupError(f"The artifact is compressed with {compression}, which is not known here.")
