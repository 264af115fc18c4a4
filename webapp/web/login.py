"""Login manager."""

from flask import Flask

from webapp.core.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Attach to the application."""
