"""Write the package's generated modules from the chapters.

    python tools/export.py            what `make export` runs

nbdev writes them; ruff then sorts imports and names and formats them, so that a generated module
looks like one written by hand. The test that compares modules with chapters calls this function.
(`nbdev-export` would do more: it writes indices that nothing here reads, and rewrites the package's
docstring.)
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chapters import ROOT, chapters

NBDEV = "import sys; from nbdev.export import nb_export; [nb_export(name) for name in sys.argv[1:]]"


def export(root: Path = ROOT) -> list[Path]:
    """Export every chapter of a checkout; returns the modules.

    Raises:
        subprocess.CalledProcessError: if a chapter cannot be exported, or is no valid Python.
    """
    notebooks = [chapter.notebook.relative_to(root) for chapter in chapters(root)]
    modules = [chapter.source.relative_to(root) for chapter in chapters(root)]
    run(root, "-c", NBDEV, *notebooks)
    run(root, "-m", "ruff", "check", "--quiet", "--select", "I,RUF022", "--fix", *modules)
    run(root, "-m", "ruff", "format", "--quiet", *modules)
    return modules


def run(root: Path, *arguments: str | Path) -> None:
    subprocess.run([sys.executable, *arguments], cwd=root, check=True)


if __name__ == "__main__":
    print(f"{len(export())} modules written")
