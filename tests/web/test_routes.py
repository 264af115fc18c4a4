"""Every route of the house: who may open it, and what it needs."""

from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.routing import IntegerConverter, Rule

from tests.browser import Browser
from tests.conftest import make_settings
from webapp.app import create_app
from webapp.web.login import PUBLIC, WITHOUT_SETUP


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> list[Rule]:
    app = create_app(make_settings(tmp_path_factory.mktemp("routes")))
    return list(app.url_map.iter_rules())


def address(app: Flask, rule: Rule) -> str:
    values = {
        name: "1" if isinstance(rule._converters[name], IntegerConverter) else "x"
        for name in rule.arguments
    }
    return app.url_map.bind("localhost").build(
        rule.endpoint, values, method=next(iter(rule.methods))
    )


def by_method(rules: list[Rule], *methods: str) -> Iterator[tuple[Rule, str]]:
    for rule in rules:
        for method in methods:
            if method in (rule.methods or ()):
                yield rule, method


def test_the_public_list_is_short_and_true(rules: list[Rule]) -> None:
    endpoints = {rule.endpoint for rule in rules}
    assert endpoints >= PUBLIC
    assert len(PUBLIC) <= 12


def test_every_other_route_needs_a_sign_in(browser: Browser, rules: list[Rule]) -> None:
    closed = [pair for pair in by_method(rules, "GET", "POST") if pair[0].endpoint not in PUBLIC]
    assert len(closed) > 10
    for rule, method in closed:
        browser._open(address(browser.app, rule), method=method)
        assert browser.last.status_code == 303, f"{method} {rule}"
        assert browser.last.location.startswith("/login"), f"{method} {rule}"


def test_before_the_setup_every_page_leads_to_it(app: Flask, rules: list[Rule]) -> None:
    browser = Browser(app)
    for rule, method in by_method(rules, "GET", "POST"):
        if rule.endpoint not in WITHOUT_SETUP:
            browser._open(address(app, rule), method=method)
            assert browser.last.location == "/setup", f"{method} {rule}"


def test_every_change_needs_a_csrf_token(admin: Browser, rules: list[Rule]) -> None:
    for rule, method in by_method(rules, "POST", "PUT", "PATCH", "DELETE"):
        admin._open(address(admin.app, rule), method=method)
        assert admin.last.status_code == 400, f"{method} {rule}"
        assert b"could not be checked" in admin.last.data, f"{method} {rule}"


def test_no_route_ends_with_a_slash(rules: list[Rule]) -> None:
    assert [rule.rule for rule in rules if rule.rule.endswith("/") and rule.rule != "/"] == []


def test_every_entry_of_the_menu_opens(admin: Browser) -> None:
    links = [link["href"] for link in admin.get("/profile").select("nav.sidebar a.nav-item")]
    assert len(links) == len(set(links)) > 3
    for link in links:
        page = admin.get(link)
        current = page.select("nav.sidebar a[aria-current=page]")
        assert [item["href"] for item in current] == [link]


def test_health_answers_without_a_sign_in(app: Flask) -> None:
    browser = Browser(app)
    assert browser.get("/healthz").text == "ok\n"
    assert browser.get("/readyz").text == "ok\n"
