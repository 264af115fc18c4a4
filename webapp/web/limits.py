"""How often one address may try: guesses of passwords and codes, whatever the account."""

import ipaddress
import time
from typing import Final

from flask import Flask, Response, request
from flask_limiter import Limiter, RequestLimit

from webapp.core.text import one_line
from webapp.web import errors
from webapp.web.errors import Words

REFUSED_TRIES: Final = "30 per 5 minutes"
IPV6_PREFIX: Final = 64  # what one customer gets; a single address is one of 2^64


def neighbourhood() -> str:
    """Return whom the tries of this request count for: an IPv4 address, or an IPv6 network."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if address.version == 6:
        mapped = address.ipv4_mapped
        if mapped is not None:
            return str(mapped)
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return str(address)


def _too_many(limit: RequestLimit) -> Response:
    seconds = max(1, int(limit.reset_at - time.time()) + 1)
    minutes = (seconds + 59) // 60
    span = f"{minutes} minute{'' if minutes == 1 else 's'}"
    words = Words(
        "Too many wrong attempts from your address",
        one_line(f"Wait {span}, then try again. Nobody is locked out for good."),
    )
    response = errors.answer(429, words)
    response.headers["Retry-After"] = str(seconds)
    return response


limiter = Limiter(
    key_func=neighbourhood, storage_uri="memory://", strategy="moving-window", headers_enabled=False
)
attempts = limiter.shared_limit(
    REFUSED_TRIES,
    scope="attempts",
    methods=["POST"],
    deduct_when=lambda response: response.status_code in {422, 429},
    on_breach=_too_many,
)
"""Decorates views that take a password or a code: only refused tries count, all views together."""


def init_app(app: Flask) -> None:
    """Attach the limits."""
    limiter.init_app(app)
