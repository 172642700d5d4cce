"""The bibliography as readers' notebooks cite it: who, when, and where the work can be read."""

from __future__ import annotations

import functools
from pathlib import Path

from pybtex.backends.markdown import Backend as Markdown
from pybtex.backends.plaintext import Backend as Plain
from pybtex.database import Entry, parse_string
from pybtex.richtext import Text
from pybtex.style.formatting.plain import Style

from chapters import ROOT

# To ask for these by name would search all packages, each time.
PLAIN, MARKDOWN = Plain(), Markdown()


@functools.cache
def references(root: Path = ROOT) -> dict[str, Entry]:
    """The works that the book cites, by their keys."""
    text = (root / "book" / "references.bib").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    return dict(parse_string(text, "bibtex").entries)


@functools.cache
def plain(latex: str) -> str:
    """A field of the bibliography without its braces and commands."""
    return Text.from_latex(latex).render(PLAIN)


def authors(entry: Entry) -> str:
    """The short form, such as `Radford et al.`"""
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [plain(" ".join([*person.prelast_names, *person.last_names])) for person in people]
    if len(names) > 2 or (names and names[-1] == "others"):
        return f"{names[0]} et al."
    return " and ".join(names)


def address(entry: Entry) -> str | None:
    """Where the work itself can be read, if the bibliography says."""
    fields = entry.fields
    if "eprint" in fields:
        return f"https://arxiv.org/abs/{fields['eprint']}"
    if "doi" in fields:
        return f"https://doi.org/{fields['doi']}"
    return fields.get("url")


@functools.cache
def style() -> Style:
    """How works are listed."""
    return Style()


def listed(entries: list[Entry]) -> str:
    """The list of references at a notebook's end."""
    formatted = style().format_entries(entries)
    rows = [f"* {entry.text.render(MARKDOWN)}" for entry in formatted]
    return "## References\n\n" + "\n".join(rows)
