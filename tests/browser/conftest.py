"""One browser for each file of tests: the system's Chromium, without a network, over file://."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from views import TYPESET, VIEWS, View

from rendered import book

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder carry the marker `browser`."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="module")
def site() -> Path:
    """The folder of the built pages."""
    return book().site


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Browser]:
    """The system's Chromium. The site comes first: a book that does not build needs no browser."""
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        names = ", ".join(CHROMIUM)
        pytest.fail(
            f"no Chromium on the PATH (looked for {names}); install it, on Debian with "
            "`apt-get install chromium`, or leave these tests out with -m 'not browser'"
        )
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers lack; only our own pages are opened.
        arguments = ["--no-sandbox", "--disable-background-networking"]
        running = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[Callable[[View], BrowserContext]]:
    """For each view one window, with a fresh profile that has the theme's own setting stored."""
    opened: list[BrowserContext] = []

    @functools.cache
    def open_context(view: View) -> BrowserContext:
        window = browser.new_context(
            viewport={"width": view.width, "height": 900}, offline=True, reduced_motion="reduce"
        )
        stored = "".join(
            f"localStorage.setItem('{key}', '{view.mode}');" for key in ("mode", "theme")
        )
        window.add_init_script(stored)
        opened.append(window)
        return window

    yield open_context
    for window in opened:
        window.close()


@pytest.fixture
def page(context: Callable[[View], BrowserContext]) -> Iterator[Page]:
    """An empty page, light and wide."""
    page = context(VIEWS[0]).new_page()
    yield page
    page.close()


@pytest.fixture
def visit(site: Path, page: Page) -> Callable[[str], Page]:
    """Open a page by its name, such as `book/09_attention`, and wait for its formulas."""

    def open_page(name: str) -> Page:
        page.goto((site / f"{name}.html").as_uri())
        page.evaluate(TYPESET)
        return page

    return open_page
