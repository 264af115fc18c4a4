"""The stand-ins: one server per channel type, which checks what it gets as the service would."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import trustme
from werkzeug.datastructures import MultiDict

from tests.notify.channels.cases import CASES, MAIL, MAIL_HOST, MAIL_PASSWORD
from tests.servers import mattermost
from tests.servers.fixtures import server_context
from tests.servers.smtp import MailServer
from tools.demo.names import Names
from webapp.notify.channels import BY_TYPE

CHAT: Final = "chat.example.org"


@contextmanager
def running(ca_file: Path) -> Iterator[None]:
    """Run all of them; the file says which authority signed their certificates."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    names = Names()
    with ExitStack() as stack:
        for case in CASES.values():
            context = server_context(authority, case.host)
            options: dict[str, Any] = {"context": context, "name": case.host} | dict(case.options)
            names.lead(case.host, stack.enter_context(case.peer(**options)).port)
        names.lead(CHAT, stack.enter_context(mattermost.Mattermost()).port)
        mail = MailServer(
            security="starttls",
            context=server_context(authority, MAIL_HOST),
            users={"dbackup": MAIL_PASSWORD},
            name=MAIL_HOST,
        )
        names.lead(MAIL_HOST, stack.enter_context(mail).port)
        names.install()
        yield


def config_of(kind: str) -> dict[str, Any]:
    """Return the configuration that leads to the stand-in, as the form makes it."""
    entered: Mapping[str, str] = MAIL
    if kind == "apprise":
        entered = {"url": f"mmost://{CHAT}/{mattermost.TOKEN}"}
    elif kind != "email":
        entered = CASES[kind].entered
    form = BY_TYPE[kind].form(MultiDict(entered))
    if not form.validate():
        raise ValueError(f"{kind}: {form.errors}")
    return form.merged({})
