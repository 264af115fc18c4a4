"""The menu of the house: every blueprint. A new page is its file and one line here."""

from typing import Final

from flask import Blueprint

BLUEPRINTS: Final[tuple[Blueprint, ...]] = ()
