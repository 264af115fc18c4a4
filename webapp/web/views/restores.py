"""Restores: asked for, watched, stopped."""

from flask import Blueprint, Response, make_response, render_template, request, url_for
from wtforms import (
    BooleanField,
    FileField,
    PasswordField,
    SelectField,
    StringField,
)
from wtforms.validators import DataRequired, Length
from wtforms.widgets import HiddenInput

from webapp.backup.sources import SOURCES
from webapp.core.errors import InvalidError
from webapp.core.form_fields import NumberField, whole
from webapp.models.user import Role
from webapp.services import restores, uploads
from webapp.services.restores import Draft, Progress
from webapp.web import htmx
from webapp.web.filters import state_look
from webapp.web.form import Form, add_error, tidy
from webapp.web.login import person, role_required
from webapp.web.numbers import asked, number

bp = Blueprint("restores", __name__, url_prefix="/restores")


MANIFEST_LIMIT = 256 * 1024  # bytes


class RestoreForm(Form):
    """Which backup goes where."""

    artifact = NumberField(widget=HiddenInput())
    source = SelectField(
        "Server",
        coerce=whole,
        validate_choice=False,
        description="The source whose server receives the new database.",
    )
    target = StringField(
        "Target", [DataRequired("Enter the target."), Length(max=400)], filters=[tidy]
    )

    overwrite = BooleanField(
        "Replace it when it exists",
        description="What is in the target now is lost. Stop the programs that use it first.",
    )
    confirm = StringField(
        "Type the target once more",
        [Length(max=400)],
        filters=[tidy],
        description="Only to replace a target that exists.",
    )
    unlock = PasswordField(
        "Passphrase or private key",
        description="The backup is encrypted. Enter its passphrase, or the private key "
        "(AGE-SECRET-KEY-1… or an SSH key). It is kept sealed until the restore has ended.",
    )

    def __init__(self, draft: Draft) -> None:
        super().__init__(data={"artifact": draft.artifact.id, "target": draft.suggestion})
        self.target.label.text = draft.target_label
        self.target.description = draft.target_hint
        if draft.sources:
            self.source.choices = {str(key): name for key, name in draft.sources}
        else:
            del self.source
        if not draft.artifact.encryption:
            del self.unlock


@bp.get("")
def index() -> Response:
    """Show the restores, newest first."""
    page = restores.page(before=asked("before"), after=asked("after"))
    return htmx.render("restores/index.html", "restores/_rows.html", page=page)


@bp.get("/new")
@role_required(Role.OPERATOR)
def new() -> Response:
    """Ask where the backup goes; without one, let it be chosen first."""
    artifact_id = asked("artifact") or None
    if artifact_id is None:
        return htmx.go(url_for("storage.index"), "Choose the backup to restore.")
    draft = restores.draft(artifact_id)
    return _form(draft, RestoreForm(draft))


@bp.post("")
@role_required(Role.OPERATOR)
def create() -> Response:
    """Accept the restore; it is carried out in the background."""
    draft = restores.draft(number(request.form.get("artifact", "")))
    form = RestoreForm(draft)
    if not form.validate():
        return _form(draft, form, 422)
    try:
        restore_id = restores.request(
            draft.artifact.id,
            target=form.target.data or "",
            source_id=form.source.data if draft.sources else None,
            requested_by=person().name,
            unlock=(form.unlock.data or "") if draft.artifact.encryption else "",
            overwrite=bool(form.overwrite.data),
            confirm=form.confirm.data or "",
        )
    except InvalidError as error:
        add_error(form, error)
        return _form(draft, form, 422)
    return htmx.go(url_for(".show", restore_id=restore_id))


class UploadForm(Form):
    """A backup from this computer, and where it goes."""

    file = FileField("Backup file")
    manifest = FileField(
        "Its manifest",
        description="The small .json file that lay beside it. Without it nobody knows the "
        "checksum, so only what the database itself notices is checked.",
    )
    kind = SelectField(
        "Database type", description="A manifest says it, and then counts.", validate_choice=False
    )
    source = SelectField("Server", coerce=str, validate_choice=False)
    target = StringField(
        "Target",
        [DataRequired("Enter the target."), Length(max=400)],
        filters=[tidy],
        description="Name of the database, or full path of a SQLite file on the server.",
    )
    overwrite = BooleanField(
        "Replace it when it exists",
        description="What is in the target now is lost. Stop the programs that use it first.",
    )
    confirm = StringField(
        "Type the target once more",
        [Length(max=400)],
        filters=[tidy],
        description="Only to replace a target that exists.",
    )
    unlock = PasswordField(
        "Passphrase or private key", description="Only when the backup is encrypted."
    )

    def __init__(self) -> None:
        super().__init__()
        self.kind.choices = {kind.type: kind.label for kind in SOURCES}
        servers = {
            str(key): f"{name} ({kind.label})"
            for kind in SOURCES
            for key, name in restores.receivers_of(kind.type)
        }
        self.source.choices = {"": "A file on this server (SQLite)", **servers}


@bp.get("/upload")
@role_required(Role.OPERATOR)
def upload() -> Response:
    """Ask for a backup from the reader's computer."""
    return make_response(render_template("restores/upload.html", form=UploadForm()))


@bp.post("/upload")
@role_required(Role.OPERATOR)
def receive() -> Response:
    """Take a backup and restore it in the background."""
    form = UploadForm()
    sent, stated = request.files.get("file"), request.files.get("manifest")
    if not form.validate() or sent is None or not sent.filename:
        if sent is None or not sent.filename:
            form.file.errors = [*form.file.errors, "Choose the file of a backup."]
        return _upload_again(form)
    found = None
    try:
        found = uploads.receive(
            sent.stream,
            sent.filename,
            form.kind.data or "",
            stated.stream.read(MANIFEST_LIMIT) if stated and stated.filename else None,
        )
        restore_id = restores.request_upload(
            found,
            target=form.target.data or "",
            source_id=number(form.source.data or "") or None,
            requested_by=person().name,
            unlock=form.unlock.data or "",
            overwrite=bool(form.overwrite.data),
            confirm=form.confirm.data or "",
        )
    except InvalidError as error:
        if found is not None:
            uploads.forget(found.key)
        add_error(form, error)
        return _upload_again(form)
    known = "" if found.checksum_known else " No manifest came with it: its checksum is unknown."
    return htmx.go(url_for(".show", restore_id=restore_id), f"{found.file_name} received.{known}")


def _upload_again(form: UploadForm) -> Response:
    return make_response(render_template("restores/upload.html", form=form), 422)


@bp.get("/<int:restore_id>")
def show(restore_id: int) -> Response:
    """Show a restore; while it runs the page follows it."""
    page = render_template("restores/show.html", restore=restores.get(restore_id))
    return make_response(page)


@bp.get("/<int:restore_id>/progress")
def progress(restore_id: int) -> Response:
    """Return how far it is; the last answer does not ask again."""
    if not htmx.is_htmx():
        return htmx.go(url_for(".show", restore_id=restore_id))
    return _progress(restores.get(restore_id), seen=request.args.get("seen", ""))


@bp.post("/<int:restore_id>/stop")
@role_required(Role.OPERATOR)
def stop(restore_id: int) -> Response:
    """Stop a restore."""
    restore = restores.stop(restore_id, person().name)
    if not htmx.is_htmx():
        words = "Stopping the restore." if restore.is_running else "The restore was cancelled."
        return htmx.go(url_for(".show", restore_id=restore_id), words)
    return _progress(restore)


def _form(draft: Draft, form: RestoreForm, status: int = 200) -> Response:
    return htmx.render("restores/new.html", "restores/_form.html", status, draft=draft, form=form)


def _progress(restore: Progress, *, seen: str = "") -> Response:
    response = make_response(
        render_template("restores/_progress.html", restore=restore, is_answer=True)
    )
    if not restore.is_running:
        return htmx.announce(response, f"Restore: {state_look(restore.row.outcome).word}")
    if seen and restore.row.step != seen:
        return htmx.announce(response, f"Restore: {restore.row.step}")
    return response
