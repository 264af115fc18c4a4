"""A test browser that enforces the rules of the house on every page it gets."""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bs4 import BeautifulSoup, Tag
from flask import Flask, session
from flask.testing import FlaskClient
from flask_wtf.csrf import generate_csrf
from werkzeug.test import TestResponse

FormData = Mapping[str, str | Sequence[str]]
PASSWORD = "quiet rivers carry boats"


class Browser:
    """One person's browser: cookies, CSRF tokens, and pages that must keep the rules."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.last: TestResponse

    def get(
        self, path: str, status: int = 200, *, base_url: str | None = None, **headers: str
    ) -> BeautifulSoup:
        """Open a page; `hx_request="true"` and the like become headers."""
        self._open(path, method="GET", headers=_headers(headers), base_url=base_url)
        return self._checked(status)

    def post(
        self, path: str, data: FormData | None = None, status: int = 303, **more: Any
    ) -> BeautifulSoup:
        """Send a form without JavaScript; by default the answer must be "go there" (303)."""
        self._open(path, method="POST", data={"csrf_token": self.token(), **(data or {})}, **more)
        return self._checked(status)

    def htmx_get(self, path: str, status: int = 200) -> BeautifulSoup:
        """Ask for a partial."""
        return self.get(path, status, hx_request="true")

    def htmx_post(
        self, path: str, data: FormData | None = None, status: int = 200
    ) -> BeautifulSoup:
        """Send a form as HTMX does, with the token in a header."""
        headers = {"HX-Request": "true", "X-CSRFToken": self.token()}
        self._open(path, method="POST", data=data, headers=headers)
        return self._checked(status)

    def follow(self) -> BeautifulSoup:
        """Go where the last answer pointed."""
        return self.get(self.last.headers["Location"])

    def sign_in(self, email: str, password: str = PASSWORD, **more: str) -> BeautifulSoup:
        """Sign in through the form."""
        return self.post("/login", {"email": email, "password": password, **more})

    def token(self) -> str:
        """Return a CSRF token of this session, as a page would carry it."""
        with self.app.app_context():
            with self.client.session_transaction() as stored:
                raw = stored.setdefault("csrf_token", secrets.token_hex(20))
            with self.app.test_request_context():
                session["csrf_token"] = raw
                return generate_csrf()

    def _open(self, path: str, **request: Any) -> None:
        # a context of its own: what one request keeps in `g` is nothing to the next
        with self.app.app_context():
            self.last = self.client.open(path, **request)

    def _checked(self, status: int) -> BeautifulSoup:
        response = self.last
        soup = BeautifulSoup(response.data, "html.parser")
        assert response.status_code == status, (
            f"{response.request.method} {response.request.path} answered {response.status}, "
            f"not {status}: {soup.get_text(' ', strip=True)[:600]}"
        )
        if response.mimetype == "text/html" and response.status_code not in range(300, 400):
            check(soup, is_page=b"<html" in response.data)
        return soup


def check(soup: BeautifulSoup, *, is_page: bool) -> None:
    """Assert what holds for every page, and for every partial as far as it goes."""
    ids = Counter(str(tag["id"]) for tag in soup.find_all(id=True))
    assert [name for name, times in ids.items() if times > 1] == [], "ids that are not unique"
    for form in soup.find_all("form"):
        _check_form(form)
    assert soup.find_all(style=True) == [], "inline styles are forbidden by the content policy"
    scripts = [tag for tag in soup.find_all("script") if not tag.get("src")]
    assert scripts == [], "inline scripts are forbidden by the content policy"
    if is_page:
        assert len(soup.find_all("h1")) == 1, "a page has one h1"
        assert soup.title is not None
        assert soup.title.get_text(strip=True).split("·")[0].strip(), "a page has a title"


def _check_form(form: Tag) -> None:
    assert form.get("action"), f"a form without action: {form}"
    for name in ("hx-post", "hx-get"):
        if name in form.attrs:
            assert form[name] == form["action"], f"{name} and action differ: {form}"
    if str(form.get("method", "get")).lower() == "post":
        assert form.select_one("input[name=csrf_token][value]"), f"a form without token: {form}"


def _headers(values: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in values.items()}
