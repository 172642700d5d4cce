"""Execute the chapters in place and store their outputs, or check how they are stored.

    python tools/notebooks.py                  every chapter
    python tools/notebooks.py book/09_*.ipynb  some of them
    python tools/notebooks.py --check          change nothing; fail if one is not in its stored form

A notebook is run top to bottom in one fresh kernel, inside its own folder, and its metadata is
cleaned by nbdev. nbdev also drops the execution counts; we put them back, since "run in order,
once" is a promise that the tests check.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import clean_nb
from nbdev.config import get_config

from chapters import ROOT, chapters


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what a diff should not show: editor metadata, memory addresses, kernel versions."""
    counts = [cell.get("execution_count") for cell in notebook.cells]
    config = get_config(ROOT)
    clean_nb(
        notebook,
        allowed_metadata_keys=config.allowed_metadata_keys,
        allowed_cell_metadata_keys=config.allowed_cell_metadata_keys,
    )
    for cell, count in zip(notebook.cells, counts, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    return notebook


def join_streams(notebook: nbformat.NotebookNode) -> None:
    """One stdout per cell, however the kernel happened to cut it up."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        joined: list[nbformat.NotebookNode] = []
        for output in cell.outputs:
            last = joined[-1] if joined else None
            if (
                last
                and output.output_type == last.output_type == "stream"
                and output.name == last.name
            ):
                last.text += output.text
            else:
                joined.append(output)
        cell.outputs = joined


def execute(path: Path) -> float:
    """Run one notebook and write it back; returns the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    start = time.perf_counter()
    # PYTHONPATH: the chapters import the working tree's mini_gpt, as an editable install would.
    os.environ["PYTHONPATH"] = str(ROOT)
    NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    seconds = time.perf_counter() - start
    join_streams(notebook)
    write(path, clean(notebook))
    return seconds


def write(path: Path, notebook: nbformat.NotebookNode) -> None:
    partial = path.with_suffix(".ipynb.partial")
    partial.write_text(stored_form(notebook), encoding="utf-8")
    partial.replace(path)


def stored_form(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def check(path: Path) -> str | None:
    """What is wrong with how a notebook is stored, or None."""
    text = path.read_text(encoding="utf-8")
    if text != stored_form(clean(nbformat.reads(text, as_version=4))):
        return f"{path.name}: its metadata is not clean; run: make notebooks ARGS=book/{path.name}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every chapter")
    parser.add_argument(
        "--check", action="store_true", help="change nothing, report what is not clean"
    )
    arguments = parser.parse_args()
    paths = arguments.notebooks or [chapter.notebook for chapter in chapters()]
    if arguments.check:
        faults = [fault for fault in map(check, paths) if fault]
        print("\n".join(faults) or f"{len(paths)} notebooks are clean")
        return bool(faults)
    for path in paths:
        print(f"{path.name}: {execute(path.resolve()):.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
