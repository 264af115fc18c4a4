"""A message as plain text, for services without boxes, bold and tables."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from webapp.core.secrets import mask
from webapp.notify.message import Field, Message
from webapp.notify.shorten import fit, utf8

Measure = Callable[[str], int]


def masked(message: Message, secrets: Iterable[str]) -> Message:
    """Return the message with secrets masked, before cutting hides them from a search."""
    known = tuple(secrets)
    if not known:
        return message
    return replace(
        message,
        title=mask(message.title, known),
        text=mask(message.text, known),
        error=mask(message.error, known),
        fields=tuple(
            Field(mask(field.name, known), mask(field.value, known), field.short)
            for field in message.fields
        ),
    )


def body_of(
    message: Message, limit: int, *, measure: Measure = utf8, error_limit: int | None = None
) -> str:
    """Return everything but the title within the limit.

    The error gives way first, then the text, then the fields from the end. The footer with the
    event's id always stays: it is how people recognize a copy.
    """
    footer = fit(f"Time: {message.time}\n{message.footer}", limit // 4, measure=measure)
    fields = [f"{field.name}: {field.value}" for field in message.fields]
    said = "\n".join(filter(None, (message.text.strip(), message.late_note)))

    def joined(text: str, kept: list[str], error: str) -> str:
        return "\n\n".join(filter(None, (text, "\n".join(kept), error, footer)))

    def room(text: str, kept: list[str]) -> int:
        return limit - measure(joined(text, kept, "x")) + 1

    while fields and room("", fields) < limit // 4:
        fields.pop()
    text = fit(said, max(room("", fields) - limit // 4, limit // 8), measure=measure)
    error_room = min(room(text, fields), limit if error_limit is None else error_limit)
    error = fit(message.error, max(error_room, 0), measure=measure, keep_end=True)
    whole = joined(text, fields, error)
    return whole if measure(whole) <= limit else fit(whole, limit, measure=measure)
