"""What the Channels page shows."""

from dataclasses import dataclass

from sqlalchemy import func, select

from webapp.core.errors import NotFoundError
from webapp.models.channel import ChannelRow
from webapp.notify.channels import BY_TYPE
from webapp.services import channel_status, channel_usage
from webapp.services.channel_status import Status
from webapp.services.channel_usage import Usage
from webapp.services.transaction import reading

GONE = "This channel is not here. It was deleted, or it never existed."


@dataclass(frozen=True, kw_only=True)
class ChannelItem:
    """One line of the list. `row` is read-only; its configuration stays sealed."""

    row: ChannelRow
    label: str
    """The name of its type."""
    status: Status
    usage: Usage
    fallback: str = ""
    """The name of the channel that takes over while this one fails."""
    stands_in_for: tuple[str, ...] = ()
    """The names of the channels that this one takes over for."""


@dataclass(frozen=True, kw_only=True)
class ChannelList:
    """The channels that a search found, and those somebody must look at."""

    items: tuple[ChannelItem, ...]
    total: int
    query: str
    troubled: tuple[ChannelItem, ...]
    """Of all channels, whatever was searched."""


def listed(query: str = "", *, with_values: bool = True) -> ChannelList:
    """Return the channels whose name, type or (if those may be seen) address holds the query."""
    items = _items()
    wanted = " ".join(query.split()).casefold()
    return ChannelList(
        items=tuple(item for item in items if _matches(item, wanted, with_values)),
        total=len(items),
        query=query,
        troubled=tuple(item for item in items if item.status.needs_someone),
    )


def one(channel_id: int) -> ChannelItem:
    """Return one line of the list.

    Raises:
        NotFoundError: there is no such channel.
    """
    found = next((item for item in _items() if item.row.id == channel_id), None)
    if found is None:
        raise NotFoundError(GONE)
    return found


def _items() -> list[ChannelItem]:
    uses = channel_usage.all_uses()
    with reading() as session:
        rows = session.scalars(
            select(ChannelRow).order_by(func.lower(ChannelRow.name), ChannelRow.id)
        ).all()
        waits = channel_status.waiting(session)
    names = {row.id: row.name for row in rows}
    return [
        ChannelItem(
            row=row,
            label=type_label(row.type),
            status=channel_status.status_of(row, waits.get(row.id)),
            usage=uses.get(row.id, Usage()),
            fallback=names.get(row.fallback_id or 0, ""),
            stands_in_for=tuple(other.name for other in rows if other.fallback_id == row.id),
        )
        for row in rows
    ]


def type_label(name: str) -> str:
    """Return the name of a channel type; one that this version does not know keeps its id."""
    return BY_TYPE[name].label if name in BY_TYPE else name


def _matches(item: ChannelItem, wanted: str, with_values: bool) -> bool:
    texts = [item.row.name, item.label] + ([item.row.summary] if with_values else [])
    return any(wanted in text.casefold() for text in texts)
