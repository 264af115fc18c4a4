"""No page stands in the way of assistive technology: axe in both schemes, on a desk and a phone,
with every popover open; and nothing is wider than the window.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page

from tests.demo import Demo
from tests.e2e.conftest import DESK, PHONE, OpenPage, Server, new_context, sign_in
from tests.e2e.pages import EMPTY, PAGES

TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# One popover of each kind is opened and checked alone; the page behind it was checked before.
CHECK: Final = """
async ({tags, rules}) => {
  const options = {resultTypes: ["violations"]};
  options.runOnly = rules ? {type: "rule", values: rules} : {type: "tag", values: tags};
  const found = [];
  const look = async (what, where) => {
    const {violations} = await axe.run(what, options);
    for (const rule of violations)
      for (const node of rule.nodes) found.push(`${where}: ${rule.id}: ${node.html.slice(0, 200)}`);
  };
  await look(document, "page");
  const kinds = new Set();
  for (const popover of document.querySelectorAll("[popover]")) {
    const kind = popover.id.split("-")[0];
    if (kinds.has(kind) || (kind === "sidebar" && innerWidth >= 992)) continue;
    kinds.add(kind);
    const around = innerWidth < 992 ? popover.parentElement.closest("[popover]") : null;
    around?.showPopover();
    popover.showPopover();
    await look(popover, "#" + popover.id);
    popover.hidePopover();
    around?.hidePopover();
  }
  const wide = document.scrollingElement.scrollWidth - innerWidth;
  if (wide > 0) found.push(`page: ${wide} px wider than the window`);
  return found;
}
"""


def problems(page: Page) -> list[str]:
    """Return what is wrong with the page as it is, in all four looks."""
    page.evaluate(AXE_SCRIPT)
    found: list[str] = []
    for size, scheme, rules in (
        (DESK, "light", None),
        (DESK, "dark", ["color-contrast"]),
        (PHONE, "dark", ["color-contrast"]),
        (PHONE, "light", None),
    ):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        arguments: dict[str, Any] = {"tags": TAGS, "rules": rules}
        found += [
            f"{size['width']} px, {scheme}, {words}" for words in page.evaluate(CHECK, arguments)
        ]
    return found


@pytest.fixture(scope="module")
def tab(chromium: Browser, demo_server: tuple[Server, Demo], htmx_file: bytes) -> Iterator[Page]:
    """A window in which an admin is signed in on the demo installation."""
    context = new_context(chromium, demo_server[0], htmx_file)
    page = context.new_page()
    page.goto("/login")
    sign_in(page)
    yield page
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_full_page(tab: Page, demo_server: tuple[Server, Demo], name: str) -> None:
    tab.goto(PAGES[name](demo_server[1]))
    assert problems(tab) == []


def test_the_check_itself_finds_what_is_wrong(tab: Page) -> None:
    tab.goto("/profile")
    tab.evaluate("""
      () => {
        const menu = document.querySelector("#account-menu a");
        menu.style.color = "light-dark(black, #333)";
        menu.style.background = "light-dark(white, #222)";
        const wide = document.createElement("p");
        wide.textContent = "wide";
        wide.style.width = "600px";
        document.querySelector("main").append(wide, document.createElement("button"));
      }
    """)
    found = "\n".join(problems(tab))
    assert "1440 px, dark, #account-menu: color-contrast" in found
    assert "390 px, dark, #account-menu: color-contrast" in found
    assert "light, #account-menu" not in found
    assert "1440 px, light, page: button-name" in found
    assert "390 px, light, page: 2" in found
    assert "1440 px, light, page: 2" not in found


@pytest.mark.parametrize("path", EMPTY)
def test_a_page_on_which_there_is_nothing_yet(signed_in: OpenPage, path: str) -> None:
    assert problems(signed_in(path)) == []
