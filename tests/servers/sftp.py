"""A real SSH server with SFTP in a directory, whose disk can be full and whose line can break."""

import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import paramiko

HOST = "127.0.0.1"


class SftpServer:
    """Serves a directory at 127.0.0.1 to one user until the block ends."""

    def __init__(self, root: Path, host_key: paramiko.PKey | None = None) -> None:
        self.root = root
        self.host_key = host_key or paramiko.ECDSAKey.generate()
        self.user, self.password = "mara", "tall ships"
        self.allowed_key: paramiko.PKey | None = None
        self.room: int | None = None
        """Bytes that may be written before the disk is full."""
        self.breaks_after: int | None = None
        """Bytes that may be written before the line breaks."""
        self.leaves_at_rename = False
        """Whether it is away, for good, once a file has got its name."""
        self.says = ""
        """Words of its own, for every status that is none of success."""
        self.connections = 0
        self._transports: list[paramiko.Transport] = []
        self._socket = socket.create_server((HOST, 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "SftpServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.hang_up()
        self._thread.join()

    def hang_up(self) -> None:
        """End all connections."""
        _end(self._transports)

    def wrote(self, count: int) -> int:
        """Count what is written; say how an answer to it should be."""
        made = list(self._transports)  # a connection made after the break is none of these
        if self.breaks_after is not None:
            self.breaks_after -= count
            if self.breaks_after < 0:
                threading.Thread(target=_end, args=(made,), daemon=True).start()
        if self.room is not None:
            self.room -= count
            if self.room < 0:
                return paramiko.SFTP_FAILURE
        return paramiko.SFTP_OK

    def renamed(self) -> None:
        """Leave, if that was asked for; who calls may hear the answer or not."""
        if self.leaves_at_rename:
            self.password = "gone"
            threading.Thread(target=_end, args=(list(self._transports),), daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            transport.set_subsystem_handler("sftp", _Sftp, _Files, self)
            self._transports.append(transport)
            transport.start_server(event=threading.Event(), server=_Door(self))


def _end(transports: list[paramiko.Transport]) -> None:
    for transport in transports:
        transport.close()


class _Door(paramiko.ServerInterface):
    def __init__(self, server: SftpServer) -> None:
        self._server = server

    def get_allowed_auths(self, username: str) -> str:
        return "publickey" if self._server.allowed_key else "password"

    def check_auth_password(self, username: str, password: str) -> int:
        right = (username, password) == (self._server.user, self._server.password)
        allowed = right and self._server.allowed_key is None
        return paramiko.AUTH_SUCCESSFUL if allowed else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        right = username == self._server.user and key == self._server.allowed_key
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class _Sftp(paramiko.SFTPServer):
    def _send_status(self, request_number: int, code: int, desc: str | None = None) -> None:
        said = self.server.says if code != paramiko.SFTP_OK else ""
        super()._send_status(request_number, code, said or desc)


class _Handle(paramiko.SFTPHandle):
    def __init__(self, server: SftpServer, flags: int, number: int) -> None:
        super().__init__(flags)
        self._server, self._number = server, number

    def close(self) -> None:
        os.close(self._number)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._number, length, offset)

    def write(self, offset: int, data: bytes) -> int:
        answer = self._server.wrote(len(data))
        if answer == paramiko.SFTP_OK:
            os.pwrite(self._number, data, offset)
        return answer

    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self._number))

    def chattr(self, attr: paramiko.SFTPAttributes) -> int:
        os.fchmod(self._number, attr.st_mode or 0o600)
        return paramiko.SFTP_OK


class _Files(paramiko.SFTPServerInterface):
    def __init__(self, server: Any, root: SftpServer) -> None:
        super().__init__(server)
        self._server = root

    @property
    def says(self) -> str:
        return self._server.says

    def _at(self, path: str) -> Path:
        return self._server.root / self.canonicalize(path).lstrip("/")

    def list_folder(self, path: str) -> Any:
        try:
            found = []
            for name in os.listdir(self._at(path)):
                attributes: Any = paramiko.SFTPAttributes.from_stat((self._at(path) / name).stat())
                # names are bytes on the wire; this one may be no text
                attributes.filename = name if name.isprintable() else os.fsencode(name)
                found.append(attributes)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return found

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._at(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> Any:
        try:
            number = os.open(self._at(path), flags, 0o600)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return _Handle(self._server, flags, number)

    def remove(self, path: str) -> int:
        return self._do(self._at(path).unlink)

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        answer = self._do(lambda: self._at(oldpath).rename(self._at(newpath)))
        self._server.renamed()
        return answer

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return self._do(lambda: self._at(path).mkdir(attr.st_mode or 0o700))

    def _do(self, action: Any) -> int:
        try:
            action()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return paramiko.SFTP_OK
