"""The rendered book and its Sphinx extensions, as far as no browser is needed."""

from __future__ import annotations

import ast
import dataclasses
import functools
import json
import math
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import book_api
import book_chapters
import book_cover
import book_figures
import book_first_run
import book_meta
import book_reference
import book_repository
import chapters as toc
import exported_cells as extension
import nbformat
import pytest
import translation
import yaml
from bs4 import BeautifulSoup, Tag
from chapters import Chapter
from PIL import Image
from pybtex.database import parse_file

from rendered import ROOT, Built, book, build, code_cells, exported_cells

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
URL, BRANCH = book_repository.address(
    CONFIG["repository"]["url"], CONFIG["repository"]["branch"], os.environ
)
BIBLIOGRAPHY = parse_file(str(ROOT / "book" / "references.bib"))
CHAPTERS, PAGES = toc.chapters(), toc.pages()

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
each_page = pytest.mark.parametrize("document", PAGES)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def soup(document: str, built: Built | None = None) -> BeautifulSoup:
    page = (built or book()).site / f"{document}.html"
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


@functools.cache
def ids(document: str) -> set[str]:
    return {str(tag["id"]) for tag in soup(document).select("[id]")}


def prose(document: str) -> str:
    """The Markdown of a page: of a notebook, its Markdown cells."""
    notebook = ROOT / f"{document}.ipynb"
    if not notebook.is_file():
        return read(f"{document}.md")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def notebook(*sources: str) -> str:
    """A notebook of code cells, as JSON; it says what it is in `#: tags` no more than needed."""
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{place}",
            "source": source,
            "metadata": {"tags": ["remove-cell"]} if "default_exp" in source else {},
            "outputs": [],
            "execution_count": place,
        }
        for place, source in enumerate(sources, start=1)
    ]
    opening = "# A chapter\n\n> Parts of `double`\n> size."
    title = {"cell_type": "markdown", "id": "title", "source": opening, "metadata": {}}
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [title, *cells]}
    return json.dumps(whole)


# What the book's extensions import.
NEEDED_TOOLS = (
    "chapters.py",
    "questions.py",
    "reader_drawings.py",
    "reader_notebooks.py",
    "reader_references.py",
)
SMALL_CONTENTS = """\
format: jb-book
root: book/index
parts:
  - caption: The only part
    numbered: 1
    chapters:
      - file: book/07_part
"""
SMALL_INDEX = """\
# A book

```sh
git clone {{ repository }} --branch {{ branch }}
```

```{chapter-table}
```

```{api} mini_gpt.part
double
LARGEST: the largest number
```
"""
SMALL_MODULE = """\
__all__ = ["LARGEST", "double"]
LARGEST = 12

def double(x: int | None) -> int:
    '''Twice a number:
    `x | x`.

    More about it.
    '''
"""


@pytest.fixture(scope="module")
def small_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of one page and one chapter, with this book's configuration, extensions and styles."""
    source = tmp_path_factory.mktemp("small")
    shutil.copy(ROOT / "_config.yml", source)
    for folder in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / folder, source / "book" / folder)
    shutil.copy(ROOT / "book" / "references.bib", source / "book")
    for folder in ("tools", "mini_gpt"):
        (source / folder).mkdir()
    for name in NEEDED_TOOLS:
        shutil.copy(ROOT / "tools" / name, source / "tools")
    (source / "_toc.yml").write_text(SMALL_CONTENTS, encoding="utf-8")
    (source / "book" / "index.md").write_text(SMALL_INDEX, encoding="utf-8")
    (source / "mini_gpt" / "part.py").write_text(SMALL_MODULE, encoding="utf-8")
    chapter = notebook(
        "#| default_exp part",
        "#| export\n\ndef double(x):\n    return 2 * x",
        "# a comment, not a directive\n2 + 2",
        "#| hide\n#| other: words",
        "#|export deep.other\nx = 1",
    )
    (source / "book" / "07_part.ipynb").write_text(chapter, encoding="utf-8")
    return source


@pytest.fixture(scope="module")
def fork(small_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The small book, built where GitHub builds somebody's fork."""
    runner = {"GITHUB_REPOSITORY": "somebody/fork", "GITHUB_REF": "refs/heads/draft"}
    environment = {name: value for name, value in os.environ.items() if "GITHUB" not in name}
    return build(small_source, tmp_path_factory.mktemp("fork"), environment | runner)


class TestSearch:
    @pytest.mark.slow
    def test_sections_are_written_for_the_search_page_only(self, fork: Built) -> None:
        script = (fork.site / "_static" / "sections.js").read_text(encoding="utf-8")
        pages, found = (
            json.loads(line.partition(" = ")[2].rstrip(";")) for line in script.splitlines()
        )
        titles = {title for _, title in pages}
        assert {"A book", "1. A chapter"} <= titles
        [chapter] = [section for section in found if section[2] == "A chapter"]
        assert "return 2 * x" in chapter[3]
        assert "sections.js" in (fork.site / "search.html").read_text(encoding="utf-8")
        front = (fork.site / "book" / "index.html").read_text(encoding="utf-8")
        assert "sections.js" not in front


class TestFigures:
    @pytest.mark.parametrize(
        ("alternative", "said"),
        [
            ("Bars of two models: 1.0, 2.0", "Bars of two models"),
            ("One head with its shapes. More.", "One head with its shapes"),
            ("A loss of 2.5 falls; then rises", "A loss of 2.5 falls"),
            ("Before: two columns. After.", "Before: two columns"),
            ("word " * 60, "word " * 21 + "word …"),
            ("", ""),
        ],
    )
    def test_a_caption_is_the_beginning_of_the_alternative_text(
        self, alternative: str, said: str
    ) -> None:
        assert book_figures.caption(alternative) == said


class TestIcons:
    @pytest.mark.slow
    def test_the_script_of_icons_is_gone_and_each_icon_is_drawn(self, fork: Built) -> None:
        assert not list(fork.site.rglob("fontawesome.js*"))
        drawn = (ROOT / "book" / "_static" / "icons.css").read_text(encoding="utf-8")
        for page in fork.site.rglob("*.html"):
            text = page.read_text(encoding="utf-8")
            assert "fontawesome.js" not in text
            for classes in re.findall(r'<(?:i|span) class="([^"]*\bfa-[^"]*)"', text):
                names = set(re.findall(r"fa-[a-z-]+", classes)) - {"fa-solid", "fa-lg"}
                assert names, classes
                assert all(f".{name} {{" in drawn for name in names), classes


class TestMeta:
    @pytest.mark.parametrize(
        ("repository", "address"),
        [
            ("Somebody/fork", "https://somebody.github.io/fork/"),
            ("one/one.github.io", "https://one.github.io/"),
            ("", None),
        ],
    )
    def test_the_address_of_the_pages(self, repository: str, address: str | None) -> None:
        assert book_meta.site_address({"GITHUB_REPOSITORY": repository}) == address

    def test_the_picture_has_the_size_that_is_shown(self) -> None:
        with Image.open(ROOT / "book" / "_static" / "preview.png") as picture:
            assert picture.size == (1200, 630)

    @pytest.mark.slow
    def test_a_page_describes_itself(self, fork: Built) -> None:
        page = BeautifulSoup(
            (fork.site / "book" / "07_part.html").read_text("utf-8"), "html.parser"
        )
        described = page.select_one('meta[name="description"]')
        assert described is not None
        assert described["content"] == "Parts of double size."
        shown = page.select_one('meta[property="og:url"]')
        assert shown is not None
        assert shown["content"] == "https://somebody.github.io/fork/book/07_part.html"

    @pytest.mark.slow
    def test_the_next_page_is_fetched_before_it_is_asked_for(self, fork: Built) -> None:
        front = BeautifulSoup((fork.site / "book" / "index.html").read_text("utf-8"), "html.parser")
        fetched = front.select_one('link[rel="prefetch"]')
        assert fetched is not None
        assert fetched["href"] == "07_part.html"
        last = (fork.site / "book" / "07_part.html").read_text("utf-8")
        assert 'rel="prefetch"' not in last


class TestFirstRun:
    RUN: ClassVar[dict[str, Any]] = {
        "command": "make demo",
        "parameters": 1234,
        "prompt": "A.\n",
        "before": "<&\x07",
        "after": "line\n" * 40,
        "losses": [{"step": 50, "validation_loss": 2.5}, {"step": 1000, "validation_loss": 1.75}],
    }

    def test_shows_both_texts_and_the_curve(self) -> None:
        figure = BeautifulSoup(book_first_run.figure(self.RUN), "html.parser")
        before, after = (card.get_text() for card in figure.select("pre"))
        assert before == "A.\n<&·"
        assert after.count("line") == book_first_run.LINES - 1
        drawing = figure.select_one("svg")
        assert drawing is not None
        assert (
            drawing["aria-label"] == "Validation loss: 2.50 after 50 steps, 1.75 after 1,000 steps"
        )

    def test_what_is_stored_was_learned(self) -> None:
        run = json.loads(read("book/_static/first_run.json"))
        losses = [entry["validation_loss"] for entry in run["losses"]]
        assert run["losses"][-1]["step"] == 1000
        assert losses[-1] < 1.9 < 2.5 < losses[0]
        assert run["before"] != run["after"]


class TestTerms:
    @pytest.mark.slow
    def test_a_term_is_linked_once_in_each_section(self) -> None:
        page = (book().site / "book" / "09_attention.html").read_text(encoding="utf-8")
        for section in re.split(r"<h2>", page)[1:]:
            linked = re.findall(r'class="term[^"]*" href="glossary\.html#([^"]+)"', section)
            assert len(linked) == len(set(linked))
        assert page.count('class="term') > 20

    @pytest.mark.slow
    def test_no_letter_with_another_meaning_is_linked(self) -> None:
        page = (book().site / "book" / "09_attention.html").read_text(encoding="utf-8")
        assert 'title="head_width' not in page
        assert 'title="vocab_size' not in page


CHINESE = """\
msgid ""
msgstr "Content-Type: text/plain; charset=utf-8\\n"

msgid "A book"
msgstr "一本书"

msgid "The source is at [{{ repository }}]({{ repository }})."
msgstr "源代码在 [{{ repository }}]({{ repository }})。"
"""


@pytest.mark.slow
def test_a_book_in_two_languages(small_source: Path, tmp_path: Path) -> None:
    """Side by side, each translated page with a switch; the others say that they are not."""
    source = tmp_path / "source"
    shutil.copytree(small_source, source)
    with (source / "book" / "index.md").open("a", encoding="utf-8") as index:
        index.write("\nThe source is at [{{ repository }}]({{ repository }}).\n")
    translations = source / "locale" / "zh_CN" / "LC_MESSAGES" / "book"
    translations.mkdir(parents=True)
    (translations / "index.po").write_text(CHINESE, encoding="utf-8")
    assert translation.build(tmp_path / "out", source) == 0
    site = tmp_path / "out" / "_build" / "html"

    def page(path: str) -> BeautifulSoup:
        return BeautifulSoup((site / path).read_text(encoding="utf-8"), "html.parser")

    english, chinese = page("book/index.html"), page("zh_CN/book/index.html")
    assert chinese.html["lang"] == "zh-CN"  # type: ignore[index]
    assert "一本书" in chinese.h1.get_text()  # type: ignore[union-attr]
    assert "一本书" not in english.h1.get_text()  # type: ignore[union-attr]
    assert "源代码在" in chinese.get_text()
    assert chinese.select('article a[href^="https://github.com/"]')
    for shown, where in ((english, "book"), (chinese, "zh_CN/book")):
        (link,) = shown.select(".language-switch a")
        assert (site / where / str(link["href"])).resolve().is_file()
    assert not page("book/07_part.html").select(".language-switch, .language-note")
    assert len(page("zh_CN/book/07_part.html").select(".language-switch, .language-note")) == 2


class TestExportedCells:
    @pytest.mark.parametrize(
        ("source", "directives", "code"),
        [
            ("x = 1", [], "x = 1"),
            ("# x\nx = 1", [], "# x\nx = 1"),
            ("#| export\nx = 1", [["export"]], "x = 1"),
            ("# | export\n\nx = 1\n", [["export"]], "x = 1\n"),
            ("#|export a.b\n#| echo: false\nx", [["export", "a.b"], ["echo:", "false"]], "x"),
            ("#| hide", [["hide"]], ""),
            ("x = 1\n#| export", [], "x = 1\n#| export"),
            ("", [], ""),
        ],
    )
    def test_directives_are_told_from_code(
        self, source: str, directives: list[list[str]], code: str
    ) -> None:
        assert extension.split_cell(source) == (directives, code)

    def test_the_module_is_read_from_the_notebook(self, tmp_path: Path) -> None:
        path = tmp_path / "chapter.ipynb"
        path.write_text(notebook("x = 1", "#| default_exp deep.part"), encoding="utf-8")
        assert extension.default_module(path) == "deep.part"
        path.write_text(notebook("x = 1"), encoding="utf-8")
        assert extension.default_module(path) is None
        assert extension.default_module(tmp_path / "page.md") is None

    @pytest.mark.slow
    def test_badges_name_and_link_the_module(self, fork: Built) -> None:
        cells = soup("book/07_part", fork).select(".cell.exported")
        assert [cell.select_one(".exported-to").get_text() for cell in cells] == [
            "Exported to mini_gpt.part",
            "Exported to mini_gpt.deep.other",
        ]
        links = [cell.select_one(".exported-to a")["href"] for cell in cells]
        blob = "https://github.com/somebody/fork/blob/draft/mini_gpt"
        assert links == [f"{blob}/part.py", f"{blob}/deep/other.py"]

    @pytest.mark.slow
    def test_no_directive_is_shown(self, fork: Built) -> None:
        page = soup("book/07_part", fork)
        shown = [block.get_text() for block in page.select(".cell_input pre")]
        assert shown == [
            "def double(x):\n    return 2 * x\n",
            "# a comment, not a directive\n2 + 2\n",
            "x = 1\n",
        ]
        assert len(page.select("div.cell")) == 3  # the cell of directives alone is gone

    @pytest.mark.slow
    def test_an_export_to_nowhere_stops_the_build(self, small_source: Path, tmp_path: Path) -> None:
        source = tmp_path / "source"
        shutil.copytree(small_source, source)
        text = notebook("#| export\nx = 1")
        (source / "book" / "07_part.ipynb").write_text(text, encoding="utf-8")
        with pytest.raises(RuntimeError, match=r"no #\| default_exp says where"):
            build(source, tmp_path / "output", os.environ)


class TestChapterTable:
    @pytest.mark.slow
    def test_a_row_has_number_title_sentence_and_module(self, fork: Built) -> None:
        page = soup("book/index", fork)
        assert "The only part" in page.article.get_text()
        table = page.select_one("article table")
        (row,) = table.select("tbody tr")
        cells = [cell.get_text() for cell in row.select("td")]
        assert cells == ["7", "A chapter", "Parts of double size.", "5 min", "mini_gpt.part"]
        assert row.a["href"] == "07_part.html"

    def test_a_bar_in_a_sentence_is_no_border(self, tmp_path: Path) -> None:
        (tmp_path / "book").mkdir()
        chapter = Chapter(tmp_path, 3, "odd", "One")
        cells = [{"cell_type": "markdown", "source": "# Odd\n\n> Either | or."}]
        chapter.notebook.write_text(json.dumps({"cells": cells}), encoding="utf-8")
        row = book_chapters.row(chapter)
        assert row == r"| 3 | {doc}`/book/03_odd` | Either \| or. | 5 min | `mini_gpt.odd` |"


class TestApiList:
    @pytest.mark.slow
    def test_names_are_explained_by_their_docstrings(self, fork: Built) -> None:
        rows = soup("book/index", fork).select("article table")[1].select("tbody tr")
        assert [[cell.get_text() for cell in row.select("td")] for row in rows] == [
            ["double", "Twice a number: x | x."],
            ["LARGEST", "the largest number"],
        ]

    def test_the_names_of_a_page_are_read(self) -> None:
        listed = book_api.listed(SMALL_INDEX + "\n```{api} a.package\n```\n")
        assert listed == {"mini_gpt.part": ["double", "LARGEST"]}

    def test_without_names_the_modules_of_a_package_are_listed(self, tmp_path: Path) -> None:
        (tmp_path / "whole").mkdir()
        for name, source in (("__init__", ""), ("b", "'What b\\n is.'"), ("a", '"""A.\n\nB."""')):
            (tmp_path / "whole" / f"{name}.py").write_text(source, encoding="utf-8")
        rows = book_api.table(tmp_path, "whole", {}).splitlines()[2:]
        assert rows == ["| `a` | A. |", "| `b` | What b is. |"]

    @pytest.mark.parametrize(
        ("entry", "fault"),
        [("triple", "exports no triple; it has LARGEST, double"), ("LARGEST", "nothing explains")],
    )
    def test_a_name_that_is_not_there_stops_the_build(
        self, small_source: Path, entry: str, fault: str
    ) -> None:
        with pytest.raises(ValueError, match=fault):
            book_api.table(small_source, "mini_gpt.part", book_api.entries(entry))


class TestRepository:
    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({}, ("https://github.com/OWNER/mini-gpt", "main")),
            ({"GITHUB_REPOSITORY": ""}, ("https://github.com/OWNER/mini-gpt", "main")),
            ({"GITHUB_REF": "refs/heads/x"}, ("https://github.com/OWNER/mini-gpt", "main")),
            ({"GITHUB_REPOSITORY": "me/mine"}, ("https://github.com/me/mine", "main")),
            (
                {"GITHUB_REPOSITORY": "me/mine", "GITHUB_REF": "refs/heads/a/b"},
                ("https://github.com/me/mine", "a/b"),
            ),
            (
                {"GITHUB_REPOSITORY": "me/mine", "GITHUB_REF": "refs/pull/1/merge"},
                ("https://github.com/me/mine", "main"),
            ),
            (
                {"GITHUB_REPOSITORY": "me/mine", "GITHUB_SERVER_URL": "https://git.example/"},
                ("https://git.example/me/mine", "main"),
            ),
        ],
    )
    def test_the_runner_replaces_the_configuration(
        self, environment: dict[str, str], expected: tuple[str, str]
    ) -> None:
        configured = "https://github.com/OWNER/mini-gpt/"
        assert book_repository.address(configured, "main", environment) == expected

    @pytest.mark.parametrize(
        ("remote", "expected"),
        [
            ("https://github.com/me/mine.git", "https://github.com/me/mine"),
            ("git@github.com:me/my.own-book.git", "https://github.com/me/my.own-book"),
            ("ssh://git@github.com/me/mine", "https://github.com/me/mine"),
            ("https://git.example/me/mine.git", None),
            ("/srv/mirror/mine", None),
            (None, None),
        ],
    )
    def test_a_checkout_knows_where_it_came_from(
        self, tmp_path: Path, remote: str | None, expected: str | None
    ) -> None:
        if remote is not None:
            subprocess.run(["git", "init", "-q", tmp_path], check=True)
            command = ["git", "-C", tmp_path, "remote", "add", "origin", remote]
            subprocess.run(command, check=True)
        else:
            tmp_path /= "nowhere"
        assert book_repository.github_remote(tmp_path) == expected

    @pytest.mark.parametrize("wrong", ["me", "me/", "https://github.com/me/mine"])
    def test_a_malformed_repository_is_refused(self, wrong: str) -> None:
        with pytest.raises(ValueError, match="owner/name"):
            book_repository.address("https://x/y/z", "main", {"GITHUB_REPOSITORY": wrong})

    @pytest.mark.slow
    def test_a_fork_gets_its_own_links(self, fork: Built) -> None:
        chapter = str(soup("book/07_part", fork))
        colab = "https://colab.research.google.com/github/somebody/fork/blob/draft"
        assert f'"{colab.replace("draft", "notebooks")}/07_part.ipynb"' in chapter
        assert '"https://github.com/somebody/fork"' in chapter
        assert "OWNER" not in chapter
        words = soup("book/index", fork).select_one("article pre").get_text()
        assert words == "git clone https://github.com/somebody/fork --branch draft\n"

    @pytest.mark.slow
    def test_the_download_is_the_readers_edition(self, fork: Built) -> None:
        page = soup("book/07_part", fork)
        (link,) = {a["href"] for a in page.select("a[href$='.ipynb']") if "_sources" in a["href"]}
        downloaded = (fork.site / "book" / link).resolve()
        sources = [cell.source for cell in nbformat.read(downloaded, as_version=4).cells]
        assert not any(source.startswith("#|") for source in sources)
        assert "# This cell is part of mini_gpt.part.\ndef double(x):\n    return 2 * x" in sources
        assert downloaded.with_stem("07_part_solutions").is_file()

    def test_the_address_stands_in_one_place(self) -> None:
        assert CONFIG["repository"]["url"] == "https://github.com/OWNER/mini-gpt"
        for path in (ROOT / "book").rglob("*"):
            text = path.suffix in {".md", ".py", ".css", ".js", ".ipynb"}
            if text and path.name != "book_repository.py":  # which knows that it names nobody
                assert "OWNER" not in path.read_text(encoding="utf-8"), path


@pytest.mark.slow
class TestSite:
    def test_renders_without_a_warning(self) -> None:
        assert "build succeeded." in book().log
        assert "WARNING" not in book().log

    @each_chapter
    def test_chapters_are_counted_through_all_parts(self, chapter: Chapter) -> None:
        heading = soup(chapter.page).article.h1
        assert heading.select_one(".section-number").get_text().strip() == f"{chapter.number}."

    def test_the_front_door_leads_to_the_cover(self) -> None:
        page = soup("index")
        assert page.html["lang"] == "en"
        assert page.title.get_text() == CONFIG["title"]
        assert page.a["href"] == "book/index.html"

    @each_page
    def test_page_has_its_place(self, document: str) -> None:
        page, order = soup(document), PAGES
        assert page.html["lang"] == "en"
        assert page.article.h1 is not None
        place = order.index(document)
        for kind, neighbor in (("left-prev", place - 1), ("right-next", place + 1)):
            link = page.select_one(f"a.{kind}")
            if 0 <= neighbor < len(order):
                assert link["href"] == f"{order[neighbor].removeprefix('book/')}.html"
            else:
                assert link is None

    @pytest.mark.parametrize("document", [*PAGES, "search", "genindex"])
    def test_page_needs_nothing_from_elsewhere(self, document: str) -> None:
        page = soup(document)
        needed = [tag["src"] for tag in page.select("[src]")]
        needed += [tag["href"] for tag in page.select("link[href]")]
        assert needed
        for address in needed:
            file = re.split("[?#]", str(address))[0] or f"{Path(document).name}.html"
            assert ((book().site / document).parent / file).resolve().is_file(), address

    @each_page
    def test_links_within_the_site_lead_somewhere(self, document: str) -> None:
        site = book().site.resolve()
        for link in soup(document).select("a[href]"):
            target, _, anchor = str(link["href"]).partition("#")
            if ":" in target or target.startswith("//"):
                continue
            path = ((site / document).parent / target).resolve() if target else None
            assert path is None or path.is_file(), link
            if anchor and (path is None or path.suffix == ".html"):
                page = path.relative_to(site).with_suffix("").as_posix() if path else document
                assert anchor in ids(page), link

    @each_page
    def test_ids_are_unique(self, document: str) -> None:
        counts = Counter(str(tag["id"]) for tag in soup(document).select("[id]"))
        assert [name for name, count in counts.items() if count > 1] == []

    @each_page
    def test_images_say_what_is_seen(self, document: str) -> None:
        for image in soup(document).select("article img"):
            assert image.find_parent(class_="cell_output"), image  # drawn by code
            assert len(image.get("alt", "")) > 20, image

    @each_chapter
    def test_chapter_opens_on_colab(self, chapter: Chapter) -> None:
        github = URL.removeprefix("https://github.com/")
        address = (
            f"https://colab.research.google.com/github/{github}/blob/notebooks/{chapter.name}.ipynb"
        )
        links = {link["href"] for link in soup(chapter.page).select("a[href*='colab']")}
        assert links == {address}

    @each_chapter
    def test_chapter_marks_what_it_exports(self, chapter: Chapter) -> None:
        page = soup(chapter.page)
        badges = page.select(".cell.exported > .exported-to")
        assert len(badges) == exported_cells(chapter) >= 1
        assert {badge.get_text() for badge in badges} == {f"Exported to {chapter.module}"}
        path = chapter.source.relative_to(ROOT).as_posix()
        assert {badge.a["href"] for badge in badges} == {f"{URL}/blob/{BRANCH}/{path}"}
        code = [block.get_text() for block in page.select(".cell_input pre")]
        assert not [block for block in code if "#|" in block]
        tags = [{*cell["metadata"].get("tags", [])} for cell in code_cells(chapter)]
        assert len(code) == sum(not own & {"remove-cell", "remove-input"} for own in tags)

    @each_chapter
    def test_chapter_has_exercises_with_folded_solutions(self, chapter: Chapter) -> None:
        page = soup(chapter.page)
        exercises, solutions = page.select("div.exercise"), page.select("div.solution")
        assert len(solutions) == len(exercises) >= 2
        for solution in solutions:
            assert {"admonition", "dropdown"} <= set(solution["class"])
            assert solution.select_one(".cell_input pre")


class TestCover:
    def links(self) -> dict[str, book_cover.Link]:
        return {one.stem: book_cover.Link(one.number, "A <b>", one.page) for one in CHAPTERS}

    def test_every_disc_is_that_of_a_chapter(self) -> None:
        drawn = BeautifulSoup(book_cover.cover(self.links()), "html.parser")
        found = {link["href"]: link["aria-label"] for link in drawn.select("a")}
        assert found == {
            one.page: f"Chapter {one.number}: A <b>"
            for one in CHAPTERS
            if one.stem in book_cover.DISCS
        }
        assert [link.select_one(".number").get_text() for link in drawn.select("a")] == [
            label.split()[1].strip(":") for label in found.values()
        ]

    def test_no_disc_covers_another_or_leaves_the_drawing(self) -> None:
        places = list(book_cover.DISCS.values())
        for place, (x, y) in enumerate(places):
            assert 13 <= x <= book_cover.WIDTH - 13
            assert book_cover.TOP + 13 <= y <= book_cover.HEIGHT - 8
            assert all(math.dist((x, y), other) >= 28 for other in places[:place])

    def test_a_chapter_without_a_disc_is_left_to_the_table(self) -> None:
        more = {**self.links(), "another": book_cover.Link(99, "Another", "book/99_another")}
        assert book_cover.cover(more) == book_cover.cover(self.links())

    def test_the_triangle_is_causal(self) -> None:
        size = len(book_cover.TEXT)
        drawn = book_cover.causal_triangle(0, 0, 10)
        assert drawn.count('class="seen"') == size * (size + 1) // 2
        assert drawn.count('class="unseen"') == size * (size - 1) // 2

    @pytest.mark.slow
    def test_leads_to_the_chapters_by_their_titles(self) -> None:
        links = soup("book/index").select("svg.book-cover a")
        found = {(link["href"], link["aria-label"]) for link in links}
        assert found == {
            (f"{one.name}.html", f"Chapter {one.number}: {one.title()}")
            for one in CHAPTERS
            if one.stem in book_cover.DISCS
        }

    @pytest.mark.slow
    def test_is_described(self) -> None:
        figure = soup("book/index").select_one("svg.book-cover")
        for attribute in ("aria-labelledby", "aria-describedby"):
            described = figure.find(id=figure[attribute])
            assert isinstance(described, Tag)
            assert len(described.get_text()) > 20

    @pytest.mark.slow
    def test_the_table_has_every_chapter_with_its_module(self) -> None:
        rows = soup("book/index").select("article table tbody tr")
        found = [[cell.get_text() for cell in row.select("td")] for row in rows]
        assert [cells[0] for cells in found] == [str(one.number) for one in CHAPTERS]
        assert [cells[1] for cells in found] == [one.title() for one in CHAPTERS]
        assert all(len(cells[2].split()) >= 4 for cells in found)
        assert [cells[3] for cells in found] == [f"{one.minutes()} min" for one in CHAPTERS]
        assert [cells[4] for cells in found] == [one.module for one in CHAPTERS]
        assert all(5 <= one.minutes() <= 40 for one in CHAPTERS)  # each at one sitting
        assert [row.a["href"] for row in rows] == [f"{one.name}.html" for one in CHAPTERS]

    @pytest.mark.slow
    def test_its_python_runs(self) -> None:
        examples = re.findall(r"```python\n(.*?)```", read("book/index.md"), flags=re.S)
        assert len(examples) == 2
        names: dict[str, Any] = {}
        for example in examples:
            exec(compile(ast.parse(example), "index.md", "exec"), names)
        assert names["logits"].shape == (2, 64, 65)

    def test_its_make_targets_exist(self) -> None:
        targets = set(re.findall(r"^make (\w+)", read("book/index.md"), flags=re.M))
        assert targets >= {"demo", "test"}
        makefile = read("Makefile")
        for target in targets:
            assert re.search(rf"^{target}:.*## ", makefile, flags=re.M), target


class TestReference:
    def test_every_citation_is_in_the_bibliography(self) -> None:
        cited = {
            key.strip()
            for document in PAGES
            for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", prose(document))
            for key in keys.split(",")
        }
        assert cited
        assert cited <= BIBLIOGRAPHY.entries.keys()

    @pytest.mark.parametrize("key", sorted(BIBLIOGRAPHY.entries))
    def test_entry_is_complete(self, key: str) -> None:
        entry = BIBLIOGRAPHY.entries[key]
        surname = entry.persons["author"][0].last_names[-1].lower()
        match = re.fullmatch(r"([a-z]+)(\d{4})[a-z0-9]+", key)
        assert match
        assert surname.strip("{}") == match[1]
        assert entry.fields["year"] == match[2]
        assert entry.fields["title"]
        if "eprint" in entry.fields:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields["eprint"])
        elif key != "radford2019language":  # the others are found on a page
            assert entry.fields["url"].startswith("https://")

    @pytest.mark.slow
    @each_chapter
    def test_each_name_leads_from_its_cell_to_its_entry_and_back(self, chapter: Chapter) -> None:
        page = book_reference.page_of(ROOT, chapter.module)
        names = book_api.exported(ROOT, chapter.module)
        assert page is not None
        assert {f"{chapter.module}.{name}" for name in names} <= ids(page)
        cells = soup(chapter.page).select(".cell.exported > .exported-names a[href]")
        there = f"{page.removeprefix('book/')}.html#{chapter.module}."
        led = {str(link["href"]).removeprefix(there) for link in cells}
        assert led
        assert led <= set(names)
        back = [str(link["href"]) for link in soup(page).select(".api-places a[href]")]
        assert {f"{chapter.name}.html#exported-{name}" for name in led} <= set(back)

    @pytest.mark.slow
    def test_the_page_of_the_package_leads_to_the_reference(self) -> None:
        rows = soup("book/api").select("article table tbody tr")
        led = [row for row in rows if row.select_one("td a[href*='reference_']")]
        assert len(led) == sum(map(len, book_api.listed(read("book/api.md")).values()))

    @pytest.mark.slow
    def test_the_bibliography_shows_every_entry(self) -> None:
        page = soup("book/bibliography")
        assert len(page.select("div.citation")) == len(BIBLIOGRAPHY.entries)

    @pytest.mark.slow
    def test_the_glossary_is_in_order_and_explains_thirty_terms(self) -> None:
        terms = [term.find(string=True) for term in soup("book/glossary").select("dl.glossary dt")]
        assert len(terms) >= 30
        assert terms == sorted(terms, key=str.lower)

    @pytest.mark.slow
    def test_the_notation_names_fields_that_exist(self) -> None:
        from mini_gpt import GPTConfig

        sizes = soup("book/notation").select("table")[0]
        named = {row.select("td")[1].get_text() for row in sizes.select("tbody tr")}
        fields = {field.name for field in dataclasses.fields(GPTConfig)}
        assert named - fields == {"batch", "time", "head_width"}

    @pytest.mark.slow
    def test_the_notation_gives_the_shapes_that_a_model_has(self) -> None:
        from mini_gpt import GPT, GPTConfig

        config = GPTConfig(vocab_size=7, context_length=5, layers=1, heads=3, width=12)
        parameters = dict(GPT(config).named_parameters())
        assert parameters["token_embedding.weight"].shape == (config.vocab_size, config.width)
        assert parameters["positions.weight"].shape == (config.context_length, config.width)
        names = {code.get_text() for code in soup("book/notation").select("td code")}
        assert {"token_embedding.weight", "positions.weight"} <= names
