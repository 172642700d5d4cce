"""The benchmark of preparing a corpus runs and records; no time is asserted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # bench/ is no part of the installed package

from bench import preparation  # noqa: E402
from bench.preparation import Turn  # noqa: E402


@pytest.mark.slow
def test_it_runs_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--processes", "2", "--out", str(tmp_path)]
    assert preparation.main(arguments) == 0
    record = json.loads((tmp_path / "preparation.json").read_text(encoding="utf-8"))
    names = ["tiktoken, one core", "tiktoken, 2 processes"]
    names += ["prepare, 1 process", "prepare, 2 processes"]
    assert list(record["turns"]) == names
    assert {len(turns) for turns in record["turns"].values()} == {5}
    table = (tmp_path / "preparation.md").read_text(encoding="utf-8")
    assert all(name in table for name in names)
    assert table in capsys.readouterr().out


def test_ratios_are_taken_turn_by_turn() -> None:
    turns = {
        "tiktoken": [Turn(2.0, 1.0), Turn(8.0, 1.0), Turn(2.0, 1.0)],
        "two": [Turn(1.0, 1.25), Turn(4.0, 1.25), Turn(1.0, 1.25)],
    }
    assert preparation.rows_of(turns, 4.0) == [
        ["tiktoken", "2.0", "1.00", "4.0", "1.00"],
        ["two", "4.0", "2.00", "3.2", "0.80"],
    ]


def test_what_is_generated_is_the_same_each_time() -> None:
    documents = preparation.generated(0.05)
    assert documents == preparation.generated(0.05)
    assert 50_000 <= sum(map(len, documents)) < 58_001
    assert all(document.strip() for document in documents)
