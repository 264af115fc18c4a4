"""Template filters."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Attach to the application."""
