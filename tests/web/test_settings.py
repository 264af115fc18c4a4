"""Settings → General."""

import pytest

from tests.browser import Browser
from webapp.services import preferences

VALUES = {
    "instance_name": "Nest",
    "base_url": "https://nest.example.org/",
    "timezone": "Europe/Berlin",
}


def test_the_settings_are_there_after_saving(admin: Browser) -> None:
    admin.post("/settings/general", VALUES)
    page = admin.follow()
    assert page.title.text.endswith("· Nest")
    assert page.select_one("#base_url")["value"] == "https://nest.example.org"
    assert preferences.current().timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    "url", ["ftp://x.example", "nest", "https://", "https://a:b@x.example", "http://x:99999"]
)
def test_an_address_that_cannot_begin_links_is_refused(admin: Browser, url: str) -> None:
    page = admin.post("/settings/general", VALUES | {"base_url": url}, 422)
    assert "https://backup.example.org" in page.select_one("#base_url-error").text
    assert preferences.current().instance_name == "DBackup"


def test_an_operator_reads_and_does_not_write(operator: Browser) -> None:
    page = operator.get("/settings/general")
    assert page.select_one("#instance_name").has_attr("disabled")
    assert "Save settings" not in page.text
    operator.post("/settings/general", VALUES, 403)


def test_a_viewer_sees_no_settings(viewer: Browser) -> None:
    viewer.get("/settings/general", 403)
