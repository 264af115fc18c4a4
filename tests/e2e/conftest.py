"""A real server and Debian's Chromium. The CDN's address is answered with the very file that it
has, so that the browser checks the hash of the page's script tag.
"""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Route,
    expect,
    sync_playwright,
)

from tests.browser import PASSWORD
from tests.conftest import make_settings
from tests.demo import EMAIL, Demo, fill
from tests.factories import make_user
from tests.services_needed import require
from tools import vendor_htmx
from webapp.app import create_app
from webapp.core.settings import HTMX_URL
from webapp.models import db
from webapp.models.user import Role
from webapp.services.installation import installation
from webapp.workers import runtime
from webapp.workers.http import Http

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e" in str(item.path):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def htmx_file() -> bytes:
    """The published file, as the CDN serves it."""
    try:
        return vendor_htmx.fetch()
    except (OSError, subprocess.SubprocessError) as error:
        require("htmx", False, f"the package htmx.org cannot be had ({type(error).__name__})")
        raise


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    require("Chromium", path is not None, "no chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Server:
    url: str
    app: Flask


@contextmanager
def listening(app: Flask) -> Iterator[Server]:
    """Serve the pages of an application, on a port of its own; nothing else runs."""
    with app.app_context():
        http = Http(app, replace(installation().settings, port=0))
    port = http.port
    ends = threading.Event()

    def serve() -> None:
        http.run(lambda: not ends.is_set())
        http.stop()

    thread = threading.Thread(target=serve, name="http")
    thread.start()
    yield Server(f"http://127.0.0.1:{port}", app)
    ends.set()
    with suppress(ConnectionRefusedError):  # it has looked by itself, and stopped listening
        socket.create_connection(("127.0.0.1", port)).close()  # wakes it: it looks twice a second
    thread.join()


@pytest.fixture
def server(app: Flask) -> Iterator[Server]:
    """The application with all its threads."""
    with listening(app) as server:
        running = runtime.start(app)
        yield server
        assert running.stop(30)


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Demo]]:
    """An installation full of data, the same for all tests that only look; nothing is sent."""
    app = create_app(make_settings(tmp_path_factory.mktemp("demo")))
    app.testing = True
    with app.app_context():
        db.create_all()
        demo = fill()
    with listening(app) as server:
        yield server, demo
    with app.app_context():
        db.engine.dispose()


OpenPage = Callable[..., Page]


def new_context(
    chromium: Browser, server: Server, cdn_file: bytes | None, **options: Any
) -> BrowserContext:
    """Open a browser profile for which the CDN has this file; None: the CDN is out of reach."""
    context = chromium.new_context(base_url=server.url, reduced_motion="reduce", **options)
    context.set_default_timeout(10_000)

    def answer(route: Route) -> None:
        if cdn_file is None or route.request.url != HTMX_URL:
            route.abort()
            return
        route.fulfill(
            body=cdn_file,
            content_type="application/javascript",
            headers={"access-control-allow-origin": "*"},
        )

    context.route("https://cdn.jsdelivr.net/**", answer)
    return context


def see_the_end(page: Page, strip: str, words: str) -> None:
    """Wait until a test has ended and says so; without a script its link is pressed."""
    refresh = page.locator(strip).get_by_role("link", name="Refresh")
    for _ in range(40):
        if not refresh.count():
            break
        refresh.click()
        page.wait_for_timeout(250)
    expect(page.locator(strip)).to_contain_text(words, timeout=15_000)


def sign_in(page: Page, email: str = EMAIL) -> None:
    """Fill the form, as a person would."""
    page.goto("/login")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


@pytest.fixture
def open_page(chromium: Browser, server: Server, htmx_file: bytes) -> Iterator[OpenPage]:
    """Open a browser window; errors on its console fail the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    expected = ["the server responded with a status of 4"]

    def complain(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(words in message.text for words in expected):
            errors.append(message.text)

    def open_page(
        path: str = "/",
        *,
        javascript: bool = True,
        phone: bool = False,
        scheme: str = "light",
        cdn_file: bytes | None = htmx_file,
        expect_errors: tuple[str, ...] = (),
    ) -> Page:
        expected.extend(expect_errors)
        context = new_context(
            chromium,
            server,
            cdn_file,
            viewport=PHONE if phone else DESK,
            java_script_enabled=javascript,
            color_scheme=scheme,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def signed_in(open_page: OpenPage) -> OpenPage:
    """Open a window and sign in as an admin called Mara."""
    make_user(role=Role.ADMIN, name="Mara Lindqvist", email=EMAIL)

    def open_signed_in(path: str = "/", **options: object) -> Page:
        page = open_page("/login", **options)
        sign_in(page)
        page.goto(path)
        return page

    return open_signed_in
