"""Settings of one installation, read from the environment once, at the edge."""

import contextlib
import os
import secrets as random_secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, TypeVar, cast, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography.fernet import Fernet

from webapp.core.errors import AppError

PREFIX: Final = "DBACKUP_"
PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]
HTMX_VERSION: Final = "2.0.10"
HTMX_URL: Final = f"https://cdn.jsdelivr.net/npm/htmx.org@{HTMX_VERSION}/dist/htmx.min.js"
HTMX_INTEGRITY: Final = "sha384-H5SrcfygHmAuTDZphMHqBJLc3FhssKjG7w/CeCpFReSfwBWDTKpkzPP8c+cLsK+V"

SHORTEST_SECRET_KEY: Final = 32
SHORTEST_METRICS_TOKEN: Final = 16

T = TypeVar("T")
D = TypeVar("D")
PrivateNetworks = Literal["self-hosted", "all", "none"]


class SettingsError(AppError):
    """The environment holds values that cannot be used; the text names every one of them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One installation. Every field is described in docs/operations.md with unit and example."""

    instance_path: Path
    secret_key: str = field(repr=False)
    encryption_keys: tuple[str, ...] = field(repr=False)
    database_url: str = field(repr=False)
    base_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    htmx_url: str = HTMX_URL
    dispatcher_threads: int = 64
    timezone: str = "UTC"
    trusted_proxies: int = 0
    allow_private_networks: PrivateNetworks = "self-hosted"
    ca_file: Path | None = None
    session_idle_minutes: int = 12 * 60
    session_days: int = 14
    history_days: int = 90
    metrics_token: str | None = field(default=None, repr=False)
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = field(default=None, repr=False)
    oidc_name: str = "your organisation"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read `DBACKUP_*` (each also as `DBACKUP_*_FILE`); create missing keys in the instance.

        Raises:
            SettingsError: one or more values cannot be used; all of them are named.
        """
        env = _Reader(environ)
        instance = env.get("INSTANCE_PATH", _path, PROJECT_ROOT / "instance")
        secret_key = env.get("SECRET_KEY", _secret_key, "")
        keys = env.get("ENCRYPTION_KEYS", _fernet_keys, ())
        draft = cls(
            instance_path=instance,
            secret_key=secret_key,
            encryption_keys=keys,
            database_url=env.get(
                "DATABASE_URL", _database_url, f"sqlite:///{instance / 'dbackup.db'}"
            ),
            base_url=env.get("BASE_URL", _base_url, None),
            host=env.get("HOST", str, cls.host),
            port=env.get("PORT", _number(1, 65_535), cls.port),
            htmx_url=env.get("HTMX_URL", _htmx_url, cls.htmx_url),
            dispatcher_threads=env.get(
                "DISPATCHER_THREADS", _number(4, 64), cls.dispatcher_threads
            ),
            timezone=env.get("TIMEZONE", _timezone, cls.timezone),
            trusted_proxies=env.get("TRUSTED_PROXIES", _number(0, 9), cls.trusted_proxies),
            allow_private_networks=env.get(
                "ALLOW_PRIVATE_NETWORKS", _private_networks, cls.allow_private_networks
            ),
            ca_file=env.get("CA_FILE", _existing_file, None),
            session_idle_minutes=env.get(
                "SESSION_IDLE_MINUTES", _number(5, 43_200), cls.session_idle_minutes
            ),
            session_days=env.get("SESSION_DAYS", _number(1, 365), cls.session_days),
            history_days=env.get("HISTORY_DAYS", _number(1, 3650), cls.history_days),
            metrics_token=env.get("METRICS_TOKEN", _metrics_token, None),
            oidc_issuer=env.get("OIDC_ISSUER", _issuer, cls.oidc_issuer),
            oidc_client_id=env.get("OIDC_CLIENT_ID", str, cls.oidc_client_id),
            oidc_client_secret=env.get("OIDC_CLIENT_SECRET", str, cls.oidc_client_secret),
            oidc_name=env.get("OIDC_NAME", str, cls.oidc_name),
        )
        env.raise_problems()
        instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        return replace(
            draft,
            secret_key=secret_key
            or _kept(instance / "secret_key", lambda: random_secrets.token_hex(32)),
            encryption_keys=keys
            or _fernet_keys(
                _kept(instance / "encryption_keys", lambda: Fernet.generate_key().decode())
            ),
        )

    @property
    def is_sqlite(self) -> bool:
        """Say whether the application's own database is SQLite."""
        return self.database_url.startswith("sqlite")


class _Reader:
    """Reads variables one by one and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def get(self, name: str, parse: Callable[[str], T], default: D) -> T | D:
        """Return the parsed value, or the default when it is missing, empty or wrong."""
        raw = self._raw(PREFIX + name)
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError as error:
            self._problems.append(f"{PREFIX}{name} {error}.")
            return default

    def _raw(self, name: str) -> str:
        path = self._environ.get(f"{name}_FILE")
        if path and name not in self._environ:
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                self._problems.append(
                    f"{name}_FILE: {path} cannot be read ({type(error).__name__})."
                )
        return self._environ.get(name, "").strip()

    def raise_problems(self) -> None:
        """Raise one SettingsError that names every problem, if there is any."""
        if self._problems:
            raise SettingsError("\n".join(self._problems))


def _kept(path: Path, create: Callable[[], str]) -> str:
    """Return the content of a key file, made with mode 0600 if it is not there yet.

    The file appears with its content or not at all, so two processes that start at once agree.
    """
    if not path.exists():
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(create() + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    return path.read_text(encoding="ascii").strip()


def _path(raw: str) -> Path:
    return Path(raw).expanduser().absolute()


def _existing_file(raw: str) -> Path:
    path = _path(raw)
    if not path.is_file():
        raise ValueError(f"must be a file that exists; there is none at {path}")
    return path


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not raw.isascii() or not raw.isdigit() or not lowest <= int(raw) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}, not {raw!r}")
        return int(raw)

    return parse


def _timezone(raw: str) -> str:
    try:
        ZoneInfo(raw)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(
            f"must be a name such as Europe/Berlin or UTC; {raw!r} is not known"
        ) from error
    return raw


def _private_networks(raw: str) -> PrivateNetworks:
    if raw not in get_args(PrivateNetworks):
        raise ValueError(f"must be self-hosted, all or none, not {raw!r}")
    return cast("PrivateNetworks", raw)


def _http_url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ValueError("must be an address such as https://backup.example.org")
    return raw


def _base_url(raw: str) -> str:
    return _http_url(raw).rstrip("/")


def _issuer(raw: str) -> str:
    """Accept HTTPS; plain HTTP only to this machine, where nobody listens in between."""
    parts = urlsplit(_http_url(raw))
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise ValueError("must begin with https://: the provider decides who gets in")
    return raw.rstrip("/")


def _htmx_url(raw: str) -> str:
    return raw if raw.startswith("/") and not raw.startswith("//") else _http_url(raw)


def _secret_key(raw: str) -> str:
    if len(raw) < SHORTEST_SECRET_KEY:
        raise ValueError(f"must have at least {SHORTEST_SECRET_KEY} characters")
    return raw


def _metrics_token(raw: str) -> str:
    if len(raw) < SHORTEST_METRICS_TOKEN or not raw.isascii() or not raw.isprintable():
        raise ValueError(
            f"must have at least {SHORTEST_METRICS_TOKEN} characters of ASCII, without line breaks"
        )
    return raw


def _fernet_keys(raw: str) -> tuple[str, ...]:
    keys = tuple(raw.replace(",", " ").split())
    try:
        for key in keys:
            Fernet(key)
    except ValueError as error:
        raise ValueError(
            "must hold Fernet keys (32 bytes in URL-safe base64), newest first, one per line"
        ) from error
    return keys


def _database_url(raw: str) -> str:
    """Accept SQLite and PostgreSQL; PostgreSQL is always spoken to through psycopg 3."""
    if raw.startswith("sqlite:///") and len(raw) > len("sqlite:///"):
        return raw
    for scheme in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if raw.startswith(scheme):
            return "postgresql+psycopg://" + raw.removeprefix(scheme)
    raise ValueError("must start with sqlite:/// (and a path) or postgresql://")
