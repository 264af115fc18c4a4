"""make demo: the server with a demo in instance-demo/."""

import logging
import os
from typing import Final

from tools.demo.sample import SIGN_IN, prepare
from tools.demo.services import running
from webapp.cli.base import one_line_errors
from webapp.core import logs
from webapp.core.settings import PROJECT_ROOT, Settings
from webapp.server import serve

INSTANCE: Final = PROJECT_ROOT / "instance-demo"
# Nothing else of the environment: a demo never touches a real database or real keys.
TAKEN_OVER: Final = ("DBACKUP_HOST", "DBACKUP_PORT", "DBACKUP_HTMX_URL", "DBACKUP_BASE_URL")


def main() -> None:
    """Start the stand-ins and the server."""
    logs.configure()
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # every line of the stand-in for SMTP
    INSTANCE.mkdir(mode=0o700, exist_ok=True)
    ca_file = INSTANCE / "authority.pem"
    with running(ca_file), one_line_errors():
        chosen = {name: os.environ[name] for name in TAKEN_OVER if name in os.environ}
        settings = Settings.from_env(
            chosen
            | {
                "DBACKUP_INSTANCE_PATH": str(INSTANCE),
                "DBACKUP_CA_FILE": str(ca_file),
                "DBACKUP_ALLOW_PRIVATE_NETWORKS": "all",
            }
        )
        print(f"Demo: sign in as {SIGN_IN['email']} with {SIGN_IN['password']}", flush=True)
        serve(settings, prepare=prepare)


if __name__ == "__main__":
    main()
