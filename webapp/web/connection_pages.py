"""The pages of sources and of destinations, which differ in words only."""

from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, Response, make_response, render_template, request, url_for

from webapp.core.errors import ConflictError, InvalidError
from webapp.models.user import Role
from webapp.services.connections import Connections, Trial
from webapp.web import htmx
from webapp.web.connection_editor import Editor
from webapp.web.login import person, role_required
from webapp.web.numbers import number

NOT_TESTED: Final = "Not tested"


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the pages say."""

    noun: str
    title: str
    lead: str
    new_lead: str
    empty: str
    icon: str
    deleting: str
    """What deleting leaves alone."""


class Pages:
    """The views of one kind of connection; `blueprint` names it and its addresses."""

    def __init__(self, blueprint: str, book: Connections[Any, Any], words: Words) -> None:
        self.name = blueprint
        self.book = book
        self.words = words

    def index(self) -> Response:
        """Show the list."""
        return self._page("connections/index.html", items=self.book.listed())

    def new(self) -> Response:
        """Show the type picker and the empty form of the chosen type."""
        editor = self._editor(request.args.get("type"))
        editor.basics.name.data = request.args.get("name", "")
        return self._form(editor)

    def create(self) -> Response:
        """Add one."""
        editor = self._editor(request.form.get("type"), sent=True)
        if not editor.check():
            return self._again(editor)
        try:
            row = self.book.create(editor.type.type, editor.values())
        except InvalidError as error:
            editor.refuse(str(error), error.field)
            return self._again(editor)
        return htmx.go(self._url("index"), f"{row.name} added")

    def edit(self, row_id: int) -> Response:
        """Show the form of a stored one, without its secrets."""
        return self._form(self._editor_of(row_id))

    def save(self, row_id: int) -> Response:
        """Change one."""
        editor = self._editor_of(row_id, sent=True)
        if not editor.check():
            return self._again(editor)
        try:
            row = self.book.save(row_id, editor.version, editor.values())
        except ConflictError as error:
            editor.refuse(str(error))
            editor.take_over()
            return self._again(editor)
        except InvalidError as error:
            editor.refuse(str(error), error.field)
            return self._again(editor)
        return htmx.go(self._url("index"), f"{row.name} saved")

    def delete(self, row_id: int) -> Response:
        """Delete one that no job uses."""
        try:
            name = self.book.delete(row_id)
        except ConflictError as error:
            return htmx.go(self._url("index"), str(error), "warn")
        return htmx.go(self._url("index"), f"{name} deleted")

    def test(self, row_id: int) -> Response:
        """Connect with what is stored."""
        trial = self.book.test(row_id)
        if not htmx.is_htmx():
            url = self._url("index", _anchor=f"{self.words.noun}-{row_id}")
            return htmx.go(url, said(trial), "ok" if trial.ok else "bad")
        return self._announced(trial, "connections/_row_test.html", row_id=row_id)

    def close_test(self, row_id: int) -> Response:
        """Take the result away."""
        if not htmx.is_htmx():
            return htmx.go(self._url("index"))
        return self._partial("connections/_row_test.html", row_id=row_id, trial=None)

    def test_draft(self) -> Response:
        """Connect with what the form says; nothing is stored."""
        row_id = request.form.get("row_id", "")
        editor = (
            self._editor_of(number(row_id), sent=True)
            if row_id
            else self._editor(request.form.get("type"), sent=True)
        )
        if not editor.check():
            response = self._again(editor, NOT_TESTED)
            response.headers["HX-Retarget"] = "#connection-form"
            response.headers["HX-Reswap"] = "outerHTML"
            return response
        trial = self.book.test_config(editor.type.type, editor.values())
        if not htmx.is_htmx():
            return self._form(editor, trial=trial)
        return self._announced(trial, "connections/_draft_test.html")

    def _editor(self, type_name: str | None, *, sent: bool = False) -> Editor:
        chosen = self.book.by_type.get(type_name or "", self.book.types[0])
        form = request.form if sent else None
        return Editor(self.words.noun, chosen, user_id=person().id, sent=form)

    def _editor_of(self, row_id: int, *, sent: bool = False) -> Editor:
        existing = self.book.stored(row_id)
        return Editor(
            self.words.noun,
            self.book.type_of(existing.row.type),
            user_id=person().id,
            existing=existing,
            sent=request.form if sent else None,
        )

    def _again(self, editor: Editor, what: str = "") -> Response:
        return self._form(editor, 422, what=what or f"{self.words.noun.capitalize()} not saved")

    def _form(
        self, editor: Editor, status: int = 200, *, trial: Trial | None = None, what: str = ""
    ) -> Response:
        return htmx.render(
            f"connections/{'new' if editor.is_new else 'edit'}.html",
            "connections/_form.html",
            status,
            draft=editor.keep_secrets(),
            editor=editor,
            trial=trial,
            what=what,
            **self._context(),
        )

    def _page(self, template: str, **context: Any) -> Response:
        return make_response(render_template(template, **context, **self._context()))

    def _partial(self, template: str, **context: Any) -> Response:
        return make_response(render_template(template, **context, **self._context()))

    def _announced(self, trial: Trial, template: str, **context: Any) -> Response:
        return htmx.announce(self._partial(template, trial=trial, **context), said(trial))

    def _context(self) -> dict[str, Any]:
        return {"words": self.words, "book": self.book, "url": self._url}

    def _url(self, view: str, **values: Any) -> str:
        return url_for(f"{self.name}.{view}", **values)


def said(trial: Trial) -> str:
    """Return the result of a test as one text."""
    subject = f"Test of {trial.name}" if trial.name else "Test"
    notes = "".join(f" {note}" for note in trial.notes)
    return f"{subject} {'passed' if trial.ok else 'failed'}. {trial.words}{notes}"


def blueprint(name: str, book: Connections[Any, Any], words: Words) -> Blueprint:
    """Return the pages as a blueprint: everyone sees, operators test, admins change."""
    bp = Blueprint(name, f"webapp.web.views.{name}", url_prefix=f"/{name}")
    pages = Pages(name, book, words)
    admin, operator = role_required(Role.ADMIN), role_required(Role.OPERATOR)
    bp.add_url_rule("", "index", pages.index)
    bp.add_url_rule("/new", "new", admin(pages.new))
    bp.add_url_rule("", "create", admin(pages.create), methods=["POST"])
    bp.add_url_rule("/test", "test_draft", admin(pages.test_draft), methods=["POST"])
    bp.add_url_rule("/<int:row_id>", "edit", admin(pages.edit))
    bp.add_url_rule("/<int:row_id>", "save", admin(pages.save), methods=["POST"])
    bp.add_url_rule("/<int:row_id>/delete", "delete", admin(pages.delete), methods=["POST"])
    bp.add_url_rule("/<int:row_id>/test", "test", operator(pages.test), methods=["POST"])
    bp.add_url_rule("/<int:row_id>/test/close", "close_test", operator(pages.close_test))
    return bp
