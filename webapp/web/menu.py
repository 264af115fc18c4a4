"""The main menu, and what else the shell of every page shows."""

from typing import Any, Final, NamedTuple

from flask import Flask, current_app, request, url_for

from webapp import __version__
from webapp.models.user import Role
from webapp.services import delivery_log
from webapp.services.installation import installation
from webapp.web import filters, login
from webapp.web.htmx import is_htmx

MOST_COUNTED: Final = 100


class Entry(NamedTuple):
    """One line of the menu. `blueprints` are the pages that it stands for."""

    label: str
    icon: str
    endpoint: str
    blueprints: frozenset[str]
    role: Role = Role.VIEWER
    attention: bool = False


class Group(NamedTuple):
    """Lines under one title."""

    title: str
    entries: tuple[Entry, ...]


class Item(NamedTuple):
    """An entry as the template shows it."""

    label: str
    icon: str
    url: str
    current: bool
    attention: bool


class ItemGroup(NamedTuple):
    """A group with what this person may see of it."""

    title: str
    entries: list[Item]


def _entry(label: str, icon: str, *names: str, role: Role = Role.VIEWER) -> Entry:
    """Link to the first blueprint's list; the others' pages belong to it."""
    return Entry(label, icon, f"{names[0]}.index", frozenset(names), role, "deliveries" in names)


MENU: Final = (
    Group("", (_entry("Dashboard", "grid-1x2", "dashboard"),)),
    Group(
        "Backups",
        (
            _entry("Jobs", "arrow-repeat", "jobs", "job_notifications", "retention"),
            _entry("Runs", "clock-history", "runs"),
            _entry("Storage Explorer", "folder2-open", "storage", "storage_files"),
            _entry("Restore", "arrow-counterclockwise", "restores"),
        ),
    ),
    Group(
        "Connections",
        (
            _entry("Sources", "database", "sources"),
            _entry("Destinations", "hdd-stack", "destinations"),
        ),
    ),
    Group(
        "Notifications",
        (
            _entry("Channels", "broadcast-pin", "channels"),
            _entry("Deliveries", "send", "deliveries"),
        ),
    ),
    Group(
        "Administration",
        (
            _entry("Users", "people", "users", role=Role.ADMIN),
            _entry(
                "Settings",
                "gear",
                "notifications",
                "settings",
                "settings_config",
                "security",
                "audit",
                role=Role.OPERATOR,
            ),
        ),
    ),
)


def visible() -> list[ItemGroup]:
    """Return the menu as the signed-in person sees it."""
    groups = (ItemGroup(group.title, _items(group)) for group in MENU)
    return [group for group in groups if group.entries]


def _items(group: Group) -> list[Item]:
    return [
        Item(
            entry.label,
            entry.icon,
            url_for(entry.endpoint),
            request.blueprint in entry.blueprints,
            entry.attention,
        )
        for entry in group.entries
        if entry.endpoint in current_app.view_functions and login.may(entry.role)
    ]


def _url(endpoint: str) -> str:
    return url_for(endpoint) if endpoint in current_app.view_functions else ""


def attention() -> str:
    """Return how many deliveries need a person, in words: "", "2" or "100+"."""
    count = delivery_log.attention_count()
    return "100+" if count > MOST_COUNTED else str(count or "")


def template_context() -> dict[str, Any]:
    """Return what every page shows around its own content; a partial shows none of it."""
    person = login.template_context()
    if is_htmx():
        return person
    return person | {
        "app_version": __version__,
        "session_days": installation().settings.session_days,
        "instance_name": filters.instance().instance_name,
        "home_url": _url("dashboard.index") or "/",
        "deliveries_url": _url("deliveries.index"),
        "menu": visible() if person["signed_in"] else [],
        "nav_attention": attention() if person["signed_in"] else "",
    }


def init_app(app: Flask) -> None:
    """Give the shell its facts."""
    app.context_processor(template_context)
