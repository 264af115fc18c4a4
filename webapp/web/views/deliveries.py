"""The log of deliveries: what was sent, what was not, and why."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, render_template, request, url_for

from webapp.core.errors import NotFoundError
from webapp.models.delivery import State
from webapp.models.user import Role
from webapp.notify.events import EVENTS
from webapp.services import delivery_actions, delivery_detail, delivery_lines, delivery_log, unseen
from webapp.services.delivery_detail import Detail
from webapp.services.delivery_log import Filters, LogPage
from webapp.web import htmx, menu
from webapp.web.login import may, role_required
from webapp.web.numbers import number

bp = Blueprint("deliveries", __name__, url_prefix="/deliveries")

PERIODS: Final = (
    ("1h", "Last hour", timedelta(hours=1)),
    ("24h", "Last 24 hours", timedelta(days=1)),
    ("7d", "Last 7 days", timedelta(days=7)),
    ("30d", "Last 30 days", timedelta(days=30)),
    ("90d", "Last 90 days", timedelta(days=90)),
)
SPANS: Final = {key: span for key, _, span in PERIODS}
EVENT_TYPES: Final = tuple((event.type, event.label) for event in EVENTS)
STATES: Final = (*(state.value for state in State), delivery_log.EVERYTHING)
FILTER_NAMES: Final = ("state", "channel", "event", "job", "period")


@bp.get("")
def index() -> Response:
    """List deliveries; the filters and the place in the list are in the address."""
    page = _page()
    if htmx.is_htmx():
        return htmx.announce(_rows(page), page.words)
    return make_response(
        render_template(
            "deliveries/index.html",
            choices=delivery_log.choices(),
            states=STATES,
            event_types=EVENT_TYPES,
            periods=PERIODS,
            **_listing(page),
        )
    )


@bp.get("/rows")
def rows() -> Response:
    """Return the same rows again, for an open page that follows them."""
    page = _page()
    return _rows(page) if htmx.is_htmx() else htmx.go(_address(".index"))


@bp.get("/<delivery_id>")
def show(delivery_id: str) -> Response:
    """Show one delivery, as the panel beside the list or as a page of its own.

    A panel that polls says in `seen` what it shows; while that is so, nothing is swapped.
    """
    detail = _detail(delivery_id)
    unseen.mark(delivery_id)
    if not htmx.is_htmx():
        return make_response(render_template("deliveries/show.html", detail=detail, **_rights()))
    seen = request.args.get("seen")
    if seen == detail.mark:
        return make_response("", 204)
    if seen is not None:
        return _panel(detail)
    response = _panel(detail, focus=True, marked=_marked(detail))
    response.headers["HX-Push-Url"] = url_for(".show", delivery_id=delivery_id)
    return response


@bp.post("/<delivery_id>/resend")
@role_required(Role.OPERATOR)
def resend(delivery_id: str) -> Response:
    """Queue a copy, or try a waiting one at once."""
    resent = delivery_actions.resend(delivery_id)
    return _changed(delivery_id, f"Queued again for {resent.channel_name}")


@bp.post("/<delivery_id>/cancel")
@role_required(Role.OPERATOR)
def cancel(delivery_id: str) -> Response:
    """Stop trying."""
    stopped = delivery_actions.cancel(delivery_id)
    return _changed(delivery_id, f"Stopped retrying {stopped.channel_name}")


@bp.post("/seen")
@role_required(Role.OPERATOR)
def mark_seen() -> Response:
    """Take the expired messages from the overview."""
    count = unseen.mark_all()
    text = "1 message marked as seen" if count == 1 else f"{count} messages marked as seen"
    if not htmx.is_htmx():
        return htmx.go(url_for("dashboard.index"), text)
    page = render_template("dashboard/_expired.html", expired=unseen.expired())
    return htmx.toast(make_response(page), text)


@bp.post("/resend-failed")
@role_required(Role.OPERATOR)
def resend_failed() -> Response:
    """Queue copies of everything that was given up lately."""
    span = SPANS.get(request.form.get("since", ""), SPANS["24h"])
    count = delivery_actions.resend_failed(span)
    text = "1 delivery queued again" if count == 1 else f"{count} deliveries queued again"
    if not count:
        return htmx.go(url_for(".index"), "No failed delivery in that time can be resent", "warn")
    return htmx.go(url_for(".index"), text)


def _page() -> LogPage:
    return delivery_log.page(
        _filters(request.args),
        before=request.args.get("before", ""),
        after=request.args.get("after", ""),
    )


def _filters(given: Mapping[str, str]) -> Filters:
    """Read the filters; what makes no sense narrows nothing."""
    state = given.get("state", "")
    return Filters(
        state=state if state in STATES else "",
        channel_id=number(given.get("channel", "")) or None,
        event_type=given.get("event", "") if given.get("event") in dict(EVENT_TYPES) else "",
        job_id=number(given.get("job", "")) or None,
        since=SPANS.get(given.get("period", "")),
    )


def _address(endpoint: str, **place: str) -> str:
    """Return an address with the filters that are set, and a place in the list."""
    kept = {name: request.args.get(name, "") for name in FILTER_NAMES} | place
    query = urlencode({name: value for name, value in kept.items() if value})
    return f"{url_for(endpoint)}?{query}" if query else url_for(endpoint)


def _listing(page: LogPage) -> dict[str, Any]:
    before, after = request.args.get("before", ""), request.args.get("after", "")
    return {
        "page": page,
        "filtered": _filters(request.args).any,
        "newer_url": _address(".index", after=page.newer) if page.newer else "",
        "older_url": _address(".index", before=page.older) if page.older else "",
        "skipped_url": "" if request.args.get("state") else _address(".index", state="skipped"),
        "rows_url": _address(".rows", before=before, after=after if page.newer else ""),
        "open_id": request.args.get("open", ""),
        **_rights(),
    }


def _rows(page: LogPage) -> Response:
    return make_response(render_template("deliveries/_rows.html", **_listing(page)))


def _detail(delivery_id: str) -> Detail:
    return delivery_detail.detail(delivery_id, with_message=may(Role.OPERATOR))


def _panel(detail: Detail, **context: Any) -> Response:
    page = render_template("deliveries/_panel_changed.html", detail=detail, **context, **_rights())
    return make_response(page)


def _marked(detail: Detail) -> list[Any]:
    """Return the rows of the list whose mark moves: the opened one, and the one before it."""
    before = request.args.get("open")
    if not before or before == detail.line.id:
        return [detail.line]
    try:
        return [detail.line, delivery_lines.line(before)]
    except NotFoundError:
        return [detail.line]


def _changed(delivery_id: str, text: str) -> Response:
    if not htmx.is_htmx():
        return htmx.go(url_for(".show", delivery_id=delivery_id), text)
    response = _panel(_detail(delivery_id), focus=True, nav_attention=menu.attention())
    return htmx.trigger(htmx.toast(response, text), **{"deliveries-changed": True})


def _rights() -> dict[str, bool]:
    return {"can_change": may(Role.OPERATOR), "is_admin": may(Role.ADMIN)}
