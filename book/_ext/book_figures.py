"""Pictures of the chapters, numbered and captioned.

Each plot and each drawing already says in its alternative text what is seen. The caption is that
text up to its first stop, with a number like 9.3 before it. The map of the machine, the same in
every chapter, has none.
"""

from __future__ import annotations

import re
from html import unescape

from docutils import nodes
from sphinx.application import Sphinx

from book_languages import speaker

MAP = "Map of the machine"
LABEL = re.compile(r"""<div class="drawing".*?aria-label=(["'])(.*?)\1""", re.DOTALL)
STOP = re.compile(r"[:;]\s|\.(?:\s|$)")
FEWEST, LONGEST = 3, 110  # words, characters


def caption(alternative: str) -> str:
    """The beginning of an alternative text, to its first stop after three words or more."""
    text = " ".join(alternative.split())
    stops = (stop for stop in STOP.finditer(text) if len(text[: stop.start()].split()) >= FEWEST)
    first = text[: stop.start()] if (stop := next(stops, None)) else text
    if len(first) > LONGEST:
        first = first[:LONGEST].rsplit(" ", 1)[0].rstrip(",") + " …"
    return first


def described(node: nodes.Node) -> str | None:
    """The alternative text of a picture, or None for what is no picture."""
    if isinstance(node, nodes.image):
        return node.get("alt", "")
    if isinstance(node, nodes.raw) and (label := LABEL.search(node.astext())):
        return unescape(label[2])
    return None


def number_pictures(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put a numbered line below every picture that a cell of a chapter shows."""
    chapter = app.env.toc_secnumbers.get(docname, {}).get("", ())
    if app.builder.name != "html" or not chapter:
        return
    number, figure = 0, speaker(app.config)("Figure")
    for output in doctree.findall(nodes.container):
        if output.get("nb_element") != "cell_code_output":
            continue
        for picture in list(output.findall(lambda node: described(node) is not None)):
            alternative = described(picture) or ""
            if alternative.startswith(MAP):
                continue
            number += 1
            name = f"figure-{chapter[0]}-{number}"
            label = nodes.inline("", f"{figure} {chapter[0]}.{number}", classes=["number"])
            line = nodes.paragraph("", "", label, classes=["figure-caption"], ids=[name])
            if said := caption(alternative):
                line += nodes.Text(f" {said}")
            picture.parent.insert(picture.parent.index(picture) + 1, line)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", number_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
