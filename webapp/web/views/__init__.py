"""The menu of the house: every blueprint. A new page is its file and one line here."""

from typing import Final

from flask import Blueprint

from webapp.web.views import (
    audit,
    auth,
    channels,
    configuration_backup,
    dashboard,
    deliveries,
    destinations,
    health,
    job_notifications,
    metrics,
    monitoring,
    notifications,
    oidc,
    profile,
    restores,
    retention,
    runs,
    second_factor,
    security,
    settings,
    sources,
    storage,
    storage_files,
    users,
)

BLUEPRINTS: Final[tuple[Blueprint, ...]] = (
    auth.bp,
    dashboard.bp,
    oidc.bp,
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
    storage_files.bp,
    restores.bp,
    retention.bp,
    configuration_backup.bp,
    security.bp,
    audit.bp,
    health.bp,
    monitoring.bp,
    metrics.bp,
)
