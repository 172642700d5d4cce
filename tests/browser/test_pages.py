"""Every page, in light and dark mode, wide and narrow: nothing missing, cut off or unreadable."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import axe_playwright_python
import chapters as toc
import pytest
from playwright.sync_api import BrowserContext
from views import TYPESET, VIEWS, View

from mini_gpt.support import figures

PAPER = f"rgb{tuple(bytes.fromhex(figures.PAPER.removeprefix('#')))}"
PAGES = [*toc.pages(), "search", "genindex"]
AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))

UNFOLD = "() => document.querySelectorAll('.toggle-button-hidden').forEach((b) => b.click())"

# Highlighted code is thousands of spans, and each costs axe milliseconds, though the verdict hangs
# on a few colors. One span of each kind stays: its own color and font, on those grounds.
KEEP_ONE_OF_EACH_KIND = r"""() => {
  const known = new Map();
  const grounds = (box) => {
    if (!box) return "";
    if (!known.has(box))
      known.set(box, getComputedStyle(box).backgroundColor + grounds(box.parentElement));
    return known.get(box);
  };
  const spans = [...document.querySelectorAll("pre span[class]:not(.code-line)")];
  const kinds = spans.map((span) => {
    const { color, backgroundColor, fontSize, fontWeight, opacity } = getComputedStyle(span);
    const own = [color, backgroundColor, fontSize, fontWeight, opacity];
    return [...own, grounds(span.parentElement)].join();
  });
  const seen = new Set();
  spans.forEach((span, place) => {
    if (seen.has(kinds[place])) span.replaceWith(...span.childNodes);
    seen.add(kinds[place]);
  });
  document.body.normalize(); // one text for each line, not one for each token
}"""

MEASURE = r"""() => {
  const text = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const raw = [];
  while (text.nextNode()) {
    const node = text.currentNode;
    const quoted = node.parentElement.closest("code, pre, script, style, textarea, mjx-container");
    if (!quoted && /\$|\\\(|\\\[|\\[a-z]{3,}/.test(node.data)) raw.push(node.data.trim());
  }
  const scrolls = (element) => {
    for (let box = element; box && box.tagName !== "ARTICLE"; box = box.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return true;
    return false;
  };
  const outside = [...document.querySelectorAll("article *")].filter((element) => {
    const box = element.getBoundingClientRect();
    const shown = box.width > 1 && box.height > 1 && !element.closest("mjx-assistive-mml");
    return shown && (box.right > innerWidth + 1 || box.left < -1) && !scrolls(element);
  });
  const cut = [...document.querySelectorAll("article *")].filter((element) => {
    const hides = ["hidden", "clip"].includes(getComputedStyle(element).overflowX);
    const shown = element.clientWidth > 1 && !element.closest("mjx-container");
    return hides && shown && element.scrollWidth > element.clientWidth + 1;
  });
  const head = (element) => element.outerHTML.slice(0, 120);
  return {
    theme: document.documentElement.dataset.theme,
    page_width: document.documentElement.scrollWidth,
    window_width: innerWidth,
    outside: outside.map(head),
    cut: cut.map(head),
    wide_code: [...document.querySelectorAll("div.cell_input pre")]
      .filter((code) => code.scrollWidth > code.clientWidth + 1)
      .map((code) => code.textContent.slice(0, 200)),
    formulas: document.querySelectorAll(".math").length,
    typeset: document.querySelectorAll(".math mjx-container mjx-math").length,
    faults: [...document.querySelectorAll("mjx-merror, [data-mjx-error]")].map(head),
    raw,
    images: [...document.querySelectorAll("article img")].map((image) => ({
      source: image.getAttribute("src"),
      loaded: image.complete && image.naturalWidth > 0,
      ground: getComputedStyle(image).backgroundColor,
      filter: getComputedStyle(image).filter,
    })),
  };
}"""


@dataclass
class Seen:
    """What one look at one page found."""

    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def look(site: Path, context: Callable[[View], BrowserContext]) -> Callable[[str, View], Seen]:
    """Look at a page, once for each view, with its solutions unfolded; note all that is wrong."""
    axe = AXE.read_text(encoding="utf-8")

    @functools.cache
    def look_at(name: str, view: View) -> Seen:
        seen, page = Seen(), context(view).new_page()
        page.on(
            "console", lambda said: seen.errors.append(said.text) if said.type == "error" else 0
        )
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("requestfailed", lambda request: seen.failed.append(request.url))
        page.on("request", lambda request: seen.external.append(request.url))
        page.goto((site / f"{name}.html").as_uri())
        page.evaluate(TYPESET)
        page.evaluate(UNFOLD)
        page.wait_for_timeout(100)  # book.js looks again at what can be scrolled
        seen.external = [url for url in seen.external if not url.startswith(("file:", "data:"))]
        page.evaluate(KEEP_ONE_OF_EACH_KIND)
        seen.measured = page.evaluate(MEASURE)
        page.evaluate(axe)
        # preload would fetch the style sheets, which a page from disk may not; it is for
        # the rules on media and orientation, and there is nothing of the kind here
        result = page.evaluate("axe.run({preload: false, resultTypes: ['violations']})")
        seen.violations = [
            f"{violation['id']}: {node['html'][:200]}: {node['failureSummary']}"
            for violation in result["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
        page.close()
        return seen

    return look_at


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view.mode}-{view.width}")
def view(request: pytest.FixtureRequest) -> View:
    return request.param


@pytest.fixture(params=PAGES)
def seen(request: pytest.FixtureRequest, view: View, look: Callable[[str, View], Seen]) -> Seen:
    return look(request.param, view)


def test_no_error_in_the_console(seen: Seen) -> None:
    assert seen.errors == []


def test_no_request_fails_and_none_leaves_the_page(seen: Seen) -> None:
    assert seen.failed == []
    assert seen.external == []


def test_the_theme_is_the_one_asked_for(seen: Seen, view: View) -> None:
    assert seen.measured["theme"] == view.mode


def test_formulas_are_typeset(seen: Seen) -> None:
    assert seen.measured["typeset"] == seen.measured["formulas"]
    assert seen.measured["faults"] == []
    assert seen.measured["raw"] == []


def test_the_page_does_not_scroll_sideways(seen: Seen) -> None:
    assert seen.measured["page_width"] <= seen.measured["window_width"]


def test_nothing_is_cut_off(seen: Seen) -> None:
    assert seen.measured["outside"] == []
    assert seen.measured["cut"] == []


def test_no_line_of_code_is_wider_than_its_cell(seen: Seen) -> None:
    """At 1280 pixels every line fits; on a phone what does not fit goes on below, with a mark."""
    assert seen.measured["wide_code"] == []


def test_figures_follow_the_mode(seen: Seen, view: View) -> None:
    turned = "none" if view.mode == "light" else "invert(0.88) hue-rotate(180deg)"
    for image in seen.measured["images"]:
        assert image["loaded"], image
        assert image["filter"] == turned, image
        assert image["ground"] == PAPER, image


def test_no_serious_violation_of_accessibility(seen: Seen) -> None:
    assert seen.violations == [], "\n\n".join(seen.violations)
