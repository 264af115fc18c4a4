"""Every page of the product on the demo installation, for tests that look at all of them."""

from collections.abc import Callable
from typing import Final

from tests.demo import Demo
from webapp.notify.channels import BY_TYPE

Address = Callable[[Demo], str]

PAGES: Final[dict[str, Address]] = {
    "dashboard": lambda demo: "/",
    "channels": lambda demo: "/channels",
    "channel new": lambda demo: "/channels/new",
    "channel edit": lambda demo: f"/channels/{demo.channels['db-backups'].id}",
    "channel edit email": lambda demo: f"/channels/{demo.channels['Ops mailing list'].id}",
    "channel broken": lambda demo: f"/channels/{demo.channels['Night shift'].id}",
    "channel delete": lambda demo: f"/channels/{demo.channels['db-backups'].id}/delete",
    "settings notifications": lambda demo: f"/settings/notifications?test={demo.trial_id}",
    "settings general": lambda demo: "/settings/general",
    "settings monitoring": lambda demo: "/settings/monitoring",
    "settings configuration backup": lambda demo: "/settings/configuration-backup",
    "deliveries": lambda demo: "/deliveries",
    "deliveries none": lambda demo: "/deliveries?q=nothing-has-this-name",
    "delivery sent": lambda demo: f"/deliveries/{demo.delivery_ids['sent']}",
    "delivery failed": lambda demo: f"/deliveries/{demo.delivery_ids['failed']}",
    "delivery retried": lambda demo: f"/deliveries/{demo.delivery_ids['retrying']}",
    "jobs": lambda demo: "/jobs",
    "job new": lambda demo: "/jobs/new",
    "job edit": lambda demo: f"/jobs/{demo.jobs['nightly-orders'].id}",
    "job notifications": lambda demo: f"/jobs/{demo.jobs['nightly-orders'].id}/notifications",
    "job notifications none": lambda demo: f"/jobs/{demo.jobs['metrics-weekly'].id}/notifications",
    "job notifications gap": lambda demo: f"/jobs/{demo.jobs['wiki-daily'].id}/notifications",
    "job retention": lambda demo: f"/jobs/{demo.jobs['nightly-orders'].id}/retention",
    "runs": lambda demo: "/runs",
    "run success": lambda demo: f"/runs/{demo.runs['success']}",
    "run failure": lambda demo: f"/runs/{demo.runs['failure']}",
    "run partial": lambda demo: f"/runs/{demo.runs['partial']}",
    "run live": lambda demo: f"/runs/{demo.runs['running']}",
    "restores": lambda demo: "/restores",
    "restore new": lambda demo: f"/restores/new?artifact={demo.artifact_id}",
    "restore success": lambda demo: f"/restores/{demo.restores['success']}",
    "restore failure": lambda demo: f"/restores/{demo.restores['failure']}",
    "restore live": lambda demo: f"/restores/{demo.restores['running']}",
    "restore upload": lambda demo: "/restores/upload",
    "storage": lambda demo: "/storage",
    "storage files": lambda demo: f"/storage/{demo.destinations['nas'].id}/files",
    "sources": lambda demo: "/sources",
    "source new": lambda demo: "/sources/new",
    "source edit": lambda demo: f"/sources/{demo.sources['orders'].id}",
    "destinations": lambda demo: "/destinations",
    "destination new": lambda demo: "/destinations/new",
    "destination edit": lambda demo: f"/destinations/{demo.destinations['nas'].id}",
    "users": lambda demo: "/users",
    "user new": lambda demo: "/users/new",
    "user edit": lambda demo: f"/users/{demo.users['operator'].id}",
    "profile": lambda demo: "/profile",
    "not found": lambda demo: "/there-is-no-such-page",
}

for _type in BY_TYPE:
    PAGES[f"channel new {_type}"] = lambda _, name=_type: f"/channels/new?type={name}"

EMPTY: Final = (
    "/", "/channels", "/settings/notifications", "/deliveries", "/jobs", "/jobs/new", "/runs",
    "/restores", "/storage", "/sources", "/destinations",
)  # fmt: skip
"""Pages that look different while there is nothing."""
