"""Importing this package registers every table."""

from webapp.models import audit, channel, delivery, job, routing, run, security, setting, user
from webapp.models.base import Base, db

__all__ = [
    "Base",
    "audit",
    "channel",
    "db",
    "delivery",
    "job",
    "routing",
    "run",
    "security",
    "setting",
    "user",
]
