"""Settings → Monitoring in the browser."""

from tests.browser import Browser
from tests.servers.http import Peer

PAGE = "/settings/monitoring"
SECRET = "very-secret-token"


def test_the_address_is_stored_tested_and_never_shown(admin: Browser, peer: Peer) -> None:
    admin.post(f"{PAGE}/heartbeat", {"url": f"{peer.url}/{SECRET}"})
    page = admin.get(PAGE)
    assert "Stored encrypted" in page.get_text()
    assert SECRET not in admin.last.text
    admin.post(f"{PAGE}/heartbeat/test", {})
    assert [request.path for request in peer.wait(1)] == [f"/{SECRET}"]
    said = admin.get(PAGE).get_text()
    assert "It answered 200." in said
    admin.post(f"{PAGE}/heartbeat", {"url": ""})
    assert "Stored encrypted" in admin.get(PAGE).get_text()
    admin.post(f"{PAGE}/heartbeat", {"clear": "y"})
    assert admin.get(PAGE).select(".secret") == []


def test_a_wrong_address_comes_back_with_its_error(admin: Browser) -> None:
    page = admin.post(f"{PAGE}/heartbeat", {"url": "nonsense"}, status=422)
    error = page.select_one("#url-error")
    assert error is not None
    assert "https://hc-ping.com" in error.get_text()


def test_a_test_with_htmx_answers_with_the_latest_call(admin: Browser, peer: Peer) -> None:
    admin.post(f"{PAGE}/heartbeat", {"url": f"{peer.url}/{SECRET}"})
    peer.answer(500)
    page = admin.post(f"{PAGE}/heartbeat/test", {}, status=200, headers={"HX-Request": "true"})
    assert "It answered 500." in page.get_text()


def test_operators_may_test_and_not_change(operator: Browser) -> None:
    page = operator.get(PAGE)
    assert page.select("input[name=url]") == []
    operator.post(f"{PAGE}/heartbeat/test", {})
    assert "Enter the address and save it first" in operator.get(PAGE).get_text()
