"""Measured speeds: whose they are, where they come from, and which is nearest."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import flops_per_token
from mini_gpt.support.speed_records import Speed, known_speeds, named_device, nearest_speed
from mini_gpt.support.stored_results import stored_result

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench import harness, speeds  # noqa: E402

ONE = Speed(
    device="Card One",
    card=True,
    torch="2.13",
    date="2027-01-02",
    source="nobody",
    layers=2,
    heads=2,
    width=8,
    vocab_size=17,
    context_length=16,
    batch_size=4,
    optimizer="adamw",
    precision="bfloat16",
    compiled=True,
    tokens_per_second=1000,
)
LARGE = replace(ONE, layers=4, width=64, tokens_per_second=10)
SLOW = replace(ONE, device="A Processor", card=False, precision="float32", tokens_per_second=5)
ALL = [ONE, LARGE, SLOW, replace(SLOW, precision="bfloat16", tokens_per_second=9)]


def shape_of(speed: Speed) -> GPTConfig:
    return GPTConfig(speed.vocab_size, speed.context_length, speed.layers, speed.heads, speed.width)


def test_what_is_stored_is_what_was_measured() -> None:
    """After new results: python -m bench speeds."""
    assert stored_result("speeds") == speeds.collected(harness.RESULTS)
    table = (harness.RESULTS / "speeds.md").read_text(encoding="utf-8")
    assert table == speeds.table(stored_result("speeds"))


def test_the_card_that_make_gpu_measured_goes_before_what_was_written_by_hand(
    tmp_path: Path,
) -> None:
    by_hand = harness.RESULTS / "cards.json"
    (tmp_path / "cards.json").write_bytes(by_hand.read_bytes())
    written = json.loads(by_hand.read_text(encoding="utf-8"))["speeds"]
    found = speeds.collected(tmp_path)["speeds"]
    assert [row["tokens_per_second"] for row in found] == [
        row["tokens_per_second"] for row in written
    ]
    card = written[0]["device"]
    steps = [
        {"name": "mini_gpt, adamw", "tokens_per_second": 600_000.4, "peak_gigabytes": 31.5},
        {"name": "mini_gpt, muon", "tokens_per_second": 500_000.0},
        {"name": "mini_gpt, adamw, recorded", "tokens_per_second": 610_000.0},
        {"name": "transformers, AdamW", "tokens_per_second": 400_000.0},
    ]
    machine = {"card": card, "torch": "2.13.0", "date": "2027-01-02"}
    record = {"environment": machine, "parts": {"step": steps, "writing": []}}
    (tmp_path / "gpu.json").write_text(json.dumps(record), encoding="utf-8")
    rows = [Speed(**row) for row in speeds.collected(tmp_path)["speeds"]]
    assert [row.tokens_per_second for row in rows] == [600_000, 500_000]
    assert {(row.device, row.source, row.context_length) for row in rows} == {
        (card, "make gpu", 1024)
    }
    assert [row.peak_gigabytes for row in rows] == [31.5, None]


def test_the_benchmark_gathers_and_measures_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speeds.main(["--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "speeds.json").read_text()) == stored_result("speeds")
    assert capsys.readouterr().out.startswith("# Speeds that `mini-gpt plan` knows\n")
    stored = harness.json_path("speeds", harness.RESULTS)
    assert stored.parent.name == "stored", "they come with the package"
    processor = tmp_path / "none"
    assert speeds.collected(processor) == {"speeds": []}


def test_what_was_written_by_hand_says_so() -> None:
    for speed in known_speeds():
        if speed.source not in ("make gpu", "python -m bench training_step"):
            assert "by hand, one run" in str(speed)
            assert speed.date in str(speed)
            assert f"torch {speed.torch}" in str(speed)


def test_a_part_of_a_name_is_enough_if_it_is_of_one() -> None:
    assert named_device("card one", ALL) == "Card One"
    assert named_device("proc", ALL) == "A Processor"
    both = [*ALL, replace(ONE, device="Card One Plus")]
    assert named_device("Card One", both) == "Card One", "that is its whole name"
    with pytest.raises(ValueError, match="'card' could be Card One or Card One Plus; say which"):
        named_device("card", both)
    for unknown in ("Card Two", ""):
        with pytest.raises(ValueError, match=r"known are Card One; A Processor\. .*make gpu"):
            named_device(unknown, ALL)


def test_the_nearest_is_the_one_with_the_nearest_cost_for_a_token() -> None:
    assert nearest_speed("Card One", shape_of(ONE), "adamw", ALL) is ONE
    assert nearest_speed("Card One", shape_of(LARGE), "adamw", ALL) is LARGE
    muon = replace(LARGE, optimizer="muon")
    assert nearest_speed("Card One", shape_of(ONE), "muon", [*ALL, muon]) is muon
    assert nearest_speed("Card One", shape_of(ONE), "muon", ALL) is ONE
    assert nearest_speed("A Processor", shape_of(LARGE), "adamw", ALL) is SLOW, "in float32"


def test_another_model_takes_as_many_operations_a_second() -> None:
    assert ONE.tokens_per_second_of(shape_of(ONE)) == pytest.approx(1000)
    twice = 1000 * flops_per_token(shape_of(ONE)) / flops_per_token(shape_of(LARGE))
    assert ONE.tokens_per_second_of(shape_of(LARGE)) == pytest.approx(twice)
    assert twice < 1000
