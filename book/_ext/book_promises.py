"""`{promises}`: what `tests/PROMISES.md` says, each test a link to its file, in words.

Each table there becomes a list: the promise, and below it the tests by the words of their names.
"""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book_reference import note
from book_repository import source_address

TEST = re.compile(r"`([\w/]+\.py)::([\w:]+)`")


def parts(text: str) -> dict[str, list[tuple[str, list[tuple[str, str]]]]]:
    """The sections of the file: for each its promises, each with the files and names of tests."""
    found: dict[str, list[tuple[str, list[tuple[str, str]]]]] = {}
    title = ""
    for line in text.splitlines():
        if line.startswith("## "):
            title = line[3:].strip()
        elif line.startswith("| ") and TEST.search(line):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(title, []).append((cells[-2], TEST.findall(cells[-1])))
    return found


def in_words(name: str) -> str:
    """A test's name as words: `TestAKill::test_of_a_writer` says "a kill: of a writer"."""
    words = []
    for part in name.split("::"):
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", part)
        said = re.sub(r"^[Tt]est_", "", spaced).replace("_", " ")
        words.append(said.lower() if part.startswith("Test") else said)
    return ": ".join(words)


class Promises(SphinxDirective):
    """The promises, as sections of the page."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir, "tests", "PROMISES.md")
        self.env.note_dependency(str(path))
        made = []
        for number, (title, promises) in enumerate(parts(path.read_text("utf-8")).items(), 1):
            anchor = f"promises-{number}"
            section = nodes.section(ids=[anchor], names=[anchor])
            section += nodes.title("", title)
            note(self.env, anchor, anchor, title)
            listed = nodes.enumerated_list(enumtype="arabic", suffix=".")
            for promise, tests in promises:
                item = nodes.list_item("", *self.parse_text_to_nodes(promise))
                item += self.shown_by(tests)
                listed += item
            section += listed
            made.append(section)
        return made

    def shown_by(self, tests: list[tuple[str, str]]) -> nodes.paragraph:
        """The tests of a promise: words that lead to the file."""
        line = nodes.paragraph("", "Shown by ", classes=["shown-by"])
        for place, (file, name) in enumerate(tests):
            line += nodes.Text("; " if place else "")
            address = source_address(self.config, f"tests/{file}")
            line += nodes.reference("", in_words(name), internal=False, refuri=address)
        line += nodes.Text(".")
        return line


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("book_repository")
    app.add_directive("promises", Promises)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
