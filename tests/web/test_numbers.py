"""Numbers and signs that no database holds are no server errors."""

import pytest
from flask import Flask

from tests.browser import PASSWORD, Browser
from tests.factories import make_job, make_user
from tests.services.test_dashboard import add_run
from webapp.models.user import Role

HUGE = "99999999999999999999"


@pytest.mark.parametrize("number", [HUGE, "2147483648"])
@pytest.mark.parametrize("page", ["jobs", "runs", "restores", "channels", "sources", "users"])
def test_an_id_beyond_every_table_is_not_found(admin: Browser, page: str, number: str) -> None:
    admin.get(f"/{page}/{number}", 404)


@pytest.mark.parametrize("value", [HUGE, "-1", "x", "", "٣", "1e9"])
def test_nonsense_in_a_query_string_narrows_nothing(admin: Browser, value: str) -> None:
    if value != HUGE:  # the largest id that there can be: after it nothing comes
        add_run(make_job(name="Nightly shop"), "success")
        for name in ("before", "after", "job"):
            assert "Nightly shop" in admin.get(f"/runs?{name}={value}").select_one("table").text  # type: ignore[union-attr]
    for page in ("/runs", "/restores", "/storage", "/settings/audit", "/deliveries"):
        for name in ("before", "after", "job", "line"):
            admin.get(f"{page}?{name}={value}")
    admin.get(f"/restores/new?artifact={value}", 303)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/login", {"email": "mara\0@example.org", "password": PASSWORD}),
        ("/login", {"email": "mara@example.org", "password": "a\0b"}),
        ("/login", {"email\0": "mara@example.org"}),
    ],
)
def test_a_form_with_nul_is_refused(postgres_app: Flask, path: str, data: dict[str, str]) -> None:
    make_user(email="mara@example.org", role=Role.ADMIN)
    Browser(postgres_app).post(path, data, 400)


@pytest.mark.parametrize(
    "path", ["/deliveries/%00", "/deliveries?q=%00", "/channels?q=a%00b", "/channels?test=%00"]
)
def test_an_address_with_nul_is_refused(postgres_app: Flask, path: str) -> None:
    make_user(email="mara@example.org", role=Role.ADMIN)
    browser = Browser(postgres_app)
    browser.sign_in("mara@example.org")
    browser.get(path, 400)
