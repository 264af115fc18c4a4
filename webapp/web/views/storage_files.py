"""The storage explorer's second half: what lies at a destination, as it says itself."""

from flask import Blueprint, Response, make_response, render_template, request, url_for
from wtforms import StringField
from wtforms.validators import DataRequired

from webapp.core.errors import ConflictError, InvalidError
from webapp.models.user import Role
from webapp.services import artifacts, explorer, restores
from webapp.services.explorer import Found
from webapp.web import htmx
from webapp.web.form import Form, add_error
from webapp.web.login import person, role_required

bp = Blueprint("storage_files", __name__, url_prefix="/storage")


class DeleteForm(Form):
    """Asks for the name of what goes for good."""

    typed = StringField("Name of the file", [DataRequired("Enter the name of the file.")])


@bp.get("/<int:destination_id>/files")
def index(destination_id: int) -> Response:
    """Show what is at the destination, newest first."""
    found = explorer.look(destination_id, request.args.get("page", 1, int))
    return make_response(
        render_template("storage/files.html", look=found, places=artifacts.listing().places)
    )


@bp.post("/<int:destination_id>/import")
@role_required(Role.OPERATOR)
def import_(destination_id: int) -> Response:
    """List what the destination's manifests describe; one of them, or all."""
    key = request.form.get("key") or None
    made = explorer.import_(destination_id, key)
    words = f"{len(made) or 'No'} backup{'' if len(made) == 1 else 's'} added to the list."
    return _back(destination_id, words)


@bp.post("/<int:destination_id>/lock")
@role_required(Role.OPERATOR)
def lock(destination_id: int) -> Response:
    """Lock a backup against pruning, or unlock it."""
    locked = request.form.get("locked") == "1"
    explorer.set_locked(destination_id, request.form.get("key", ""), locked)
    return _back(destination_id, "Locked: no rule deletes it." if locked else "Unlocked.")


@bp.get("/<int:destination_id>/delete")
@role_required(Role.ADMIN)
def ask(destination_id: int) -> Response:
    """Ask before a backup is deleted."""
    found = explorer.one(destination_id, request.args.get("key", ""))
    return _ask(destination_id, found, DeleteForm())


@bp.post("/<int:destination_id>/delete")
@role_required(Role.ADMIN)
def delete(destination_id: int) -> Response:
    """Delete a backup whose name was typed."""
    key = request.form.get("key", "")
    form = DeleteForm()
    found = explorer.one(destination_id, key)
    if not form.validate():
        return _ask(destination_id, found, form, 422)
    try:
        explorer.remove(destination_id, key, form.typed.data or "")
    except InvalidError as error:
        add_error(form, error)
        return _ask(destination_id, found, form, 422)
    except ConflictError as error:
        form.form_errors.append(str(error))
        return _ask(destination_id, found, form, 422)
    return _back(destination_id, f"{found.file_name} deleted.")


@bp.post("/artifacts/<int:artifact_id>/prove")
@role_required(Role.OPERATOR)
def prove(artifact_id: int) -> Response:
    """Restore a backup on trial, into a scratch database that is dropped afterwards."""
    try:
        restore_id = restores.prove(
            artifact_id, requested_by=person().name, unlock=request.form.get("unlock", "")
        )
    except InvalidError as error:
        return htmx.go(url_for("restores.new", artifact=artifact_id), str(error), "warn")
    return htmx.go(url_for("restores.show", restore_id=restore_id))


def _ask(destination_id: int, found: Found, form: DeleteForm, status: int = 200) -> Response:
    place = explorer.place(destination_id)
    page = render_template("storage/delete.html", found=found, form=form, place=place)
    return make_response(page, status)


def _back(destination_id: int, words: str) -> Response:
    return htmx.go(url_for(".index", destination_id=destination_id), words)
