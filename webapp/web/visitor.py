"""Who is on the other end of this request: address, browser, and whether it is this machine."""

import re
from typing import Final

from flask import request

from webapp.services.sessions import Visitor
from webapp.services.setup_code import is_loopback
from webapp.services.users import Origin
from webapp.web import device
from webapp.web.login import signed_in_user

# first match wins: the others' names are part of these browsers' own
BROWSERS: Final = (
    ("Edge", re.compile(r"Edg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"(?:OPR|Opera)/(\d+)")),
    ("Samsung Internet", re.compile(r"SamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"(?:Headless)?(?:Chrome|CriOS|Chromium)/(\d+)")),
    ("Safari", re.compile(r"Version/(\d+)[\d.]* (?:Mobile/\w+ )?Safari")),
    ("curl", re.compile(r"curl/(\d+)")),
)
SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
LONGEST: Final = 60  # characters of a User-Agent that nobody knows
LONGEST_READ: Final = 1000  # characters of one; strangers could send 200,000 to the patterns
FORWARDING: Final = (
    *("CF-Connecting-IP", "Forwarded", "True-Client-IP", "Via", "X-Client-IP", "X-Forwarded-By"),
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto"),
    *("X-Forwarded-Server", "X-Real-IP"),
)
"""Headers by which proxies show themselves; that there is one is believed, not what it says."""


def browser_name(user_agent: str) -> str:
    """Return "Firefox 128 on Linux" for a User-Agent, or its beginning when it is unknown."""
    user_agent = user_agent[:LONGEST_READ]
    for name, pattern in BROWSERS:
        found = pattern.search(user_agent)
        if found:
            system = next((word for sign, word in SYSTEMS if sign in user_agent), "")
            return f"{name} {found[1]}" + (f" on {system}" if system else "")
    return user_agent[:LONGEST] or "Unknown browser"


def address() -> str:
    """Return the visitor's IP address; behind trusted proxies it is the one that they saw."""
    return request.remote_addr or "unknown"


def browser() -> str:
    """Return the visitor's browser in words."""
    return browser_name(request.user_agent.string)


def place() -> Visitor:
    """Return where the visitor comes from, for a session."""
    return Visitor(ip_address=address(), browser=browser(), device=device.known())


def origin() -> Origin:
    """Return the signed-in person with address and browser."""
    user = signed_in_user()
    return Origin(name=user.name if user else "", ip_address=address(), browser=browser())


def is_local() -> bool:
    """Say whether the visitor sits at this machine.

    A request that some proxy passed on, or that was made to another name, does not count: it may
    come from anywhere although its last hop is this machine.
    """
    forwarded = any(name in request.headers for name in FORWARDING)
    host = request.host.rpartition(":")[0] if re.search(r":\d+$", request.host) else request.host
    return not forwarded and is_loopback(address()) and is_loopback(host)
