"""dbackup users."""

import getpass
import socket

import click

from webapp.cli.base import Commands, as_json_option, ask_secret, in_app, show
from webapp.models.user import Role
from webapp.services import users as service
from webapp.services.users import Account, Origin


@click.group(cls=Commands)
def users() -> None:
    """Accounts: add somebody, set a password, list."""


@users.command("list")
@as_json_option
@in_app
def list_users(as_json: bool) -> None:
    """List every account."""
    rows = [
        {
            "email": user.email,
            "name": user.name,
            "role": user.role,
            "active": user.active,
            "last_sign_in": user.last_login_at,
        }
        for user in service.every_user()
    ]
    show(rows, as_json=as_json, nothing="There are no accounts. Add one: dbackup users add EMAIL")


@users.command()
@click.argument("email")
@click.option("--name", help="Default: the part of the email before the @.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.VIEWER.value,
    show_default=True,
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@in_app
def add(email: str, name: str | None, role: str, password_stdin: bool) -> None:
    """Add an account; User Created is announced as if it was made in the browser."""
    account = Account(name=name or email.partition("@")[0], email=email, role=Role(role))
    user = service.create(account, ask_secret("Password", password_stdin), _origin())
    click.echo(f"Added {user.email} as {user.role}.")


@users.command()
@click.argument("email")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@in_app
def password(email: str, password_stdin: bool) -> None:
    """Set somebody's password; all their sessions end."""
    user = service.reset_password(email, ask_secret("Password", password_stdin))
    click.echo(f"{user.email} has a new password and must sign in again.")


def _origin() -> Origin:
    return Origin(
        name=f"{getpass.getuser()} on {socket.gethostname()}",
        ip_address="local",
        browser="Command line",
    )
