"""The built site as one text without scripts: what the PDF and the EPUB are made of.

Each page becomes a chapter whose ids begin with the page's name, so that all of them can stand in
one document, and each link between pages becomes one inside it. What a reader of the site opens by
a click has its place here: code and docstrings stand open; the answers to the questions and the
solutions of the exercises stand at the end of their chapter, with links there and back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from chapters import ROOT, contents

USELESS = (
    "a.headerlink, button, script, style, .toctree-wrapper, .cover-buttons, "
    ".sd-summary-state-marker, .question-said, details.hide > summary"
)


class Page(NamedTuple):
    """A page of the book as a part of one document.

    Attributes:
        name: What its ids begin with, such as `09_attention`.
        part: The part of the book that it stands in; empty before the first.
        title: Its heading with its number, as plain text.
        body: A `section` with its content.
    """

    name: str
    part: str
    title: str
    body: Tag


def manuscript(site: Path, names: Sequence[str] | None = None, root: Path = ROOT) -> list[Page]:
    """The pages of the book in their order.

    Args:
        site: the folder with the built pages.
        names: only these pages, such as `book/09_attention`; all of them, where none is named.
        root: the folder with `_toc.yml`.

    Raises:
        ValueError: if the site lacks a page.
    """
    pages: list[Page] = []
    part = ""
    for kind, value in contents(root):
        if kind == "caption":
            part = value
        elif names is None or value in names:
            pages.append(read(site, value, part))
    known = {str(tag["id"]) for page in pages for tag in [page.body, *page.body.select("[id]")]}
    for page in pages:
        for link in page.body.select("a[href^='#']"):
            # A page that this edition leaves out, or a place that has gone with its script.
            if str(link["href"])[1:] not in known:
                link.unwrap()
    return pages


def read(site: Path, page: str, part: str) -> Page:
    """A page of the site as a part of one document."""
    path = site / f"{page}.html"
    if not path.is_file():
        raise ValueError(f"{path} is not there; build the book first: make book")
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    article = soup.select_one("article.bd-article")
    if article is None or article.h1 is None:
        raise ValueError(f"{path} has no article with a heading; build the book anew: make book")
    name = Path(page).name
    settle(soup, article)
    localize(article, site, path.parent, name)
    title = " ".join(article.h1.get_text().split())
    article.name, article.attrs = "section", {"class": "chapter", "id": name}
    return Page(name, part, title, article)


# ---- what was folded -----------------------------------------------------------------------------


def settle(soup: BeautifulSoup, article: Tag) -> None:
    """Bring an article into a form that needs no clicks, its answers at the end."""
    for useless in article.select(USELESS):
        useless.decompose()
    for fold in article.select("details.hide"):
        fold.name, fold.attrs = "div", {"class": "unfolded"}
    answers = [
        settle_question(soup, form, number)
        for number, form in enumerate(article.select("form.question"), 1)
    ]
    numbers = [tag.get_text().split()[-1] for tag in article.select(".exercise .caption-number")]
    answers += [
        settle_solution(soup, solution, numbers[place] if place < len(numbers) else str(place + 1))
        for place, solution in enumerate(article.select("div.solution"))
    ]
    answers += [
        settle_recap(soup, fold, number)
        for number, fold in enumerate(article.select("details.sd-dropdown"), 1)
    ]
    if answers:
        section = soup.new_tag("section", attrs={"class": "answers", "id": "book-answers"})
        heading = soup.new_tag("h2")
        heading.string = "Answers and solutions"
        section.extend([heading, *answers])
        article.append(section)


def pointer(soup: BeautifulSoup, words: str, target: str, kind: str = "pointer") -> Tag:
    """A small paragraph with one link inside the document."""
    paragraph = soup.new_tag("p", attrs={"class": kind})
    link = soup.new_tag("a", attrs={"href": f"#{target}"})
    link.string = words
    paragraph.append(link)
    return paragraph


def answer(soup: BeautifulSoup, label: str, here: str, back: str, parts: Iterable[Tag]) -> Tag:
    """An entry of the chapter's end: its label leads back to where it was asked."""
    box = soup.new_tag("div", attrs={"class": "answer", "id": here})
    box.extend([pointer(soup, label, back, "answer-label"), *[part.extract() for part in parts]])
    return box


def tags(parent: Tag | None) -> list[Tag]:
    """What stands in an element, without the text between."""
    return [] if parent is None else [child for child in parent.children if isinstance(child, Tag)]


def settle_question(soup: BeautifulSoup, form: Tag, number: int) -> Tag:
    """A form becomes its question and a list of what can be chosen; returns the answer."""
    asked, choices = form.select_one("legend"), soup.new_tag("ul", attrs={"class": "choices"})
    for label in form.select(".question-fields label:has(select), label:has([type=radio])"):
        for field in label.select("select, input"):
            field.decompose()
        label.name, label.attrs = "li", {}
        choices.append(label.extract())
    here, there = f"book-asked-{number}", f"book-answered-{number}"
    given = [part for part in tags(form.select_one("details")) if part.name != "summary"]
    found = answer(soup, f"Question {number}", there, here, given)
    assert asked is not None  # each form has one (book/_ext/book_questions.py)
    asked = asked.extract()
    asked.name, asked.attrs = "p", {}
    form.clear()
    form.name, form.attrs = "div", {"class": "question", "id": here}
    form.extend([asked, choices] if tags(choices) else [asked])
    form.append(pointer(soup, f"Answer {number}, at the end of the chapter", there))
    return found


def settle_recap(soup: BeautifulSoup, fold: Tag, number: int) -> Tag:
    """A question with its answer folded below it keeps the question; returns the answer."""
    here, there = f"book-recap-{number}", f"book-recapped-{number}"
    asked = fold.select_one(".sd-summary-text")
    given = answer(soup, f"Recap {number}", there, here, tags(fold.select_one(".sd-card-body")))
    assert asked is not None  # sphinx-design writes one
    asked = asked.extract()
    asked.name, asked.attrs = "p", {}
    fold.clear()
    fold.name, fold.attrs = "div", {"class": "question", "id": here}
    fold.extend([asked, pointer(soup, f"Answer {number}, at the end of the chapter", there)])
    return given


def settle_solution(soup: BeautifulSoup, solution: Tag, number: str) -> Tag:
    """The solution of an exercise leaves a link where it stood; returns it."""
    here, there = f"book-solve-{number}", f"book-solved-{number}"
    parts = [part for part in tags(solution) if "admonition-title" not in part.get("class", [])]
    found = answer(soup, f"Exercise {number}", there, here, parts)
    mark = pointer(soup, f"Solution {number}, at the end of the chapter", there)
    mark["id"] = here
    solution.replace_with(mark)
    return found


# ---- links ---------------------------------------------------------------------------------------


def inner_id(name: str, anchor: str) -> str:
    """An id of a page as one of the whole document, in letters that every reader takes."""
    return f"{name}--{re.sub(r'[^A-Za-z0-9_.-]', '-', anchor)}"


def localize(article: Tag, site: Path, folder: Path, name: str) -> None:
    """Make ids and links those of one document, and the addresses of pictures those of files."""
    for tag in article.find_all(True):
        tag.attrs.pop("title", None)
        for attribute in ("id", "aria-labelledby", "aria-describedby"):
            if attribute in tag.attrs:
                tag[attribute] = inner_id(name, str(tag[attribute]))
        for attribute, value in tag.attrs.items():
            if isinstance(value, str) and value.startswith("url(#"):
                tag[attribute] = f"url(#{inner_id(name, value[5:-1])})"
    for image in article.select("img[src]"):
        file = (folder / unquote(str(image["src"]))).resolve()
        image["src"] = file.relative_to(site.resolve()).as_posix()
        if image.parent is not None and image.parent.name == "a":
            image.parent.unwrap()
    for link in article.select("a[href]"):
        address = urlsplit(str(link["href"]))
        anchor = unquote(address.fragment)
        if address.scheme:
            continue
        page = Path(address.path).stem or name
        link["href"] = f"#{inner_id(page, anchor) if anchor else page}"


# ---- the whole as HTML ---------------------------------------------------------------------------


def document(pages: Sequence[Page], title: str, head: str, front: str = "") -> str:
    """One HTML document with all pages; a part's name stands before its first chapter."""
    written = []
    last = ""
    for page in pages:
        if page.part != last:
            last = page.part
            written.append(f'<section class="part"><h1>{escape(page.part)}</h1></section>')
        written.append(str(page.body))
    body = "\n".join(written)
    return (
        '<!DOCTYPE html>\n<html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>{head}</head><body>{front}{body}</body></html>\n"
    )
