"""Write the workbook: the book's notebooks without what they export, which the reader writes.

    python tools/workbook.py FOLDER                  what `make workbook` runs
    python tools/workbook.py FOLDER --solutions      the same, with our code in place

FOLDER gets each chapter as a notebook in which exported cells are stubs, the chapters' tests, an
empty package `my_gpt` that these are run against, and `check.py`, which runs them and says what
comes next (`tools/workbook_files/README.md` explains it to readers). The line above a stub that
says what to generalize is in `tools/workbook_lines.yml`; a cell without one gets a general line.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import yaml

from chapters import ROOT, Chapter, chapters
from reader_notebooks import Converter, Edition, repository
from workbook_stubs import public, stub_cell, with_own_package
from workbook_tests import write_tests

FILES = Path(__file__).resolve().parent / "workbook_files"
LINES = Path(__file__).resolve().parent / "workbook_lines.yml"
SETUP = """\
# Your own package first: what you have finished stands in for the book's.
import my_gpt"""
REQUIREMENTS = """\
mini-gpt[notebooks,gpt2] @ git+{repository}@{branch}
beartype
hypothesis
pytest
transformers
"""
HELPER = "Helpers of ours, which the cells below may use: write them, or do without."
GENERAL = "Yours to write: the docstring says what it does, the page above how."


@functools.cache
def lines() -> dict[str, dict[str, str]]:
    """For each chapter: what to do in the cell that defines a name."""
    return yaml.safe_load(LINES.read_text(encoding="utf-8"))


def line(chapter: Chapter, source: str) -> str:
    """What to generalize in an exported cell, in a line."""
    told = lines().get(chapter.stem, {})
    found = [told[name] for name in public(source) if name in told]
    if found:
        return "Yours to write. " + " ".join(found)
    return GENERAL if public(source) else HELPER


class Workbook(Converter):
    """Turns one chapter into a notebook whose exported cells are the reader's."""

    @functools.cached_property
    def before(self) -> list[str]:
        """The stems of the chapters that a reader has written before this one."""
        return [one.stem for one in chapters(self.chapter.root) if one < self.chapter]

    def to_solution(self) -> str:
        if self.edition.solutions:
            return ""
        name = f"{self.chapter.name}_solutions.ipynb"
        return f"\n[A solution]({self.edition.repository}/blob/notebooks/{name})"

    def code(self, cell: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
        exported = bool(re.match(r"#\s*\|\s*export\b", cell.source))
        setup = "setup" in cell.metadata.get("tags", [])
        source = SETUP if setup else with_own_package(cell.source, self.before)
        if exported and not self.edition.solutions:
            source = stub_cell(source, line(self.chapter, source))
        kept = super().code(cell)
        if kept is not None:
            kept.source = source
            kept.metadata["tags"] = [*kept.metadata.get("tags", []), "yours"] if exported else []
            if exported and defines(source):
                kept.metadata.pop("jupyter", None)  # what is to be written is not hidden
        return kept


def defines(source: str) -> bool:
    return any(isinstance(one, ast.FunctionDef | ast.ClassDef) for one in ast.parse(source).body)


def write(folder: Path, solutions: bool = False, root: Path = ROOT) -> list[Path]:
    """Write the workbook; returns the notebooks.

    Notebooks, progress and modules that a reader has there are never replaced.

    Raises:
        ValueError: if the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name another folder, so that no work is lost")
    found = chapters(root)
    shutil.copytree(FILES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    address, branch = repository()
    requirements = REQUIREMENTS.format(repository=address, branch=branch)
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    written = []
    for chapter in found:
        notebook = Workbook(chapter, Edition(address, branch, solutions)).notebook()
        path = folder / f"{chapter.name}.ipynb"
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding="utf-8")
        written.append(path)
    write_tests(folder / "tests", [chapter.stem for chapter in found], root)
    shutil.move(folder / "conftest.py", folder / "tests" / "conftest.py")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--solutions", action="store_true")
    given = parser.parse_args()
    try:
        written = write(given.folder, given.solutions)
    except ValueError as fault:
        raise SystemExit(f"workbook: {fault}") from None
    print(f"{len(written)} chapters in {given.folder}; begin with its README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
