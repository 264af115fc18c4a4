"""Turns domain errors into pages or fragments."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Attach to the application."""
