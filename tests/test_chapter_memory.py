"""The plugin that holds chapters to the memory of their cost lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import chapter_memory
import chapters as toc
import nbformat
import pytest

TOOLS = Path(chapter_memory.__file__).parent


def notebook(cost: str, *cells: str) -> nbformat.NotebookNode:
    v4 = nbformat.v4
    opening = v4.new_markdown_cell(f"# Memory\n\nText.\n\n**Cost.** {cost}\n\nMore than 9 GB.")
    return v4.new_notebook(cells=[opening, *map(v4.new_code_cell, cells)])


class TestPromise:
    @pytest.mark.parametrize(
        ("cost", "gigabytes"),
        [
            ("5 seconds; 0.4 GB of memory.", 0.4),
            ("A download of 5 MB; 450 MB of memory, most of it torch.", 0.45),
            ("5 seconds and 2 GB\nof memory; with the weights 0.6 GB more.", 2.0),
        ],
    )
    def test_is_read_from_the_cost_line(self, cost: str, gigabytes: float) -> None:
        assert chapter_memory.promised(notebook(cost)) == pytest.approx(gigabytes)

    @pytest.mark.parametrize("cost", ["5 seconds.", "1 GB of memory, then 2 GB of memory."])
    def test_is_one_amount(self, cost: str) -> None:
        with pytest.raises(ValueError, match="amounts of memory"):
            chapter_memory.promised(notebook(cost))

    @pytest.mark.parametrize("chapter", toc.chapters(), ids=lambda chapter: chapter.name)
    def test_is_made_by_every_chapter(self, chapter: toc.Chapter) -> None:
        assert 0.1 < chapter_memory.promised(nbformat.read(chapter.notebook, as_version=4)) <= 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
@pytest.mark.parametrize(("megabytes", "held"), [(20, True), (600, False)])
def test_a_chapter_that_takes_more_fails(tmp_path: Path, megabytes: int, held: bool) -> None:
    cells = f"data = bytearray({megabytes} * 10**6)", "del data"
    nbformat.write(notebook("0.3 GB of memory.", *cells), tmp_path / "one.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "chapter_memory", "--nbval-lax", "one.ipynb"]
    command += ["--nbval-current-env", "-p", "no:cacheprovider", "--rootdir=.", "-c/dev/null"]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode == 0) == held, ran.stdout
    assert ("took 0.6" in ran.stdout) == (not held), ran.stdout
