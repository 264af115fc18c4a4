"""For any WSGI server: the application with its threads, in this process."""

import os

from webapp.app import create_app
from webapp.workers import runtime

os.umask(0o077)  # as the command `dbackup` does
app = create_app()
runtime.start(app)
