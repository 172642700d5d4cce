"""The table of the chapters, from `_toc.yml` and the notebooks: `{chapter-table}`, without content.

One table for each part. A row has the chapter's number, its title as a link, the sentence that
stands after `> ` under the title, the minutes that reading it takes, and the module that it
exports. `{reading-time}` says how the minutes are counted, and gives their sum.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book_languages import speaker, spoken

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from chapters import CELLS_A_MINUTE, WORDS_A_MINUTE, Chapter, chapters


def row(chapter: Chapter, say: Callable[[str], str] = str) -> str:
    """A chapter as a row of a Markdown table.

    Args:
        say: gives our words in the language of the book.
    """
    sentence = say(chapter.sentence()).replace("|", r"\|")
    link, module = f"{{doc}}`/{chapter.page}`", f"`{chapter.module}`"
    cells = [
        str(chapter.number),
        link,
        sentence,
        say("{minutes} min").format(minutes=chapter.minutes()),
        module,
    ]
    return f"| {' | '.join(cells)} |"


def tables(root: Path, say: Callable[[str], str] = str) -> str:
    """The chapters of a book as Markdown, part by part."""
    found = []
    for part, members in groupby(chapters(root), key=lambda chapter: chapter.part):
        head = [
            say("| No. | Chapter | What it builds | Reading | Module |"),
            "|---|---|---|---|---|",
        ]
        rows = [row(chapter, say) for chapter in members]
        found += [f"**{say(part)}**", "\n".join([*head, *rows])]
    return "\n\n".join(found)


class ChapterTable(SphinxDirective):
    """`{chapter-table}`: the chapters at this place."""

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "_toc.yml"))
        for chapter in chapters(root):
            self.env.note_dependency(str(chapter.notebook))
        return spoken(self.parse_text_to_nodes(tables(root, speaker(self.config))))


class ReadingTime(SphinxDirective):
    """`{reading-time}`: a sentence on how the minutes are counted, and their sum."""

    def run(self) -> list[nodes.Node]:
        found = chapters(Path(self.env.srcdir))
        hours = sum(chapter.minutes() for chapter in found) / 60
        sentence = speaker(self.config)(
            "The minutes are counted, not felt: {words} words of prose, or {cells} cells of code, "
            "in a minute. That makes {hours:.0f} hours for all {count} chapters; the exercises "
            "come on top."
        ).format(words=WORDS_A_MINUTE, cells=CELLS_A_MINUTE, hours=hours, count=len(found))
        return spoken(self.parse_text_to_nodes(sentence))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("chapter-table", ChapterTable)
    app.add_directive("reading-time", ReadingTime)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
