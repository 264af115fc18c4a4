"""Saves all settings as one file, and brings such a file into a fresh installation."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from webapp import __version__
from webapp.core import clock, foreign_json, passphrase
from webapp.core.errors import InvalidError
from webapp.notify.events.config_backup import ConfigBackup
from webapp.services import (
    audit,
    config_document,
    config_fingerprint,
    config_import,
    outbox,
    system_errors,
)
from webapp.services.config_fingerprint import notification_fingerprint
from webapp.services.config_import import Summary
from webapp.services.transaction import reading, transaction

__all__ = ["ExportFile", "Summary", "back_up", "export", "import_", "notification_fingerprint"]

logger = logging.getLogger(__name__)

COMPONENT: Final = "Configuration backup"
SEALED: Final = "sealed"
NOT_OURS: Final = "This is not a configuration backup of DBackup."


@dataclass(frozen=True, kw_only=True)
class ExportFile:
    """A configuration backup, ready to be written somewhere."""

    name: str
    content: bytes
    encrypted: bool


def _hand_over(_file: ExportFile) -> None:
    """Leave the file to the caller."""


def back_up(
    typed: str | None,
    *,
    destination: str,
    store: Callable[[ExportFile], None] = _hand_over,
) -> ExportFile:
    """Make a configuration backup, store it, and publish config_backup with it.

    `typed` is the passphrase; None leaves the secrets out. A failure, also one of `store`, is
    reported as system_error before it is raised.

    Raises:
        InvalidError: the passphrase is too short; this is nobody's failure and not reported.
        SecretError: a stored configuration cannot be opened with the present keys.
    """
    try:
        file = export(typed)
        store(file)
        with transaction() as session:
            outbox.publish(
                session,
                ConfigBackup(
                    file=file.name,
                    size=len(file.content),
                    encrypted=file.encrypted,
                    destination=destination,
                ),
            )
            facts = {"with_secrets": file.encrypted, "destination": destination}
            audit.note(session, "configuration.exported", file.name, after=facts)
    except InvalidError:
        raise
    except Exception as error:
        logger.exception("configuration backup failed")
        system_errors.report(COMPONENT, error)
        raise
    logger.info("configuration backup written", extra={"file": file.name})
    return file


def export(typed: str | None) -> ExportFile:
    """Return all settings as a file. Without a passphrase it holds no secrets.

    Raises:
        InvalidError: the passphrase is too short.
        SecretError: a stored configuration cannot be opened with the present keys.
    """
    if typed is not None:
        passphrase.require_strong(typed)
    with reading() as session:
        collected = config_document.collect(session, __version__)
        secrets = collected.secrets | {"fingerprint": config_fingerprint.fingerprint(session)}
    document = collected.document
    if typed is not None:
        clear = json.dumps(secrets, ensure_ascii=False).encode()
        document = document | {SEALED: passphrase.seal(clear, typed, _canonical(document))}
    content = json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"
    name = f"dbackup-config-{clock.now():%Y-%m-%dT%H-%M-%SZ}.json"
    return ExportFile(name=name, content=content, encrypted=typed is not None)


def import_(content: bytes, typed: str | None) -> Summary:
    """Write the settings of a file into this installation, which must be fresh.

    Accounts whose email exists here stay as they are. A file without secrets brings everything
    else; the summary names what has to be entered again.

    Raises:
        InvalidError: this is no configuration backup, it is damaged, or the passphrase is wrong.
        ConflictError: the installation is in use.
    """
    document = _parsed(content)
    sealed = document.pop(SEALED, None)
    if typed is not None and sealed is None:
        raise InvalidError("This file was made without secrets, so it needs no passphrase.")
    if typed is None and sealed is not None:
        raise InvalidError("The secrets in this file are sealed. Enter its passphrase.")
    secrets = None if typed is None else _opened(sealed, typed, document)
    with transaction() as session:
        config_import.require_fresh(session)
        counts, incomplete = config_import.write(session, document, secrets)
        audit.note(session, "configuration.imported", after=counts)
        summary = _summary(session, counts, incomplete, (secrets or {}).get("fingerprint"))
    logger.info("configuration imported", extra=counts)
    return summary


def _summary(
    session: Session, counts: Mapping[str, int], incomplete: list[str], expected: str | None
) -> Summary:
    found = config_fingerprint.fingerprint(session)
    return Summary(
        channels=counts["channels"],
        sources=counts["sources"],
        destinations=counts["destinations"],
        jobs=counts["jobs"],
        users=counts["users"],
        incomplete=tuple(incomplete),
        fingerprint=found,
        identical=None if expected is None else found == expected,
    )


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        document = foreign_json.loads(content)
    except ValueError as error:
        raise InvalidError(NOT_OURS) from error
    if not isinstance(document, dict) or document.get("format") != config_document.FORMAT:
        raise InvalidError(NOT_OURS)
    if document.get("version") != config_document.VERSION:
        raise InvalidError("This file was made by a newer version. Update DBackup, then import.")
    return document


def _opened(sealed: Any, typed: str, document: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(sealed, dict):
        raise InvalidError("The sealed part of this file is damaged.")
    secrets: dict[str, Any] = json.loads(
        passphrase.open_sealed(sealed, typed, _canonical(document))
    )
    return secrets


def _canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one spelling of the open part that the sealed part is bound to."""
    return json.dumps(document, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
