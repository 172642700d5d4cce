"""What a reader does: search, unfold a solution, follow a link, open a chapter on Colab."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import book_cover
import chapters as toc
import pytest
from chapters import Chapter
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from views import VIEWS, View

from rendered import exported_cells

Visit = Callable[[str], Page]
CHAPTERS, ATTENTION = toc.chapters(), toc.chapter("attention")


def test_the_front_door_leads_to_the_cover(site: Path, page: Page) -> None:
    page.goto((site / "index.html").as_uri())
    page.wait_for_url("**/book/index.html")
    expect(page.locator("article h1")).to_contain_text("GPT")


def test_every_part_of_the_cover_leads_to_its_chapter(visit: Visit) -> None:
    page = visit("book/index")
    links = page.locator("svg.book-cover a")
    found = {}
    for link in links.all():
        label = re.fullmatch(r"Chapter (\d+): (\S.*)", link.get_attribute("aria-label") or "")
        assert label
        address = f"book/{(link.get_attribute('href') or '').removesuffix('.html')}"
        found[address] = (int(label[1]), label[2])
    drawn = [chapter for chapter in CHAPTERS if chapter.stem in book_cover.DISCS]
    assert found == {chapter.page: (chapter.number, chapter.title()) for chapter in drawn}
    links.filter(has_text="attention").locator(".disc").click()
    expect(page.locator("article h1")).to_contain_text(f"{ATTENTION.number}.")


def test_chinese_is_searched_by_pairs_of_characters(visit: Visit) -> None:
    page = visit("search")
    for text, found in {
        "词元": ["词元"],
        "把文本切成词元（token）。": ["把文", "文本", "本切", "切成", "成词", "词元", "token"],
        "KV cache": ["kv", "cache"],
    }.items():
        assert page.evaluate("text => words(text)", text) == found


@pytest.mark.parametrize("how", ["from the search page", "from a chapter, by keyboard"])
def test_search_finds_the_causal_mask(visit: Visit, how: str) -> None:
    if how == "from the search page":
        page = visit("search")
        field = page.locator("main input[type=search]")
    else:
        page = visit(CHAPTERS[0].page)
        page.keyboard.press("Control+k")
        field = page.locator("dialog input[type=search]")
    field.fill("causal mask")
    field.press("Enter")
    expect(page.locator("#search-results")).to_contain_text("matching the search query")
    found = page.locator(f"#search-results a[href*='{ATTENTION.name}.html#']")
    expect(found.first).to_be_visible()
    section = found.first.inner_text()
    found.first.click()
    expect(page.locator("article h1")).to_contain_text(f"{ATTENTION.number}.")
    expect(page.get_by_role("heading", name=section).first).to_be_in_viewport()


@pytest.mark.parametrize(
    ("query", "chapter"),
    [
        ("KV cache", "generation"),
        ("causal mask", "attention"),
        ("perplexity", "loss"),
        ("BPETokenizer", "tokenizer"),
        ("learning rate", "optimizer"),
        ("top-p", "sampling"),
        ("resuming", "run"),
    ],
)
def test_search_finds_a_section_of_the_right_chapter_first(
    visit: Visit, query: str, chapter: str
) -> None:
    page = visit("search")
    field = page.locator("main input[type=search]")
    field.fill(query)
    field.press("Enter")
    results = page.locator("ol.section-results li").filter(has_not_text="Glossary")
    first = results.first.locator("a").get_attribute("href") or ""
    assert first.startswith(f"{toc.chapter(chapter).page}.html#"), first
    assert len(results.first.locator("p").inner_text()) > 40


def test_search_says_when_nothing_is_found(visit: Visit) -> None:
    page = visit("search")
    field = page.locator("main input[type=search]")
    field.fill("xylophone")
    field.press("Enter")
    expect(page.locator(".search-summary")).to_contain_text("No section matches")


def test_the_arrow_keys_turn_the_pages(visit: Visit) -> None:
    page = visit(CHAPTERS[1].page)
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{CHAPTERS[2].page}.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/{CHAPTERS[1].page}.html")


def test_a_term_shows_its_meaning_on_hover_and_on_focus(visit: Visit) -> None:
    page = visit(ATTENTION.page)
    meaning = page.locator("#meaning")
    expect(meaning).to_be_hidden()
    term = page.locator("a.term", has_text="softmax").first
    term.hover()
    expect(meaning).to_contain_text("sum to 1")
    page.mouse.move(0, 0)
    expect(meaning).to_be_hidden()
    term.focus()
    expect(meaning).to_be_visible()
    expect(term).to_have_attribute("aria-describedby", "meaning")
    page.keyboard.press("Escape")
    expect(meaning).to_be_hidden()
    term.click()
    page.wait_for_url("**/glossary.html#term-softmax")


def test_a_tap_shows_the_meaning_and_a_second_follows(site: Path, browser: Browser) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = phone.new_page()
    page.goto((site / f"{ATTENTION.page}.html").as_uri())
    term = page.locator("a.term", has_text="softmax").first
    term.tap()
    expect(page.locator("#meaning")).to_contain_text("sum to 1")
    assert page.url.endswith(f"{ATTENTION.name}.html")
    term.tap()
    page.wait_for_url("**/glossary.html#term-softmax")
    phone.close()


def test_a_symbol_shows_its_meaning(visit: Visit) -> None:
    page = visit(toc.chapter("config").page)
    page.locator("a.term:has(.math)").first.hover()
    expect(page.locator("#meaning")).to_have_text("batch: sequences in a batch")


def test_docstrings_of_exported_cells_are_folded(visit: Visit) -> None:
    page = visit(ATTENTION.page)
    cell = page.locator("div.cell.exported", has_text="def causal_mask").first
    code = cell.locator("div.cell_input pre").first
    button = code.locator("button.doc-fold").first
    told = code.get_by_text("Raises:")
    expect(button).to_have_attribute("aria-label", re.compile("More of the docstring: .*Raises"))
    expect(told).to_be_hidden()
    expect(code.get_by_text("True where a query may look")).to_be_visible()
    button.focus()
    page.keyboard.press("Enter")
    expect(told).to_be_visible()
    button.click()
    expect(told).to_be_hidden()
    assert "Raises:" in (code.text_content() or "")  # what is copied is whole


def test_code_on_a_phone_is_copied_as_it_was_written(visit: Visit) -> None:
    page = visit(ATTENTION.page)
    code = "div.cell_input pre"
    wide = page.locator(code).first.text_content()
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator(f"{code}.lines").first).to_be_attached()
    assert (page.locator(code).first.text_content() or "").rstrip() == (wide or "").rstrip()
    marked = page.locator(f"{code} .code-line").evaluate_all(
        "lines => lines.filter((line) => line.offsetHeight > 30).length"
    )
    assert marked > 0


@pytest.fixture(scope="class", params=CHAPTERS, ids=lambda chapter: chapter.name)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    return request.param


@pytest.fixture(scope="class")
def opened(
    chapter: Chapter, site: Path, context: Callable[[View], BrowserContext]
) -> Iterator[Page]:
    """A chapter, opened once for the tests that look at it; each leaves it as it was."""
    page = context(VIEWS[0]).new_page()
    page.goto((site / f"{chapter.page}.html").as_uri())
    yield page
    page.close()


class TestEveryChapter:
    def test_its_solutions_unfold_by_click_and_fold_again(self, opened: Page) -> None:
        solutions = opened.locator(".solution.dropdown")
        assert solutions.count() >= 1
        for solution in solutions.all():
            title = solution.locator("> .admonition-title")
            code = solution.locator(".cell_input pre").first
            expect(code).to_be_hidden()
            title.click()
            expect(code).to_be_visible()
            title.click()
            expect(code).to_be_hidden()

    def test_its_solutions_unfold_by_keyboard(self, opened: Page) -> None:
        for solution in opened.locator(".solution.dropdown").all():
            button = solution.locator("button.toggle-button")
            expect(button).to_have_attribute("aria-expanded", "false")
            button.focus()
            assert button.evaluate("button => button.matches(':focus-visible')")
            opened.keyboard.press("Enter")
            expect(button).to_have_attribute("aria-expanded", "true")
            expect(solution.locator(".cell_input pre").first).to_be_visible()
            opened.keyboard.press("Enter")
            expect(button).to_have_attribute("aria-expanded", "false")

    def test_its_exported_cells_are_marked(self, opened: Page, chapter: Chapter) -> None:
        badges = opened.locator(".cell.exported > .exported-to")
        assert badges.count() == exported_cells(chapter) >= 1
        for badge in badges.all():
            expect(badge).to_be_visible()
            expect(badge).to_have_text(f"Exported to {chapter.module}")

    def test_what_is_not_for_readers_is_not_shown(self, opened: Page) -> None:
        shown = opened.locator("article").text_content() or ""
        for word in ("#|", "default_exp", "pip install --quiet", "COLAB_JUPYTER_IP"):
            assert word not in shown

    def test_its_pictures_are_numbered_and_captioned(self, opened: Page, chapter: Chapter) -> None:
        captions = opened.locator("p.figure-caption")
        numbers = captions.locator(".number").all_text_contents()
        assert numbers == [f"Figure {chapter.number}.{place + 1}" for place in range(len(numbers))]
        assert len(numbers) >= 5
        for text in captions.all_text_contents():
            assert len(text.split()) >= 5, text

    def test_code_is_copied_as_it_is_shown(self, opened: Page) -> None:
        code = opened.locator(".cell.exported .cell_input pre").first
        button = opened.locator(".cell.exported .cell_input button.copybtn").first
        assert button.get_attribute("data-clipboard-target") == f"#{code.get_attribute('id')}"

    def test_the_rocket_opens_it_on_colab(self, opened: Page, chapter: Chapter) -> None:
        link = opened.get_by_role("link", name="Colab")
        expect(link).to_be_hidden()
        opened.get_by_role("button", name=re.compile("Launch")).click()
        expect(link).to_be_visible()
        address = link.get_attribute("href") or ""
        assert address.startswith("https://colab.research.google.com/github/")
        assert address.endswith(f"/blob/notebooks/{chapter.name}.ipynb")


def test_a_long_formula_is_read_from_its_beginning(visit: Visit) -> None:
    page = visit("book/notation")
    page.set_viewport_size({"width": 320, "height": 900})
    formula = page.locator("div.math").first
    scrolled = formula.evaluate("box => [box.scrollWidth - box.clientWidth, box.scrollLeft]")
    assert scrolled[0] > 0
    assert scrolled[1] == 0
    expect(formula).to_have_attribute("tabindex", "0")
    formula.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('div.math').scrollLeft > 0")


def test_the_mode_can_be_changed(visit: Visit) -> None:
    page = visit("book/index")
    theme = page.locator("html")
    expect(theme).to_have_attribute("data-theme", "light")
    grounds = {}
    for _ in range(3):  # light, dark, as the system has it
        page.get_by_role("button", name=re.compile("Color mode|light|dark", re.I)).first.click()
        mode = theme.get_attribute("data-theme")
        grounds[mode] = page.locator("body").evaluate(
            "body => getComputedStyle(body).backgroundColor"
        )
    assert grounds.keys() == {"light", "dark"}
    assert grounds["light"] != grounds["dark"]


class TestQuestions:
    def question(self, visit: Visit, kind: str) -> Locator:
        page = visit(ATTENTION.page)
        page.evaluate("localStorage.clear()")
        page.reload()
        page.wait_for_load_state()
        return page.locator(f'form.question[data-question*=\'"kind": "{kind}"\']').first

    def test_an_option_is_judged_with_its_reason(self, visit: Visit) -> None:
        form = self.question(visit, "options")
        answer = json.loads(form.get_attribute("data-question") or "")["answer"]
        said = form.locator(".question-said")
        form.get_by_role("button", name="Check").click()
        expect(said).to_have_text("Choose first.")
        for place in (1 - answer if answer < 2 else 0, answer):
            form.locator("input").nth(place).check()
            form.get_by_role("button", name="Check").click()
            expect(said).to_contain_text("Right." if place == answer else "Not so.")
            reason = form.locator("details li").nth(place).text_content() or ""
            expect(said).to_contain_text(reason[:30])

    def test_a_number_is_right_within_its_tolerance(self, visit: Visit) -> None:
        form = self.question(visit, "number")
        asked = json.loads(form.get_attribute("data-question") or "")
        said = form.locator(".question-said")
        for given, verdict in (
            ("x", "Give a number."),
            (str(asked["answer"] * 2 + 1), "Not so."),
            (str(asked["answer"] + asked["tolerance"] / 2).replace(".", ","), "Right."),
        ):
            form.locator("input").fill(given)
            form.locator("input").press("Enter")
            expect(said).to_contain_text(verdict)

    @pytest.mark.parametrize(
        ("written", "answer"),
        [("196,608", 196608), ("196 608", 196608), ("−0,3", -0.3), ("1,234.5", 1234.5)],
    )
    def test_numbers_are_read_as_people_write_them(
        self, visit: Visit, written: str, answer: float
    ) -> None:
        page = visit(ATTENTION.page)
        asked = json.dumps({"kind": "number", "answer": answer, "tolerance": 0})
        page.add_init_script(
            "document.addEventListener('DOMContentLoaded', () => { document.querySelector("
            f"'form.question:has(input[type=text])').dataset.question = {asked!r}; }})"
        )
        page.reload()
        form = page.locator("form.question:has(input[type=text])").first
        form.locator("input").fill(written)
        form.locator("input").press("Enter")
        expect(form.locator(".question-said")).to_contain_text("Right.")

    def test_an_order_is_judged(self, visit: Visit) -> None:
        form = self.question(visit, "order")
        answer = json.loads(form.get_attribute("data-question") or "")["answer"]
        for rank, item in enumerate(answer, 1):
            form.locator("label", has_text=item).locator("select").select_option(str(rank))
        form.get_by_role("button", name="Check").click()
        expect(form.locator(".question-said")).to_contain_text("Right.")

    def test_what_was_answered_is_kept_in_the_browser(self, visit: Visit) -> None:
        form = self.question(visit, "number")
        asked = json.loads(form.get_attribute("data-question") or "")
        form.locator("input").fill(str(asked["answer"]))
        form.locator("input").press("Enter")
        form.page.reload()
        expect(form.locator(".question-said")).to_have_text("You have answered this one.")
