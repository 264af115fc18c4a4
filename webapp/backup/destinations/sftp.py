"""A directory on a server that is reached by SSH: files appear whole, or not at all."""

import contextlib
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from webapp.backup.destinations import probing
from webapp.backup.destinations.base import Destination, Entry, is_key
from webapp.backup.destinations.sftp_form import SftpForm
from webapp.backup.destinations.sftp_session import SECRETS, Session
from webapp.backup.errors import BackupError
from webapp.backup.sources.base import Reader, Writer

if TYPE_CHECKING:
    import paramiko

HALF: Final = ".half"
LEFT_AFTER_SECONDS: Final = 2 * 3600  # without a write; nobody can see whether its writer lives
FSYNC: Final = "fsync@openssh.com"


class Sftp(Destination):
    """A directory on another server; half-written files have hidden names."""

    type = "sftp"
    label = "SFTP"
    icon = "hdd-network"
    tagline = "A directory on another server, by SSH"
    form: ClassVar = SftpForm

    @classmethod
    def summarize(cls, config: Mapping[str, Any]) -> str:
        """Return user, host and path."""
        port = "" if config["port"] == 22 else f":{config['port']}"
        return f"{config['user']}@{config['host']}{port}:{config['path']}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return password, private key and its passphrase."""
        values = (self.config.get(name) for name in SECRETS)
        return tuple(str(value) for value in values if value)

    def probe(self) -> str:
        """Write, read back and delete a small file."""
        probing.round_trip(self, self.summarize(self.config))
        return "The server showed the host key that is known."

    @contextmanager
    def open_write(self, key: str) -> Iterator[Writer]:
        """Open a file that gets its name when the block ends well."""
        final, doing = self._path(key), f"write to {self._root}"
        folder, _, name = final.rpartition("/")
        half = f"{folder}/.{name}.{secrets.token_hex(4)}{HALF}"
        with self._session.used(doing) as sftp:
            _make(sftp, folder)
            if _exists(sftp, final):
                raise BackupError(f"{key} is there already. Nothing is overwritten.")
        ref = half.removeprefix(self._root).lstrip("/")
        self.journal.began(ref)
        file: paramiko.SFTPFile | None = None
        try:
            with self._session.used(doing) as sftp:
                file = sftp.open(half, "wxb")
            with self._session.used(doing):
                file.chmod(0o600)
                file.set_pipelined(True)
            writer = _SftpWriter(self._session, file, doing)
            yield writer
            with self._session.used(doing) as sftp:
                _sync(sftp, file)
                file.close()
                if sftp.stat(half).st_size != writer.size:
                    raise BackupError(f"Cannot {doing}: not all of it arrived. Is its disk full?")
                sftp.posix_rename(half, final)
        except BaseException:
            with contextlib.suppress(Exception):
                if file is not None:
                    file.close()
            with contextlib.suppress(BackupError):
                self.discard(ref)
                self.journal.ended(ref)
            raise
        self.journal.ended(ref)

    @contextmanager
    def open_read(self, key: str) -> Iterator[Reader]:
        """Open a stored file."""
        doing = f"read {key} in {self._root}"
        with self._session.used(doing) as sftp:
            file = sftp.open(self._path(key), "rb")
            size = file.stat().st_size
            file.prefetch(size, max_concurrent_requests=64)
        try:
            yield _SftpReader(self._session, file, doing)
        finally:
            with contextlib.suppress(Exception):
                file.close()

    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """Return the whole files, sorted by key."""
        with self._session.used(f"list {self._root}") as sftp:
            found = [
                entry
                for entry in _walk(sftp, self._root, "", prefix)
                if entry.key.startswith(prefix) and is_key(entry.key)
            ]
        return tuple(sorted(found, key=lambda entry: entry.key))

    def delete(self, key: str) -> None:
        """Delete the file; one that is not there is fine."""
        doing = f"delete {key} in {self._root}"
        with self._session.used(doing) as sftp, contextlib.suppress(FileNotFoundError):
            sftp.remove(self._path(key))

    def size(self, key: str) -> int:
        """Return the size of the stored file in bytes."""
        with self._session.used(f"read {key} in {self._root}") as sftp:
            return int(sftp.stat(self._path(key)).st_size or 0)

    def discard(self, ref: str) -> None:
        """Remove a half-written file."""
        folder, _, name = ref.rpartition("/")
        if not name.startswith(".") or not name.endswith(HALF):
            raise BackupError(f"{ref!r} is not the name of a half-written file.")
        path = f"{self._path(folder) if folder else self._root.rstrip('/')}/{name}"
        doing = f"clean up {self._root}"
        with self._session.used(doing) as sftp, contextlib.suppress(FileNotFoundError):
            sftp.remove(path)

    def sweep(self) -> int:
        """Remove half-written files to which nobody has written for hours."""
        now = time.time()
        with self._session.used(f"clean up {self._root}") as sftp:
            left = [
                entry.key
                for entry in _walk(sftp, self._root, "", "")
                if entry.key.rpartition("/")[2].startswith(".")
                and entry.key.endswith(HALF)
                and now - entry.modified_at.timestamp() > LEFT_AFTER_SECONDS
            ]
            for key in left:
                with contextlib.suppress(FileNotFoundError):
                    sftp.remove(f"{self._root}/{key}")
        return len(left)

    @cached_property
    def _session(self) -> Session:
        return Session(self.config, self.reach)

    @property
    def _root(self) -> str:
        return str(self.config["path"]).rstrip("/") or "/"

    def _path(self, key: str) -> str:
        if not is_key(key):
            raise BackupError(f"{key!r} cannot be the name of a backup.")
        return f"{self._root}/{key}"


class _SftpWriter:
    def __init__(self, session: Session, file: "paramiko.SFTPFile", doing: str) -> None:
        self._session, self._file, self._doing = session, file, doing
        self.size = 0

    def write(self, data: bytes, /) -> int:
        with self._session.used(self._doing):
            self._file.write(data)
        self.size += len(data)
        return len(data)


class _SftpReader:
    def __init__(self, session: Session, file: "paramiko.SFTPFile", doing: str) -> None:
        self._session, self._file, self._doing = session, file, doing

    def read(self, size: int = -1, /) -> bytes:
        with self._session.used(self._doing):
            return bytes(self._file.read(size if size >= 0 else None))


def _walk(sftp: "paramiko.SFTPClient", root: str, folder: str, prefix: str) -> Iterator[Entry]:
    """Yield the files in folders that may hold the prefix, hidden ones too."""
    try:
        found = sftp.listdir_attr(f"{root}/{folder}".rstrip("/") or "/")
    except FileNotFoundError:
        return
    for item in found:
        key = f"{folder}{item.filename}"
        if stat.S_ISDIR(item.st_mode or 0):
            inner = f"{key}/"
            if inner.startswith(prefix) or prefix.startswith(inner):
                yield from _walk(sftp, root, inner, prefix)
        elif stat.S_ISREG(item.st_mode or 0):
            changed = datetime.fromtimestamp(item.st_mtime or 0, UTC)
            yield Entry(key, int(item.st_size or 0), changed)


def _exists(sftp: "paramiko.SFTPClient", path: str) -> bool:
    try:
        sftp.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _make(sftp: "paramiko.SFTPClient", folder: str) -> None:
    if not folder or _exists(sftp, folder):
        return
    _make(sftp, folder.rpartition("/")[0])
    try:
        sftp.mkdir(folder, 0o700)
    except OSError:
        if not _exists(sftp, folder):  # else somebody was faster
            raise


def _sync(sftp: "paramiko.SFTPClient", file: "paramiko.SFTPFile") -> None:
    """Let the server put the file on its disk, where it knows how to."""
    from paramiko.sftp import CMD_EXTENDED

    file.flush()
    with contextlib.suppress(OSError):
        sftp._request(CMD_EXTENDED, FSYNC, file.handle)  # type: ignore[attr-defined]
