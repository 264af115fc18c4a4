"""From a click to the painted swap, in Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Page, sync_playwright

from webapp.core.settings import HTMX_URL

CLICKS: Final = 40
ARGS: Final = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# resolves after the frame that follows the swap has been painted
MEASURE: Final = """selector => new Promise(done => {
  const began = performance.now();
  document.body.addEventListener('htmx:afterSwap', () => requestAnimationFrame(
    () => { const channel = new MessageChannel();
            channel.port1.onmessage = () => done(performance.now() - began);
            channel.port2.postMessage(0); }), { once: true });
  document.querySelector(selector).click();
})"""


@contextmanager
def opened(chromium: str, url: str, htmx: bytes, cookie: str = "") -> Iterator[Page]:
    """Open a page; the CDN's address is answered with the file that it has."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGS))
        context = browser.new_context(bypass_csp=True)
        context.route(HTMX_URL, lambda route: route.fulfill(body=htmx, headers=_HEADERS))
        for pair in filter(None, cookie.split("; ")):
            name, _, value = pair.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": url}])
        page = context.new_page()
        page.goto(url)
        page.wait_for_function("window.htmx !== undefined")
        yield page
        browser.close()


_HEADERS: Final = {"Content-Type": "text/javascript", "Access-Control-Allow-Origin": "*"}


def clicks(page: Page, selector: str) -> list[float]:
    """Return the milliseconds of each click."""
    times: list[float] = []
    for _ in range(CLICKS):
        took: Any = page.evaluate(MEASURE, selector)
        times.append(float(took))
        page.wait_for_timeout(30)
    return times[5:]  # the first ones warm caches up
