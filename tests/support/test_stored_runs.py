"""Stored results: what chapters show of longer runs, and of a graphics card if there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from chapters import Chapter, chapter

from mini_gpt.support import stored_runs
from mini_gpt.support.settings_file import read_settings


def prose(one: Chapter) -> str:
    cells = nbformat.read(one.notebook, as_version=4).cells
    return " ".join("\n".join(c.source for c in cells if c.cell_type == "markdown").split())


def shown(one: Chapter, part: str) -> str:
    """What the cells with these words in them have printed."""
    cells = nbformat.read(one.notebook, as_version=4).cells
    return "".join(
        output.get("text", "")
        for cell in cells
        if cell.cell_type == "code" and part in cell.source
        for output in cell.outputs
    )


# The runs on 50,000 characters


def test_three_seeds_where_chance_could_decide() -> None:
    record = stored_runs.overfitting()
    seeds = {kind: [run["seed"] for run in runs] for kind, runs in record["runs"].items()}
    three = ("as it was", "dropout 0.2", "weight decay 1.0")
    assert seeds == {
        **{kind: [1, 2, 3] for kind in three},
        "all the text": [1],
        "make demo": [1],
    }
    measured = record["config"]["steps"] // 100
    for runs in record["runs"].values():
        for run in runs:
            assert len(run["training"]) == len(run["validation"]) == measured
            assert run["by_heart"]["lines"] == record["lines"]


def test_the_chapter_says_what_the_runs_found() -> None:
    record, words = stored_runs.overfitting(), prose(chapter("trainer"))
    plain = record["runs"]["as it was"]
    lowest = {100 * (1 + int(np.argmin(run["validation"]))) for run in plain}
    assert lowest == {200, 300}
    assert "turns after 200 or 300 steps" in words
    assert all(run["validation"][-1] > run["validation"][0] for run in plain)
    assert all(run["training"][-1] < 1 for run in plain)
    assert f"the {record['lines']} lines" in words
    assert all(not run["unseen"]["whole"] for runs in record["runs"].values() for run in runs)
    best = {kind: [min(run["validation"]) for run in runs] for kind, runs in record["runs"].items()}
    ends = {kind: [run["validation"][-1] for run in runs] for kind, runs in record["runs"].items()}
    said = "(2.16 or 2.17, and 2.12 to 2.16, against 2.27 or 2.28)"
    assert said in words
    assert {f"{loss:.2f}" for loss in ends["dropout 0.2"]} == {"2.16", "2.17"}
    decayed = ends["weight decay 1.0"]
    assert (f"{min(decayed):.2f}", f"{max(decayed):.2f}") == ("2.12", "2.16")
    assert {f"{loss:.2f}" for loss in best["as it was"]} == {"2.27", "2.28"}
    for kind in ("dropout 0.2", "weight decay 1.0"):
        assert max(ends[kind]) < min(best["as it was"])
        assert not any(run["by_heart"]["whole"] for run in record["runs"][kind])
    assert f"brings {ends['all the text'][0]:.2f}: no other remedy" in words
    spreads = [max(some) - min(some) for some in ends.values()]
    assert max(spreads) < 0.045, "the other kinds' three lie within 0.04"


def test_the_chapter_says_what_was_measured_of_the_shipped_model() -> None:
    folder = Path(stored_runs.__file__).parents[1] / "pretrained" / "shakespeare"
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    settings = read_settings(folder / "settings.toml")
    training, context = settings["training"], settings["model"]["context_length"]
    seen = training["steps"] * training["batch_size"] * context
    minutes = round(measured["training_seconds"] / 60, 1)
    cells = nbformat.read(chapter("trainer").notebook, as_version=4).cells
    numbers = f"{measured['parameters']:_}, {seen:_}, {minutes}, shipped_nats"
    assert any(numbers in cell.source for cell in cells)


def test_long_lines_are_different_and_whole() -> None:
    long, other = "a line of thirty-one characters", "another line, which is long too, and more"
    assert len(long) == 31
    cut = "its beginning is cut off, so it does not count"
    text = f"{cut}\n{long}\nshort\n{other}\n{long}\nend {other}"
    assert stored_runs.long_lines(text) == [long, other]
    assert stored_runs.long_lines(text.replace(long, long[1:])) == [other]


# A graphics card


@pytest.fixture
def record() -> dict[str, Any]:
    """What `make gpu` could have written; no card has these numbers."""
    step = {"tokens_per_second": 32768.0, "ms": 1000.0, "teraflops": 350.0, "first_seconds": 9.0}
    writing = {"rows": 16, "tokens_per_second": 8e3, "bytes_a_step": 4 * 10**9}
    return {
        "environment": {
            "card": "Card 1",
            "torch": "2.13.0",
            "cuda": "13",
            "python": "3.11",
            "date": "2027-01-02",
        },
        "parts": {
            "card": [
                {"name": "product", "teraflops": 700.0},
                {"name": "memory", "gigabytes_per_second": 4000.0},
            ],
            "step": [{"name": "mini_gpt, adamw", **step}],
            "writing": [
                {"name": "mini_gpt, recorded", **writing},
                {"name": "peer", "rows": 1, "tokens_per_second": 500.0},
            ],
        },
        "roofline": [
            {"part": "step", "name": "mini_gpt, adamw", "share": 0.5},
            {"part": "writing 16", "name": "mini_gpt, recorded", "share": 0.25},
        ],
        "left_out": [],
    }


def test_without_a_card_there_is_nothing_to_show(tmp_path: Path) -> None:
    assert stored_runs.card_record(tmp_path) is None


def test_a_card_is_read_where_it_was_measured(tmp_path: Path, record: dict[str, Any]) -> None:
    (tmp_path / "gpu.json").write_text(json.dumps(record), encoding="utf-8")
    assert stored_runs.card_record(tmp_path) == record


def test_lines_of_a_card_have_time_speed_and_bound(record: dict[str, Any]) -> None:
    head, step, recorded, peer = stored_runs.card_lines(record, "step", "small", "writing")
    assert head == "Card 1, torch 2.13.0, 2027-01-02"
    assert " ".join(step.split()) == (
        "step mini_gpt, adamw 1000.00 ms 32,768 tokens/s 50% of its bound"
    )
    # 8,000 tokens a second in 16 rows are 500 steps.
    assert " ".join(recorded.split()) == (
        "writing 16 mini_gpt, recorded 2.00 ms 8,000 tokens/s 25% of its bound"
    )
    assert " ".join(peer.split()) == "writing 1 peer 2.00 ms 500 tokens/s"


def test_the_roof_of_a_card_and_what_is_below_it(record: dict[str, Any]) -> None:
    found = stored_runs.card_roofline(record)
    assert found is not None
    products, memory, points = found
    assert (products, memory) == (700e12, 4e12)
    # Weights of 2 bytes: 16 rows make 2 × 16 calculations for 2 bytes. 500 steps a second read
    # 2e12 bytes, half of what memory could; 16 calculations each are 32e12 a second.
    assert points["writing 16, recorded"] == (16.0, 32e12)
    assert points["training, mini_gpt, adamw"] == (32768.0, 350e12)
    assert len(points) == 2, "of the peer's step it is not known how much it reads"
    del record["parts"]["card"]
    assert stored_runs.card_roofline(record) is None


def test_the_roofline_is_drawn(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    from mini_gpt.support import figures

    monkeypatch.setattr(plt, "show", lambda: None)
    found = stored_runs.card_roofline(record)
    assert found is not None
    figures.roofline(*found)
    roof, *points = plt.gca().lines
    heights = np.asarray(roof.get_ydata(), dtype=float)
    np.testing.assert_allclose(heights[1:], 700e3)  # in 10⁹ a second
    assert heights[0] < heights[1]
    assert [line.get_label() for line in points] == list(found[2])
    assert all(np.asarray(line.get_ydata(), dtype=float)[0] <= 700e3 for line in points)
    plt.close("all")


@pytest.mark.parametrize(("stem", "part"), [("trainer", '"step"'), ("generation", '"writing"')])
def test_chapters_show_the_card_that_was_measured_or_none(stem: str, part: str) -> None:
    found = stored_runs.card_record()
    said = shown(chapter(stem), f"card_lines(card, {part}")
    if found is None:
        assert said == "", "there is no bench/results/gpu.json"
    else:
        parts = ("step", "small") if stem == "trainer" else ("writing",)
        assert said.splitlines() == stored_runs.card_lines(found, *parts), "run: make notebooks"
