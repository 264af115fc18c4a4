"""For any WSGI server: the application with its threads, in this process."""

from webapp.app import create_app
from webapp.workers import runtime

app = create_app()
runtime.start(app)
