"""The book in other languages: the words of our own extensions, and a switch on each page.

Paragraphs are translated by Sphinx, from `locale/LANGUAGE/LC_MESSAGES/book/NAME.po`. What the other
extensions write (the cover's drawing, tables, questions) is asked of `speaker`, which reads
`interface.po` beside them. `tools/translation.py` makes, checks and builds all of it.

Where `BOOK_LANGUAGES` names the languages that are built side by side ("en zh_CN"; the first at the
site's root, the others in folders of their names), each translated page links to its other form.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config

LOCALE = Path(__file__).resolve().parents[2] / "locale"
OWN = "en"
NAMES = {"en": "English", "zh_CN": "中文"}
ENOUGH = 0.5  # from this share of its paragraphs on, a page counts as translated


def translation_folder(config: Config) -> Path:
    """The folder of the book's language; there is none for its own."""
    return LOCALE / (config.language or OWN)


@functools.cache
def catalog(path: Path) -> Catalog:
    """The translations in a file; none where there is no file."""
    if not path.is_file():
        return Catalog()
    with path.open("rb") as file:
        return read_po(file)


def speaker(config: Config) -> Callable[[str], str]:
    """What gives our words in the language of the book; in English, those that it gets."""
    known = catalog(translation_folder(config) / "LC_MESSAGES" / "interface.po")

    def say(words: str) -> str:
        message = known.get(words)
        return str(message.string) if message and message.string and not message.fuzzy else words

    return say


def spoken(made: list[nodes.Node]) -> list[nodes.Node]:
    """Mark what an extension wrote as finished: it is not to be translated once more."""
    for node in made:
        for inner in node.findall(nodes.Element):
            inner["translatable"] = False
    return made


def is_called(section: nodes.section, heading: str) -> bool:
    """Whether a section has this heading, also where the heading is translated by now."""

    def plain(words: str) -> str:
        return nodes.fully_normalize_name(words.replace("’", "'"))

    return plain(heading) in {plain(name) for name in [section[0].astext(), *section["names"]]}


def share(page: str, language: str) -> float:
    """Which share of a page's paragraphs is translated."""
    path = LOCALE / language / "LC_MESSAGES" / f"{page}.po"
    found = [message for message in catalog(path) if message.id]
    done = [message for message in found if message.string and not message.fuzzy]
    return len(done) / max(1, len(found))


def address(page: str, here: str, there: str) -> str:
    """Where a page's form in another language stands, from its form in this one."""
    up = "../" * (page.count("/") + (here != OWN))
    return f"{up}{'' if there == OWN else f'{there}/'}{page}.html"


def tag(language: str) -> str:
    """The name of a language as HTML has it."""
    return language.replace("_", "-")


def switch(page: str, here: str, languages: Iterable[str]) -> str:
    """Links to a page's other forms, where there are any; English is there always."""
    links = [
        f'<a href="{address(page, here, other)}" rel="alternate" hreflang="{tag(other)}" '
        f'lang="{tag(other)}">{escape(NAMES[other])}</a>'
        for other in languages
        if other != here and (other == OWN or share(page, other) >= ENOUGH)
    ]
    return f'<p class="language-switch">{" ".join(links)}</p>' if links else ""


def put_switch(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Put the switch at the head of a page, and a note where the page is English still."""
    languages = os.environ.get("BOOK_LANGUAGES", "").split()
    here = app.config.language or OWN
    if doctree is None or here not in languages or "body" not in context:
        return
    head = switch(pagename, here, languages)
    if here != OWN and share(pagename, here) < ENOUGH:
        said = speaker(app.config)("This page is not translated yet; what follows is the original.")
        head += f'<p class="language-note">{escape(said)}</p>'
    context["body"] = head + context["body"]


def say_rest(app: Sphinx, doctree: nodes.document) -> None:
    """Translate what Sphinx leaves alone: names of parts, buttons, titles of exercises."""
    say = speaker(app.config)
    for listed in doctree.findall(addnodes.toctree):
        if listed.get("caption"):
            listed["caption"] = say(listed["caption"])
    for node in doctree.findall(nodes.Element):
        is_button = "sd-btn" in node.get("classes", ())
        if is_button or type(node).__name__ in ("exercise_title", "exercise_subtitle"):
            for leaf in list(node.findall(nodes.Text)):
                if (words := say(leaf.astext())) != leaf.astext():
                    leaf.parent.replace(leaf, nodes.Text(words))


def say_settings(app: Sphinx, config: Config) -> None:
    """Give the words that stand in the configuration in the language of the book."""
    say = speaker(config)
    config.html_title = say(config.html_title or config.project)
    options = config.html_theme_options
    options["search_bar_text"] = say(options.get("search_bar_text", "Search"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", say_settings, priority=50)
    # After sphinx-external-toc has put the lists of chapters into the first page.
    app.connect("doctree-read", say_rest, priority=900)
    app.connect("html-page-context", put_switch)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
