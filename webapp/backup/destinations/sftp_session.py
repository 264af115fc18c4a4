"""A connection to an SFTP server whose key is known."""

import contextlib
import socket
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from webapp.backup.destinations import sftp_keys
from webapp.backup.errors import BackupError, os_words
from webapp.backup.reach import Reach
from webapp.core.secrets import mask

if TYPE_CHECKING:
    import paramiko

SECRETS: Final = ("password", "private_key", "passphrase")
CONNECT_SECONDS: Final = 10.0
GREETING_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 60.0
KEEP_ALIVE_SECONDS: Final = 30
CHANGED: Final = (
    "The server's host key has changed. Either it was set up anew, or somebody else answers in its "
    "place, so nothing was sent. Known is {known}, it showed {shown}. When you are sure that it is "
    "right, empty the field Host key, test, and enter the new one."
)
UNKNOWN: Final = (
    "The server's host key is not confirmed yet. Compare the line below with what the server "
    "itself says (ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub), then enter it as Host key."
    "\n{shown}"
)


class Session:
    """Connects when it is first used, and anew after the connection was lost."""

    def __init__(self, config: Mapping[str, Any], reach: Reach) -> None:
        self._config, self._reach = config, reach
        self._sftp: paramiko.SFTPClient | None = None
        self._transport: paramiko.Transport | None = None

    @contextmanager
    def used(self, doing: str) -> "Iterator[paramiko.SFTPClient]":
        """Give the client; errors become a BackupError: "Cannot <doing>: …"."""
        import paramiko

        try:
            yield self._client()
        except (paramiko.SSHException, paramiko.SFTPError, EOFError) as error:
            host = self._config["host"]
            raise BackupError(
                f"Cannot {doing}: the connection to {host} was lost.\n{self._quoted(error)}".strip()
            ) from error
        except UnicodeDecodeError as error:
            raise BackupError(
                f"Cannot {doing}: a file there has a name that is not UTF-8. Rename it, or choose "
                "a directory for backups alone."
            ) from error
        except TimeoutError as error:
            raise BackupError(
                f"Cannot {doing}: {self._config['host']} does not answer any more."
            ) from error
        except OSError as error:
            raise BackupError(f"Cannot {doing}: {self._quoted(_words(error))}") from error

    def _quoted(self, said: object) -> str:
        """Return what somebody said, who may repeat the credentials."""
        values = (self._config.get(name) for name in SECRETS)
        return mask(str(said), (str(value) for value in values if value))

    def _client(self) -> "paramiko.SFTPClient":
        import paramiko

        if self._sftp is None or self._transport is None or not self._transport.is_active():
            self._transport = self._connect()
            # when the destination is let go of, its connection goes, too
            weakref.finalize(self, _close, self._transport)
            self._sftp = paramiko.SFTPClient.from_transport(self._transport)
            if self._sftp is None:
                raise BackupError("The server gives no SFTP session. Turn on its SFTP subsystem.")
            channel = self._sftp.get_channel()
            if channel is not None:
                channel.settimeout(ANSWER_SECONDS)
        return self._sftp

    def _connect(self) -> "paramiko.Transport":
        import paramiko

        config = self._config
        known = sftp_keys.parse(config["host_key"]) if config.get("host_key") else None
        transport = paramiko.Transport(self._socket())
        try:
            transport.banner_timeout = transport.auth_timeout = GREETING_SECONDS
            if known is not None:
                _ask_for(transport, known.type)
            try:
                transport.start_client(timeout=GREETING_SECONDS)
            except paramiko.SSHException as error:
                if known is not None and "no acceptable host key" in str(error).lower():
                    shown = "a key of another kind"
                    raise BackupError(CHANGED.format(known=known, shown=shown)) from error
                raise
            _require_known(transport, known)
            transport.set_keepalive(KEEP_ALIVE_SECONDS)
            self._sign_in(transport)
        except BaseException:
            _close(transport)
            raise
        return transport

    def _socket(self) -> socket.socket:
        host, port = self._config["host"], self._config["port"]
        self._reach.require(host, port)
        try:
            return socket.create_connection((host, port), CONNECT_SECONDS)
        except TimeoutError as error:
            raise BackupError(
                f"{host}:{port} cannot be reached. Check the address, the network and the firewall."
            ) from error
        except OSError as error:
            raise BackupError(
                f"Nothing answers at {host}:{port}. Check host and port, and that SSH runs there."
            ) from error

    def _sign_in(self, transport: "paramiko.Transport") -> None:
        import paramiko

        config = self._config
        try:
            if config.get("private_key"):
                key = sftp_keys.private(config["private_key"], config.get("passphrase") or "")
                missing = transport.auth_publickey(config["user"], key)
                if missing and config.get("password"):
                    missing = transport.auth_password(config["user"], config["password"])
            else:
                missing = transport.auth_password(config["user"], config.get("password") or "")
        except paramiko.BadAuthenticationType as error:
            allowed = ", ".join(error.allowed_types)
            raise BackupError(f"The server only lets in by: {allowed}. Enter that.") from error
        except paramiko.AuthenticationException as error:
            what = "private key" if config.get("private_key") else "password"
            raise BackupError(
                f"The server refused user {config['user']} or the {what}. Check both."
            ) from error
        if missing:
            raise BackupError(f"The server asks for more to sign in: {', '.join(missing)}.")


def _ask_for(transport: "paramiko.Transport", type_: str) -> None:
    """Let the server show the key that is known, of all that it has."""
    options = transport.get_security_options()
    wanted = {"rsa-sha2-512", "rsa-sha2-256"} if type_ == "ssh-rsa" else {type_}
    if chosen := [each for each in options.key_types if each in wanted]:
        options.key_types = chosen


def _require_known(transport: "paramiko.Transport", known: sftp_keys.HostKey | None) -> None:
    key = transport.get_remote_server_key()
    shown = sftp_keys.of(key.get_name(), key.asbytes())
    if known is None:
        kind = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}.get(shown.type, "ecdsa")
        raise BackupError(UNKNOWN.format(kind=kind, shown=shown))
    if shown != known:
        raise BackupError(CHANGED.format(known=known, shown=shown))


def _close(transport: "paramiko.Transport") -> None:
    with contextlib.suppress(Exception):
        transport.close()


def _words(error: OSError) -> str:
    if error.errno is not None:
        return os_words(error)
    if "Failure" in str(error):
        return "The server refused it without a reason; its disk may be full."
    return f"The server says: {error}."
