"""The book as it is published: built once for a whole test run, and what the tests ask of it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chapters import ROOT, Chapter
from filelock import FileLock

COMMAND = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
STRICT = ["--all", "-W", "-n", "--keep-going"]  # all pages anew; a warning is an error


class Built(NamedTuple):
    """A finished build: where its pages are, and all that was said while they were made."""

    site: Path
    log: str


def build(source: Path, output: Path, environment: Mapping[str, str]) -> Built:
    """Render a book strictly, whatever is there already.

    Args:
        source: the folder with `_config.yml` and `_toc.yml`.
        output: the folder for the pages and Sphinx's notes.
        environment: environment variables for the build.

    Raises:
        RuntimeError: if Sphinx gave a warning or stopped; the message ends with what it said.
    """
    done = subprocess.run(
        [*COMMAND, "--path-output", str(output), *STRICT],
        cwd=source,
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    log = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(f"the book does not render without warnings:\n{log[-4000:]}")
    return Built(output / "_build" / "html", log)


@functools.cache
def book() -> Built:
    """This book, built once for each test run into build/book, as `make book` does.

    Where tests run side by side, the first process that wants it builds it, and the others wait.
    """
    output = ROOT / "build" / "book"
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return build(ROOT, output, os.environ)
    output.mkdir(parents=True, exist_ok=True)
    of_run = output / "log-of-the-test-run.txt"
    with FileLock(output.parent / "book.lock"):
        if of_run.exists():
            first, _, log = of_run.read_text(encoding="utf-8").partition("\n")
            if first == run:
                return Built(output / "_build" / "html", log)
        built = build(ROOT, output, os.environ)
        of_run.write_text(f"{run}\n{built.log}", encoding="utf-8")
    return built


def code_cells(chapter: Chapter) -> list[dict[str, Any]]:
    """The code cells of a chapter, as its notebook stores them, `source` joined."""
    notebook = json.loads(chapter.notebook.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells]


def exported_cells(chapter: Chapter) -> int:
    """How many cells of a chapter nbdev exports and readers see."""
    return sum(
        cell["source"].startswith("#| export")
        and "remove-cell" not in cell["metadata"].get("tags", [])
        for cell in code_cells(chapter)
    )
