"""The head of a page: what a search engine and a chat window show of it, and which page comes next.

A chapter is described by the sentence after `> ` under its title, every other page by the book's
own sentence. The picture's address must be whole, so it is given where the site's address is known:
on GitHub's runners, whose pages stand at owner.github.io/repository.
"""

from __future__ import annotations

import os
import sys
from html import escape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from chapters import chapters

BOOK = (
    "Build a GPT-2-style language model from scratch: a book of notebooks whose exported cells are "
    "the Python package mini_gpt."
)
PICTURE = "_static/preview.png"


def site_address(environment: dict[str, str]) -> str | None:
    """Where GitHub publishes this repository's pages, or None elsewhere."""
    owner, _, name = environment.get("GITHUB_REPOSITORY", "").partition("/")
    if not name:
        return None
    host = f"https://{owner.lower()}.github.io/"
    return host if name.lower() == f"{owner.lower()}.github.io" else f"{host}{name}/"


def describe(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Add the tags to a page's head."""
    sentences = {one.page: one.sentence() for one in chapters(Path(app.srcdir))}
    said = sentences.get(pagename, BOOK).replace("`", "")
    title = context.get("title") or app.config.html_title
    tags = {
        "description": said,
        "og:type": "book",
        "og:title": title if pagename in sentences else app.config.html_title,
        "og:description": said,
    }
    if address := site_address(dict(os.environ)):
        tags["og:url"] = f"{address}{pagename}.html"
        if Path(app.srcdir, "book", PICTURE).exists():
            tags["og:image"] = f"{address}{PICTURE}"
    written = (
        f'<meta {"property" if ":" in name else "name"}="{name}" content="{escape(value)}" />'
        for name, value in tags.items()
    )
    found = "\n".join(written)
    if following := context.get("next"):
        # Most readers turn the page; a browser fetches it when it has nothing else to do.
        found += f'\n<link rel="prefetch" href="{escape(following["link"])}" />'
    context["metatags"] = context.get("metatags", "") + "\n" + found


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
