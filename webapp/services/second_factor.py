"""The second factor: codes of an authenticator app, and recovery codes for when it is lost."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from webapp.core import clock
from webapp.core.errors import ConflictError, InvalidError, NotFoundError, SecretError
from webapp.models.security import RecoveryCode
from webapp.models.user import User
from webapp.services import audit, preferences, throttle
from webapp.services.installation import installation
from webapp.services.transaction import reading, transaction

STEP: Final = 30  # seconds, as every authenticator app has it
DRIFT: Final = 1  # steps that a phone's clock may be off, either way
CODES: Final = 10
ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # no i, l, o, 0, 1
GROUP: Final = 5
GROUPS: Final = 5  # 25 characters: 123 bits, so a fast hash is enough to store them
APP: Final = "app"
RECOVERY: Final = "recovery code"
WRONG: Final = (
    "This code is wrong or was used already. Wait for the next one, and check your phone's clock."
)


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """What an authenticator app needs; shown until a code proves that it has it."""

    secret: str
    picture: str
    """The same as a QR code: SVG for the page."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How it stands with somebody's second factor."""

    on: bool
    codes_left: int


def status(user_id: int) -> Status:
    """Return whether somebody has one, and how many recovery codes are left."""
    with reading() as session:
        user = _get(session, user_id)
        unused = select(func.count()).where(
            RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None)
        )
        return Status(on=user.totp_secret is not None, codes_left=session.scalar(unused) or 0)


def enrol(user_id: int) -> Enrolment:
    """Make a key, or return the one that is not proven yet, so that a reload changes nothing.

    Raises:
        ConflictError: there is a second factor already.
    """
    import pyotp

    with reading() as session:
        user = _get(session, user_id)
        _refuse_second(user)
        secret = _open(user.totp_draft)
        name = preferences.load(session.connection()).instance_name
    if not secret:
        secret = pyotp.random_base32()
        with transaction() as session:
            _get(session, user_id).totp_draft = _seal(secret)
    address = pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=name)
    return Enrolment(secret=secret, picture=_picture(address))


def enable(user_id: int, code: str) -> tuple[str, ...]:
    """Turn it on with the first code of the app; return the recovery codes, shown this once.

    Raises:
        InvalidError: the code is wrong.
        ConflictError: there is a second factor already.
        TooManyError: too many wrong codes came before.
    """
    with transaction() as session:
        throttle.attempt(session, _key(user_id))
        user = _get(session, user_id, lock=True)
        _refuse_second(user)
        secret = _open(user.totp_draft)
        step = _step(secret, code, after=0) if secret else None
        if step is not None:
            throttle.passed(session, _key(user_id))
            user.totp_secret, user.totp_draft, user.totp_step = _seal(secret), None, step
            codes = _replace_codes(session, user_id)
            audit.note(session, "second_factor.enabled", user.email)
            return codes
    raise InvalidError(WRONG, "code")


def new_codes(user_id: int) -> tuple[str, ...]:
    """Replace the recovery codes; return the new ones, shown this once.

    Raises:
        ConflictError: there is no second factor.
    """
    with transaction() as session:
        user = _get(session, user_id, lock=True)
        if user.totp_secret is None:
            raise ConflictError("Set up the second factor first.")
        audit.note(session, "second_factor.new_codes", user.email)
        return _replace_codes(session, user_id)


def disable(user_id: int) -> User:
    """Take the second factor away: one's own, or somebody's who lost it."""
    with transaction() as session:
        user = _get(session, user_id, lock=True)
        had = user.totp_secret is not None
        user.totp_secret = user.totp_draft = None
        user.totp_step = 0
        session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
        if had:
            audit.note(session, "second_factor.disabled", user.email)
    return user


def accept(session: Session, user: User, code: str) -> str | None:
    """Return by what a code is right, which uses it up; None: it is wrong.

    `user` must be locked by this transaction, so that a code is not accepted twice at once.
    """
    secret = _open(user.totp_secret)
    step = _step(secret, code, after=user.totp_step) if secret else None
    if step is not None:
        user.totp_step = step
        return APP
    used = session.scalar(
        update(RecoveryCode)
        .where(
            RecoveryCode.user_id == user.id,
            RecoveryCode.code_hash == _hashed(code),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=clock.now())
        .returning(RecoveryCode.id)
        .execution_options(synchronize_session=False)
    )
    return None if used is None else RECOVERY


def _step(secret: str, code: str, *, after: int) -> int | None:
    """Return the time step whose code this is, if it is near and later than `after`."""
    import pyotp

    digits = "".join(code.split())
    if not (digits.isascii() and digits.isdigit()):
        return None
    app, now = pyotp.TOTP(secret), int(clock.now().timestamp()) // STEP
    found = None
    for step in range(now - DRIFT, now + DRIFT + 1):  # all of them, whichever fits
        if hmac.compare_digest(app.at(step * STEP), digits) and step > after:
            found = step
    return found


def _replace_codes(session: Session, user_id: int) -> tuple[str, ...]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes = tuple(_code() for _ in range(CODES))
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_hashed(code)) for code in codes)
    return codes


def _code() -> str:
    letters = [secrets.choice(ALPHABET) for _ in range(GROUP * GROUPS)]
    return "-".join("".join(letters[n : n + GROUP]) for n in range(0, len(letters), GROUP))


def _hashed(code: str) -> str:
    tidy = "".join(code.split()).replace("-", "").lower()
    return hashlib.sha256(tidy.encode()).hexdigest()


def _picture(address: str) -> str:
    import segno

    svg: str = segno.make(address, error="m").svg_inline(
        scale=4, border=4, dark="#000", light="#fff", svgclass="qr", lineclass=None
    )
    return svg


def _seal(secret: str) -> str:
    return installation().sealer.seal({"totp": secret})


def _open(sealed: str | None) -> str:
    """Return the key of the app; nothing when there is none, or when what opens it was lost.

    Recovery codes are hashes, so they let their owner in then, too.
    """
    if sealed is None:
        return ""
    try:
        return str(installation().sealer.open(sealed)["totp"])
    except SecretError:
        return ""


def _refuse_second(user: User) -> None:
    if user.totp_secret is not None:
        raise ConflictError("The second factor is set up already. Turn it off to start anew.")


def _key(user_id: int) -> str:
    return f"code:{user_id}"


def _get(session: Session, user_id: int, *, lock: bool = False) -> User:
    user = session.get(User, user_id, with_for_update=lock or None)
    if user is None:
        raise NotFoundError("There is no such account.")
    return user
