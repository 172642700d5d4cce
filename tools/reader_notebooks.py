"""Write the notebooks that readers open outside the site: in Jupyter, VS Code, Colab, Kaggle.

    python tools/reader_notebooks.py FOLDER

The sources in `book/` are written for the site, whose roles and fences no other program knows. For
each chapter FOLDER gets two notebooks: `09_attention.ipynb`, in which links, references and boxes
are plain Markdown and exercises are without their solutions, and `09_attention_solutions.ipynb`,
which is the same with them. Outputs are kept. The setup cell installs the package where a
notebook is run on somebody else's machine, from the repository that `_config.yml` names.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
import yaml

from chapters import ROOT, Chapter, chapters
from questions import questions
from reader_drawings import shown_anywhere
from reader_references import address, authors, listed, references

ROLE = re.compile(r"\{(?P<name>[a-z][\w:-]*)\}`(?P<text>[^`]*)`")
FENCE = re.compile(
    r"^(?P<ticks>`{3,}|:{3,})\{(?P<name>[\w-]+)\}[ ]?(?P<title>.*)\n"
    r"(?P<body>(?:(?!(?P=ticks)$).*\n)*?)(?P=ticks)$",
    re.MULTILINE,
)
HEADING = re.compile(r"^#{2,4} (.+)$", re.MULTILINE)
OPTION = re.compile(r"\A(?::[\w-]+:.*\n)*")

SETUP = """\
# On Colab and Kaggle this installs mini_gpt; elsewhere it says what to type.
import importlib.util
import os
import sys

package = "mini-gpt[notebooks] @ git+{repository}@{branch}"
if not importlib.util.find_spec("mini_gpt"):
    if "google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        %pip install --quiet "{{package}}"
    else:
        raise ModuleNotFoundError(f'first run: %pip install "{{package}}"')"""


class Edition(NamedTuple):
    """Where a notebook's links lead, and what is in it.

    `for_running` keeps the outputs as a run gives them, so that a test can compare. Readers open a
    notebook that their Jupyter does not trust, which shows no SVG; they get images instead.
    """

    repository: str
    branch: str
    solutions: bool = False
    for_running: bool = False

    def page(self, name: str) -> str:
        """The address of a file of the book that is no notebook."""
        return f"{self.repository}/blob/{self.branch}/book/{name}.md"


def repository() -> tuple[str, str]:
    """The address and the branch that `_config.yml` names."""
    found = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return found["url"], found["branch"]


@functools.cache
def title(chapter: Chapter) -> str:
    """A chapter's title; many links ask for it, and it stands in a large file."""
    return chapter.title()


class Converter:
    """Turns one chapter into an edition; remembers what it cites."""

    def __init__(self, chapter: Chapter, edition: Edition) -> None:
        self.chapter = chapter
        self.edition = edition
        self.cited: list[str] = []
        self.exercises = 0

    # ---- roles -----------------------------------------------------------------------------------

    def role(self, match: re.Match[str]) -> str:
        """One role as plain Markdown.

        Raises:
            ValueError: if this program does not know it; then it would stand raw in the page.
        """
        name, text = match["name"], match["text"]
        titled = re.fullmatch(r"(.+?) <(.+)>", text, re.DOTALL)
        label, target = (titled[1], titled[2]) if titled else (None, text)
        if name == "doc":
            return self.link(label, target)
        if name in ("cite", "cite:p", "cite:t"):
            return self.citation(name, target)
        if name == "term":
            return f"[{label or target}]({self.edition.page('glossary')})"
        raise ValueError(f"{self.chapter.name}: the role {match[0]} has no plain form")

    def link(self, label: str | None, target: str) -> str:
        known = {one.name: one for one in chapters(self.chapter.root)}
        target = target.removeprefix("/book/")
        if target in known:
            one = known[target]
            return f"[{label or f'{one.number} {title(one)}'}]({one.name}.ipynb)"
        return f"[{label or target}]({self.edition.page(target)})"

    def citation(self, name: str, keys: str) -> str:
        written = []
        for key in keys.split(","):
            entry = references(self.chapter.root)[key.strip()]
            if key.strip() not in self.cited:
                self.cited.append(key.strip())
            year = entry.fields.get("year", "n.d.")
            who = authors(entry)
            text = f"{who} ({year})" if name == "cite:t" else f"{who}, {year}"
            written.append(f"[{text}]({address(entry) or '#References'})")
        return ", ".join(written) if name == "cite:t" else f"({'; '.join(written)})"

    # ---- fences ----------------------------------------------------------------------------------

    def fence(self, match: re.Match[str]) -> str:
        """One directive as plain Markdown.

        Raises:
            ValueError: if this program does not know it.
        """
        title = match["title"].strip()
        body = OPTION.sub("", match["body"]).strip("\n")
        boxes: dict[str, Callable[[], str]] = {
            "admonition": lambda: quoted(f"**{title}**\n\n{body}"),
            "dropdown": lambda: folded(title, body),
            "exercise-start": lambda: self.exercise(title),
            "exercise-end": self.to_solution,
            "solution-start": lambda: "**Solution**",
            "solution-end": lambda: "",
        }
        for kind in ("note", "tip", "warning", "important"):
            boxes[kind] = functools.partial(self.named_box, kind, title, body)
        if match["name"] not in boxes:
            raise ValueError(
                f"{self.chapter.name}: the fence {{{match['name']}}} has no plain form"
            )
        return boxes[match["name"]]()

    def named_box(self, kind: str, title: str, body: str) -> str:
        return quoted(f"**{kind.capitalize()}.** {title}\n{body}".strip())

    def exercise(self, title: str) -> str:
        self.exercises += 1
        return f"### Exercise {self.exercises}: {title}\n"

    def to_solution(self) -> str:
        if self.edition.solutions:
            return ""
        return f"\n[A solution]({self.chapter.name}_solutions.ipynb)"

    # ---- cells -----------------------------------------------------------------------------------

    def markdown(self, source: str) -> str:
        """A cell's text without roles and fences."""
        # Twice, since a box may stand within a box.
        for _ in range(2):
            source = FENCE.sub(self.fence, source)
        source = ROLE.sub(self.role, source)
        return re.sub(r"\n{3,}", "\n\n", source).strip("\n")

    def code(self, cell: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
        """A code cell as a reader gets it, or None for one that only speaks to our tools."""
        tags = cell.metadata.get("tags", [])
        source = cell.source
        if source.startswith("#| default_exp") or (
            "solution" in tags and not self.edition.solutions
        ):
            return None
        metadata: dict[str, object] = {}
        if "setup" in tags:
            source = SETUP.format(repository=self.edition.repository, branch=self.edition.branch)
        if source.startswith("#|"):
            source = source.partition("\n")[2].lstrip("\n")
            source = f"# This cell is part of {self.chapter.module}.\n{source}"
        if {"remove-cell", "remove-input", "hide-input"} & set(tags):
            metadata = {"jupyter": {"source_hidden": True}, "cellView": "form"}
        outputs = cell.outputs
        if not self.edition.for_running:
            outputs = [shown_anywhere(output) for output in outputs]
        # Made without nbformat's function, which would check each output for long.
        made = {"cell_type": "code", "id": cell.id, "source": source, "metadata": metadata}
        kept = nbformat.from_dict({**made, "outputs": outputs, "execution_count": None})
        if "nbval-ignore-output" in tags:
            kept.metadata["tags"] = ["nbval-ignore-output"]  # its output is of one machine
        return kept

    def with_questions(self, cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
        """The cells, with each question of the chapter at the end of its section."""
        waiting = questions(self.chapter)
        if not waiting:
            return cells
        placed: list[nbformat.NotebookNode] = []
        open_headings: list[str] = []  # of the last cell that had some
        asked = 0
        for cell in [*cells, None]:
            markdown = cell is not None and cell.cell_type == "markdown"
            headings = HEADING.findall(cell.source) if markdown else []
            if cell is None or headings:
                for one in [one for one in waiting if one.after in open_headings]:
                    asked += 1
                    text = one.folded()
                    placed.append(nbformat.v4.new_markdown_cell(text, id=f"question-{asked}"))
                open_headings = [heading.strip() for heading in headings]
            if cell is not None:
                placed.append(cell)
        if asked != len(waiting):
            raise ValueError(f"{self.chapter.name}: a question stands after no section's heading")
        return placed

    def notebook(self) -> nbformat.NotebookNode:
        """The whole chapter in this edition."""
        source = nbformat.read(self.chapter.notebook, as_version=4)
        cells, solving = [], False
        for cell in source.cells:
            if "{solution-start}" in cell.source:
                solving = True
            if solving and not self.edition.solutions:
                solving = "{solution-end}" not in cell.source
                rest = cell.source.partition("{solution-end}\n```")[2].strip()
                if cell.cell_type == "code" or not rest:
                    continue
                cell.source = rest
            if cell.cell_type == "markdown":
                if text := self.markdown(cell.source):
                    cells.append(nbformat.v4.new_markdown_cell(text, id=cell.id))
            elif (kept := self.code(cell)) is not None:
                cells.append(kept)
        cells = self.with_questions(cells)
        if self.cited:
            works = [references(self.chapter.root)[key] for key in self.cited]
            cells.append(nbformat.v4.new_markdown_cell(listed(works), id="references"))
        made = nbformat.v4.new_notebook(cells=cells, metadata=source.metadata)
        for number, cell in enumerate((c for c in cells if c.cell_type == "code"), 1):
            cell.execution_count = number
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = number
        return made


def quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def folded(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def write(folder: Path, address: str, branch: str, root: Path = ROOT) -> list[Path]:
    """Write both editions of every chapter of the book in `root`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for chapter in chapters(root):
        for solutions in (False, True):
            edition = Edition(address, branch, solutions)
            name = f"{chapter.name}{'_solutions' if solutions else ''}.ipynb"
            nbformat.write(Converter(chapter, edition).notebook(), folder / name)
            written.append(folder / name)
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    url, branch = repository()
    parser.add_argument("--repository", default=url)
    parser.add_argument("--branch", default=branch)
    given = parser.parse_args()
    try:
        written = write(given.folder, given.repository, given.branch)
    except ValueError as fault:
        raise SystemExit(f"reader_notebooks: {fault}") from None
    print(f"{len(written)} notebooks in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
