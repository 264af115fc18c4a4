"""The menu of the house: every blueprint. A new page is its file and one line here."""

from typing import Final

from flask import Blueprint

from webapp.web.views import (
    auth,
    channels,
    configuration_backup,
    dashboard,
    deliveries,
    destinations,
    health,
    job_notifications,
    monitoring,
    notifications,
    profile,
    restores,
    retention,
    runs,
    second_factor,
    settings,
    sources,
    storage,
    users,
)

BLUEPRINTS: Final[tuple[Blueprint, ...]] = (
    auth.bp,
    dashboard.bp,
    profile.bp,
    second_factor.bp,
    users.bp,
    settings.bp,
    job_notifications.bp,
    runs.bp,
    sources.bp,
    destinations.bp,
    channels.bp,
    notifications.bp,
    deliveries.bp,
    storage.bp,
    restores.bp,
    retention.bp,
    configuration_backup.bp,
    health.bp,
    monitoring.bp,
)
