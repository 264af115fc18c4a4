"""Reads a mail of ours back, for its preview."""

from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from html.parser import HTMLParser
from typing import Any


@dataclass
class _Parts(HTMLParser):
    """Collects the texts of our HTML by their element."""

    heading: str = ""
    paragraphs: list[str] = field(default_factory=list)
    facts: list[dict[str, str]] = field(default_factory=list)
    error: str = ""
    link_label: str = ""
    footer: str = ""
    _open: list[tuple[str, str]] = field(default_factory=list)
    _said: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"h1", "p", "th", "td", "pre", "a"}:
            self._open.append((tag, dict(attrs).get("class") or ""))
            self._said = ""

    def handle_data(self, data: str) -> None:
        self._said += data

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            return
        said, self._said = self._said.strip("\n"), ""
        _, kind = self._open.pop()
        if tag == "h1":
            self.heading = said
        elif tag == "p" and "footer" in kind:
            self.footer = said
        elif tag == "p" and said:
            self.paragraphs.append(said)
        elif tag == "th":
            self.facts.append({"name": said, "value": ""})
        elif tag == "td" and self.facts and "ink" in kind:
            self.facts[-1]["value"] = said
        elif tag == "pre":
            self.error = said
        elif tag == "a":
            self.link_label = said


def read(body: str) -> dict[str, Any]:
    """Return headers, text, HTML and the parts of a mail made by `mail.build`."""
    mail = BytesParser(policy=policy.default).parsebytes(body.encode())
    if not isinstance(mail, EmailMessage):
        raise TypeError("the parser's policy makes this kind only")
    html = _content(mail, "html")
    parts = _Parts()
    parts.feed(html)
    parts.close()
    return {
        "subject": str(mail["Subject"]),
        "sender": str(mail["From"]),
        "to": str(mail["To"]),
        "important": mail["Importance"] == "high",
        "text": _content(mail, "plain"),
        "html": html,
        "heading": parts.heading,
        "kicker": parts.paragraphs[0] if parts.paragraphs else "",
        "paragraphs": parts.paragraphs[1:],
        "facts": parts.facts,
        "error": parts.error,
        "link_label": parts.link_label,
        "footer": parts.footer,
        "attachments": [
            {"name": part.get_filename() or "file", "size": len(part.get_content())}
            for part in mail.iter_attachments()
        ],
    }


def _content(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()) if part is not None else ""
