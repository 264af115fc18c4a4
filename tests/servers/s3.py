"""An S3 service at 127.0.0.1, of which requests can be made to fail."""

import ssl
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import Client

HOST = "127.0.0.1"


class S3Server:
    """moto's S3; `refuse` decides by method and query what gets the answer 500."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.refuse: Callable[[str, str], bool] = lambda _method, _query: False
        self.seen: list[tuple[str, str]] = []
        self._inner = DomainDispatcherApplication(create_backend_app)
        Client(self._inner).post(
            "/moto-api/reset", base_url=f"http://{HOST}"
        )  # it is one per process
        self._server = make_server(HOST, 0, self._answer, threaded=True, ssl_context=context)
        self.port = self._server.port
        scheme = "https" if context else "http"
        self.url = f"{scheme}://{HOST}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "S3Server":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        self.seen.append((method, query))
        if self.refuse(method, query):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"]
        found: Iterable[bytes] = self._inner(environ, start)
        return found
