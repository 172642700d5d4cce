"""The chapters of the book, read from `_toc.yml`: the one list that everything else derives from.

    python tools/chapters.py          print them

A chapter has one stem everywhere: `book/09_attention.ipynb` exports `mini_gpt/attention.py`, its
exercises are checked by `mini_gpt/checks/attention.py`, its tests are `tests/test_attention.py`.
Standard library only: the book's own extensions, the set-up and the benchmarks use it as well.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
WORDS_A_MINUTE, CELLS_A_MINUTE = 200, 4  # of prose, and of code that is read, not run
NOT_PROSE = re.compile(r"\$[^$]*\$|`[^`]*`|^\s*(:{3,}|`{3,}).*$", re.MULTILINE)
HIDDEN = {"remove-cell", "remove-input", "hide-input"}
ENTRY = re.compile(r"^\s*(?:- )?(?P<key>root|file|caption): *(?P<value>[^#\n]*?) *(?:#.*)?$")
CHAPTER = re.compile(r"book/(?P<number>\d+)_(?P<stem>[a-z]\w*)")


class Chapter(NamedTuple):
    """A chapter and the files that belong to it."""

    root: Path
    number: int
    stem: str
    part: str

    @property
    def name(self) -> str:
        """What its notebook is called, such as `09_attention`."""
        return f"{self.number:02}_{self.stem}"

    @property
    def page(self) -> str:
        """Its page in the book, such as `book/09_attention`."""
        return f"book/{self.name}"

    @property
    def module(self) -> str:
        """The module that it exports, such as `mini_gpt.attention`."""
        return f"mini_gpt.{self.stem}"

    @property
    def notebook(self) -> Path:
        return self.root / f"{self.page}.ipynb"

    @property
    def source(self) -> Path:
        return self.root / "mini_gpt" / f"{self.stem}.py"

    @property
    def checks(self) -> Path:
        return self.root / "mini_gpt" / "checks" / f"{self.stem}.py"

    @property
    def tests(self) -> Path:
        return self.root / "tests" / f"test_{self.stem}.py"

    def opening(self) -> str:
        """The Markdown of its first cell."""
        first = json.loads(self.notebook.read_text(encoding="utf-8"))["cells"][0]
        return "".join(first["source"]) if first["cell_type"] == "markdown" else ""

    def title(self) -> str:
        """Its title, as its notebook has it."""
        match = re.match(r"# (.+)", self.opening())
        return match[1].strip() if match else ""

    def sentence(self) -> str:
        """What it builds: the lines after `> `, which are the docstring of its module too."""
        lines = self.opening().splitlines()
        return " ".join(line[2:].strip() for line in lines if line.startswith("> "))

    def minutes(self) -> int:
        """How long it takes to read, to five minutes, without its exercises' solutions."""
        words = cells = 0
        in_solution = False
        for cell in json.loads(self.notebook.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            in_solution = in_solution or "solution-start" in source
            if not in_solution and cell["cell_type"] == "markdown":
                words += len(NOT_PROSE.sub(" ", source).split())
            elif not in_solution and not HIDDEN & set(cell["metadata"].get("tags", ())):
                cells += 1
            in_solution = in_solution and "solution-end" not in source
        return max(5, 5 * round((words / WORDS_A_MINUTE + cells / CELLS_A_MINUTE) / 5))


def contents(root: Path = ROOT) -> list[tuple[str, str]]:
    """What `_toc.yml` says, in order: pairs of `root`, `file` or `caption` and its value."""
    lines = (root / "_toc.yml").read_text(encoding="utf-8").splitlines()
    found = [match for match in map(ENTRY.match, lines) if match]
    return [(match["key"], match["value"].strip("\"'")) for match in found]


def pages(root: Path = ROOT) -> list[str]:
    """Every page of the book, in reading order: `book/index`, `book/01_characters`, ..."""
    return [value for key, value in contents(root) if key != "caption"]


def chapters(root: Path = ROOT) -> list[Chapter]:
    """The chapters, in reading order, which is the order in which they may import each other."""
    part, found = "", []
    for key, value in contents(root):
        if key == "caption":
            part = value
        elif match := CHAPTER.fullmatch(value):
            found.append(Chapter(root, int(match["number"]), match["stem"], part))
    return found


def chapter(stem: str, root: Path = ROOT) -> Chapter:
    """The chapter with this stem.

    Raises:
        ValueError: if there is none.
    """
    for found in chapters(root):
        if found.stem == stem:
            return found
    raise ValueError(f"no chapter has the stem {stem!r}; see _toc.yml")


if __name__ == "__main__":
    for one in chapters():
        print(f"{one.part:<10}{one.name}")
