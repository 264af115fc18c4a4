"""Importing this package registers every table."""

from webapp.models import channel, delivery, job, routing, run, setting, user
from webapp.models.base import Base, db

__all__ = ["Base", "channel", "db", "delivery", "job", "routing", "run", "setting", "user"]
