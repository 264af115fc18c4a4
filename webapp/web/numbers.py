"""Numbers in addresses and query strings that any database can hold."""

from typing import Any

from flask import Flask, request
from werkzeug.routing import IntegerConverter

from webapp.core.form_fields import LARGEST


class Id(IntegerConverter):
    """An id in an address; a longer number is no address of ours (404), not an error."""

    def __init__(self, map: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(map, *args, **{"max": LARGEST} | kwargs)


def asked(name: str) -> int:
    """Return a number of the query string; 0 when it is missing or nonsense."""
    return number(request.args.get(name, ""))


def number(value: str) -> int:
    """Return what a text says as an id; 0 when it is none."""
    if not (value.isascii() and value.isdecimal() and len(value) <= len(str(LARGEST))):
        return 0
    return min(int(value), LARGEST)


def init_app(app: Flask) -> None:
    """Take it for every `<int:…>`."""
    app.url_map.converters["int"] = Id
