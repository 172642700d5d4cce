"""What a translation must keep: code, formulas, roles, links, numbers, emphasis."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from babel.messages.catalog import Message
from babel.messages.pofile import read_po
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

PARSER = MarkdownIt("commonmark").use(dollarmath_plugin).use(myst_role_plugin)
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
FIELD = re.compile(r"\{[a-z][a-z:.,0-9]*\}(?!`)")


def tokens(text: str) -> list[Token]:
    """A paragraph as the site's Markdown takes it apart."""
    return PARSER.parseInline(text)[0].children or []


def parts(text: str) -> Counter[str]:
    """What must be the same in a translation, and how often it is there."""
    found: Counter[str] = Counter(f"the field {field}" for field in FIELD.findall(text))
    for token in tokens(text):
        if token.type == "code_inline":
            found[f"the code {token.content}"] += 1
        elif token.type == "math_inline":
            found[f"the formula {token.content.strip()}"] += 1
        elif token.type == "myst_role":
            found[f"{token.meta['name']} {token.content}"] += 1
        elif token.type == "link_open":
            found[f"the link {token.attrs['href']}"] += 1
        elif token.type in ("em_open", "strong_open"):
            found[f"emphasis ({token.type.removesuffix('_open')})"] += 1
    return found


def plain(text: str) -> str:
    """The words of a paragraph, outside of code and formulas."""
    return " ".join(token.content for token in tokens(text) if token.type == "text")


def misfits(message: Message) -> list[str]:
    """What a translation has lost or added."""
    source, target = str(message.id), str(message.string)
    before, after = parts(source), parts(target)
    found = [f"loses {part}" for part in (before - after).elements()]
    found += [f"adds {part}" for part in (after - before).elements()]
    # A number may be said in figures where the original has words, not the other way round.
    lost = Counter(NUMBER.findall(plain(source))) - Counter(NUMBER.findall(plain(target)))
    found += [f"loses the number {number}" for number in lost]
    if "*" in plain(target):
        found.append("has a * that emphasizes nothing: put a space between it and the next letter")
    return found


def faults(folder: Path) -> list[str]:
    """All translations below a folder that do not fit their original, one line each."""
    found = []
    for path in sorted(folder.rglob("*.po")):
        with path.open("rb") as file:
            catalog = read_po(file)
        for message in catalog:
            if message.id and message.string and not message.fuzzy:
                begins = f"{path.stem}: {str(message.id)[:60]!r}"
                found += [f"{begins} {misfit}" for misfit in misfits(message)]
    return found
