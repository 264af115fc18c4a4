"""Whether browsers can get htmx from where the pages say it is."""

from http.client import HTTPException
from typing import Any, Final
from urllib.request import Request, urlopen

from flask import current_app

from webapp.core.settings import PROJECT_ROOT

TIME_LIMIT: Final = 4.0  # seconds


def problem() -> str:
    """Return what is wrong and what to do, or nothing.

    This machine asks, not the admin's browser; it is a hint, and pages work without htmx too.
    """
    htmx: Any = current_app.jinja_env.globals["htmx"]
    url: str = htmx.url
    if url.startswith("/"):
        return _local_problem(url)
    try:
        with urlopen(Request(url, method="HEAD"), timeout=TIME_LIMIT):  # noqa: S310 - http(s) by Settings
            return ""
    except (OSError, HTTPException) as error:
        return (
            f"htmx cannot be loaded from {url} ({_reason(error)}). Pages work without it, but "
            "reload on every click. In a closed network run `make vendor` on a machine that has "
            "access, copy static/vendor/ here and start again."
        )


def _local_problem(url: str) -> str:
    if not url.startswith("/static/") or (PROJECT_ROOT / url.lstrip("/")).is_file():
        return ""
    return f"DBACKUP_HTMX_URL is {url}, but there is no such file. Run `make vendor`."


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", "") or error).split()) or type(error).__name__
