"""What every use case may need of the running installation: its settings, keys and way out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from flask import Flask, current_app

from webapp.core.secrets import Sealer, keep_back
from webapp.core.settings import Settings
from webapp.notify.outbound import Outbound

_KEY: Final = "dbackup"


@dataclass(frozen=True)
class Installation:
    """Made once by `create_app`, reached through the application context."""

    settings: Settings
    sealer: Sealer
    outbound: Outbound


def install(app: Flask, settings: Settings) -> Installation:
    """Attach the installation to the application."""
    made = Installation(
        settings=settings,
        sealer=Sealer(settings.encryption_keys),
        outbound=Outbound(
            allow_private_networks=settings.allow_private_networks, ca_file=settings.ca_file
        ),
    )
    app.extensions[_KEY] = made
    keep_back(own_files(settings))
    return made


def own_files(settings: Settings) -> list[Path]:
    """Return the files that hold keys and accounts."""
    names = ("encryption_keys", "secret_key", "setup_code")
    files = [settings.instance_path / name for name in names]
    if settings.is_sqlite:
        files.append(Path(settings.database_url.removeprefix("sqlite:///")))
    return files


def installation() -> Installation:
    """Return the installation of the current application."""
    return cast("Installation", current_app.extensions[_KEY])
