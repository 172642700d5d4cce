"""The table of the chapters, from `_toc.yml` and the notebooks: `{chapter-table}`, without content.

One table for each part. A row has the chapter's number, its title as a link, the sentence that
stands after `> ` under the title, and the module that the chapter exports.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from chapters import Chapter, chapters


def row(chapter: Chapter) -> str:
    """A chapter as a row of a Markdown table."""
    sentence = chapter.sentence().replace("|", r"\|")
    cells = [str(chapter.number), f"{{doc}}`/{chapter.page}`", sentence, f"`{chapter.module}`"]
    return f"| {' | '.join(cells)} |"


def tables(root: Path) -> str:
    """The chapters of a book as Markdown, part by part."""
    found = []
    for part, members in groupby(chapters(root), key=lambda chapter: chapter.part):
        head = ["| No. | Chapter | What it builds | Module |", "|---|---|---|---|"]
        found += [f"**{part}**", "\n".join([*head, *map(row, members)])]
    return "\n\n".join(found)


class ChapterTable(SphinxDirective):
    """`{chapter-table}`: the chapters at this place."""

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "_toc.yml"))
        for chapter in chapters(root):
            self.env.note_dependency(str(chapter.notebook))
        return self.parse_text_to_nodes(tables(root))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("chapter-table", ChapterTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
