"""Terms of the glossary and symbols of the notation, linked where a section first uses them.

The link's title is the definition; `book.js` shows it on hover, on focus and at a tap. A term's
entry in the glossary and a symbol's row in the notation are the only places where it is written.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

GLOSSARY, NOTATION = "book/glossary", "book/notation"
CHAPTER = re.compile(r"book/\d\d_\w+")
# Where a chapter gives the letter another meaning, and says so.
OTHERWISE = {
    ("book/05_loss", "K"),
    ("book/09_attention", "K"),
    ("book/09_attention", "V"),
    ("book/13_diagnostics", "D"),
}
CLOSED = (  # nothing is linked inside these
    nodes.reference,
    nodes.title,
    nodes.literal,
    nodes.caption,
    nodes.rubric,
    nodes.raw,
    nodes.term,
)


# A term in another language is followed by the English one, in brackets of that language.
BOTH = re.compile(r"(?P<own>[^（）]+)（(?P<english>[^（）]+)）")
IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")


class Meaning(NamedTuple):
    """What a term or a symbol means, and where that is written."""

    page: str
    anchor: str
    text: str


def terms(env: BuildEnvironment) -> dict[str, Meaning]:
    """The glossary's terms in lower case."""
    found = {}
    for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        definition = next(iter(item.findall(nodes.definition)))
        meaning = " ".join(spoken(definition).split())
        for term in item.findall(nodes.term):
            written = term.astext().lower()
            both = BOTH.fullmatch(written)
            for name in both.groups() if both else [written]:
                found[name] = Meaning(GLOSSARY, term["ids"][0], meaning)
    return found


def pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Finds the names in a text, the longest first: "attention score" before "attention".

    Chinese is written without spaces, so that a name of one character would be found within
    other words; such names are left out.
    """
    longest = sorted(names, key=len, reverse=True)
    spaced = [re.escape(name) for name in longest if not IDEOGRAPH.search(name)]
    dense = [re.escape(name) for name in longest if IDEOGRAPH.search(name) and len(name) > 1]
    found = [rf"\b(?P<spaced>{'|'.join(spaced)})(?:s|es)?\b"] if spaced else []
    found += [f"(?P<dense>{'|'.join(dense)})"] if dense else []
    return re.compile("|".join(found), re.IGNORECASE)


def spoken(node: nodes.Element) -> str:
    """A definition without its citations, which a small box cannot lead to."""
    parts = []
    for leaf in node.findall(lambda part: isinstance(part, nodes.Text)):
        around = leaf.parent
        if not isinstance(around, (nodes.raw, nodes.citation_reference)) and not (
            around.tagname == "pending_xref" and around.get("refdomain") == "cite"
        ):
            parts.append(leaf.astext())
    return re.sub(r"\s+([.,;])", r"\1", "".join(parts))


def symbols(env: BuildEnvironment) -> dict[str, Meaning]:
    """The notation's sizes: a row with a formula, a name in code and a meaning."""
    found = {}
    for section in env.get_doctree(NOTATION).findall(nodes.section):
        for row in section.findall(nodes.row):
            cells = list(row.findall(nodes.entry))
            formulas = list(cells[0].findall(nodes.math)) if len(cells) == 3 else []
            if len(formulas) == 1 and section["ids"]:
                meaning = f"{cells[1].astext()}: {cells[2].astext()}"
                name = formulas[0].astext()
                found.setdefault(name, Meaning(NOTATION, section["ids"][0], meaning))
    return found


@functools.lru_cache(maxsize=1)  # both pages would be read anew for each chapter
def meanings(
    env: BuildEnvironment,
) -> tuple[dict[str, Meaning], dict[str, Meaning], re.Pattern[str]]:
    """Terms, symbols, and what finds the terms; for one build."""
    named = terms(env)
    return named, symbols(env), pattern(named)


def open_paragraphs(section: nodes.Element) -> Iterator[nodes.Element]:
    """The paragraphs of a section of the second level, subsections too, outside of outputs."""
    for paragraph in section.findall(nodes.paragraph):
        around = paragraph.parent
        while around is not section and not isinstance(around, CLOSED):
            if around.get("nb_element") or "exported-to" in around.get("classes", ()):
                break
            around = around.parent
        if around is section and "exported-to" not in paragraph["classes"]:
            yield paragraph


class Linker:
    """Links the first mention of each term and symbol in a section."""

    def __init__(self, app: Sphinx, docname: str) -> None:
        self.app, self.docname = app, docname
        self.terms, self.symbols, self.pattern = meanings(app.env)

    def link(self, meaning: Meaning, *children: nodes.Node) -> nodes.reference:
        address = self.app.builder.get_relative_uri(self.docname, meaning.page)
        address += f"#{meaning.anchor}"
        options = {"internal": True, "refuri": address, "reftitle": meaning.text}
        return nodes.reference("", "", *children, classes=["term"], **options)

    def section(self, section: nodes.Element) -> None:
        seen: set[str] = set()
        for paragraph in list(open_paragraphs(section)):
            leaves = [
                leaf
                for leaf in paragraph.findall()
                if isinstance(leaf, (nodes.Text, nodes.math)) and self.is_open(leaf, paragraph)
            ]
            for leaf in leaves:
                if isinstance(leaf, nodes.math):
                    self.symbol(leaf, seen)
                else:
                    self.text(leaf, seen)

    def is_open(self, leaf: nodes.Node, paragraph: nodes.Element) -> bool:
        around = leaf.parent
        while around is not paragraph:
            if isinstance(around, (*CLOSED, nodes.math)):
                return False
            around = around.parent
        return True

    def symbol(self, formula: nodes.math, seen: set[str]) -> None:
        name = formula.astext()
        if (self.docname, name) in OTHERWISE:
            return
        if name in self.symbols and name not in seen:
            seen.add(name)
            around, place = formula.parent, formula.parent.index(formula)
            around.remove(formula)
            around.insert(place, self.link(self.symbols[name], formula))

    def text(self, leaf: nodes.Text, seen: set[str]) -> None:
        parts: list[nodes.Node] = []
        written, done = leaf.astext(), 0
        for match in self.pattern.finditer(written):
            name = next(group for group in match.groups() if group).lower()
            meaning = self.terms[name]
            if meaning.anchor not in seen:  # "token" and its name in another language are one
                seen.add(meaning.anchor)
                parts.append(nodes.Text(written[done : match.start()]))
                parts.append(self.link(meaning, nodes.Text(match[0])))
                done = match.end()
        if parts:
            parts.append(nodes.Text(written[done:]))
            leaf.parent.replace(leaf, parts)


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link what the chapters mention; other pages are left as they are."""
    pages = app.env.found_docs
    if app.builder.name != "html" or not CHAPTER.fullmatch(docname) or GLOSSARY not in pages:
        return
    linker = Linker(app, docname)
    for section in list(doctree.findall(nodes.section)):
        if isinstance(section.parent, nodes.section) and isinstance(
            section.parent.parent, nodes.document
        ):
            linker.section(section)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", link_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
