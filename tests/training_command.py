"""What the tests of `mini-gpt train` and of its runs share: a corpus, options, complaints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mini_gpt.commands.cli import main

TEXT = "What light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n" * 20
SHAPE = ["--context-length", "7", "--layers", "2", "--heads", "3", "--width", "12"]
SMALL = [*SHAPE, "--batch-size", "5"]
SHORT = ["--steps", "6", "--eval-every", "3", "--warmup-steps", "2", "--device", "cpu"]


def write_corpus(folder: Path) -> Path:
    """A small text file."""
    path = folder / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def quick_run(corpus: Path, out: Path, *options: str) -> Path:
    """A run of six steps, with further options; returns its folder."""
    arguments = ["train", "--corpus", str(corpus), "--out", str(out), *SMALL, *SHORT, *options]
    assert main(arguments) == 0
    return out


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command refuses bad input."""
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("mini-gpt: ")
    return lines[0]
