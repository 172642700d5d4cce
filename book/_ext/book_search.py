"""Search that lists sections with excerpts, also where a page may read no other file.

Sphinx's own search finds pages, and fetches each page to quote from it; a page that was opened from
disk may not fetch. Here all sections and their texts are written into one script, `sections.js`,
which only the search page loads, and `search.js` looks through them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


class Section(NamedTuple):
    """A stretch of a page that can be found."""

    anchor: str
    title: str
    text: str


def sections(page: nodes.document) -> Iterator[Section]:
    """The sections of a page, in order; a glossary's terms are sections too."""
    glossary = any(page.findall(lambda node: node.tagname == "glossary"))
    for section in () if glossary else page.findall(nodes.section):
        heading = next(iter(section.findall(nodes.title)), None)
        if heading is None or "ids" not in section or is_inside_exercise(section):
            continue
        anchor = section["ids"][0] if isinstance(section.parent, nodes.section) else ""
        yield Section(anchor, heading.astext(), own_text(section))
    for item in page.findall(nodes.definition_list_item):
        for term in item.findall(nodes.term):
            if term["ids"]:
                definition = " ".join(part.astext() for part in item.findall(nodes.definition))
                yield Section(term["ids"][0], term.astext(), squeezed(definition))


def is_inside_exercise(section: nodes.section) -> bool:
    """Whether sphinx-exercise made the section, for the content of an exercise or a solution."""
    return any(name.startswith(("exercise-content", "solution-content")) for name in section["ids"])


def own_text(section: nodes.section) -> str:
    """What a section says itself, its code too, without its heading and subsections."""
    parts = []
    for child in section.children:
        if isinstance(child, nodes.title):
            continue
        if isinstance(child, nodes.section) and not is_inside_exercise(child):
            continue
        parts += [
            leaf.astext()
            for leaf in child.findall(lambda node: isinstance(node, nodes.Text))
            if not isinstance(leaf.parent, (nodes.raw, nodes.comment))
        ]
    return squeezed(" ".join(parts))


def squeezed(text: str) -> str:
    """Text with every run of white space as one blank."""
    return re.sub(r"\s+", " ", text).strip()


def page_title(env: BuildEnvironment, name: str) -> str:
    """A page's title, with the chapter's number if it has one."""
    number = env.toc_secnumbers.get(name, {}).get("", ())
    title = env.titles[name].astext()
    return f"{'.'.join(map(str, number))}. {title}" if number else title


def write_sections(app: Sphinx, exception: Exception | None) -> None:
    """Write the script with all sections."""
    if exception is not None or app.builder.name != "html":
        return
    names = sorted(app.env.found_docs)
    pages = [[f"{name}.html", page_title(app.env, name)] for name in names]
    found = [
        [place, *section]
        for place, name in enumerate(names)
        for section in sections(app.env.get_doctree(name))
    ]
    values = {"BOOK_PAGES": pages, "BOOK_SECTIONS": found}
    script = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())
    Path(app.outdir, "_static", "sections.js").write_text(script, encoding="utf-8")


def load_on_the_search_page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    if pagename == "search":
        app.add_js_file("sections.js")
        app.add_js_file("search.js")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", load_on_the_search_page)
    app.connect("build-finished", write_sections)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
