"""The menu of the house: every blueprint. A new page is its file and one line here."""

from typing import Final

from flask import Blueprint

from webapp.web.views import auth, health, profile

BLUEPRINTS: Final[tuple[Blueprint, ...]] = (
    auth.bp,
    profile.bp,
    health.bp,
)
