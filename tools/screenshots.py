"""Takes pictures of the pages on a plausible installation: light, dark, and on a phone.

Usage: python -m tools.screenshots FOLDER [NAME...]
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import make_settings
from tests.demo import Demo, fill
from tests.e2e.conftest import ARGS, DESK, PHONE, Server, listening, new_context, sign_in
from tests.e2e.pages import EMPTY, PAGES
from tools import vendor_htmx
from webapp.app import create_app
from webapp.models import db

LOOKS: Final = {
    "light": (DESK, "light"),
    "dark": (DESK, "dark"),
    "phone": (PHONE, "light"),
}
POPOVERS: Final = {
    "settings notifications": "#channels-restore_failure",
    "channels": "main .btn-icon[popovertarget]",
    "dashboard": "[popovertarget=sidebar]",
}
"""What is pressed for one more picture."""


def _stand_in(family: str) -> str:
    return f"""  <match target="pattern">
    <test name="family"><string>{family}</string></test>
    <edit name="family" mode="assign" binding="strong"><string>Inter</string></edit>
  </match>
"""


FONTS: Final = f"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
{"".join(map(_stand_in, ("system-ui", "sans-serif", "sans")))}</fontconfig>
"""
"""Inter stands in for the font of the reader's system."""


def main() -> None:
    """Take the pictures that were asked for, or all."""
    parser = argparse.ArgumentParser(description="Take pictures of the pages.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="parts of the pages' names; all if none is given")
    parser.add_argument("--look", choices=LOOKS, action="append", help="all three if not given")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        sys.exit("There is no chromium on the PATH.")
    with ExitStack() as stack:
        fonts = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "fonts.conf"
        fonts.write_text(FONTS)
        os.environ["FONTCONFIG_FILE"] = str(fonts)
        play = stack.enter_context(sync_playwright())
        chromium = play.chromium.launch(executable_path=path, args=ARGS)
        htmx = vendor_htmx.fetch()
        for filled in (True, False):
            server, demo = stack.enter_context(_installation(filled=filled))
            for look in wanted.look or LOOKS:
                page = _window(chromium, server, htmx, look)
                for name, address in _addresses(demo, filled=filled).items():
                    if not wanted.names or any(part in name for part in wanted.names):
                        _take(page, address, name, look, wanted.folder)
                page.context.close()


@contextmanager
def _installation(*, filled: bool) -> Iterator[tuple[Server, Demo]]:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(make_settings(Path(folder)))
        with app.app_context():
            db.create_all()
            demo = fill() if filled else Demo()
        with listening(app) as server:
            yield server, demo


def _addresses(demo: Demo, *, filled: bool) -> dict[str, str]:
    if filled:
        return {"login": "/login"} | {name: address(demo) for name, address in PAGES.items()}
    return {f"empty {path.strip('/').replace('/', ' ')}".strip(): path for path in EMPTY}


def _window(chromium: Browser, server: Server, htmx: bytes, look: str) -> Page:
    size, scheme = LOOKS[look]
    context = new_context(chromium, server, htmx, viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.goto("/login")
    return page


def _take(page: Page, address: str, name: str, look: str, folder: Path) -> None:
    if name != "login" and page.url.endswith("/setup"):
        _set_up(page)
    elif name != "login" and page.url.endswith("/login"):
        sign_in(page)
    page.goto(address)
    file = folder / f"{name.replace(' ', '-')}-{look}.png"
    size = LOOKS[look][0]
    height = page.evaluate("document.scrollingElement.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(height, size["height"])})
    page.screenshot(path=file)
    page.set_viewport_size({"width": size["width"], "height": size["height"]})
    print(file)
    opener = page.locator(POPOVERS.get(name, "#none")).first
    if opener.is_visible():
        opener.click()
        page.screenshot(path=file.with_stem(f"{file.stem}-open"))
        page.keyboard.press("Escape")


def _set_up(page: Page) -> None:
    page.get_by_label("Your name").fill("Mara Lindqvist")
    page.get_by_label("Email").fill("mara@example.org")
    page.get_by_label("Password", exact=True).fill("quiet rivers carry boats")
    page.get_by_label("Repeat password").fill("quiet rivers carry boats")
    page.locator("main button[type=submit]").click()
    page.wait_for_url("**/")


if __name__ == "__main__":
    main()
