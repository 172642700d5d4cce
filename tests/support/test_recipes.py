"""Published ways to train: their numbers, and the parts that a card takes at once."""

from __future__ import annotations

import pytest

from mini_gpt.commands.train_options import RECIPES
from mini_gpt.config import PRESETS
from mini_gpt.optimizer import learning_rate_at
from mini_gpt.support.recipes import GPT2_TRAINING, MICRO_BATCH, accumulation_for


def test_gpt2_is_trained_as_published() -> None:
    shape, training = RECIPES["gpt2"]
    config = shape.closed(50_257)
    assert (config.layers, config.heads, config.width) == (12, 12, 768)
    assert (config.context_length, config.bias, config.dropout) == (1024, True, 0.0)
    assert config.padded_vocab_size == 50_304
    assert training.batch_size * config.context_length == 524_288 == 2**19
    assert 9.99e9 < training.steps * 524_288 < 1e10, "one epoch of ten billion tokens"
    assert training.batch_size // training.accumulation_steps == MICRO_BATCH["gpt2"]


def test_the_schedule_is_the_published_one() -> None:
    rates = {step: learning_rate_at(step, GPT2_TRAINING) for step in (0, 714, 715, 19_072)}
    assert rates[0] == pytest.approx(6e-4 / 715)
    assert rates[714] == rates[715] == pytest.approx(6e-4)
    assert rates[19_072] == pytest.approx(6e-5)
    middle = learning_rate_at(715 + (19_072 - 715) // 2, GPT2_TRAINING)
    assert middle == pytest.approx((6e-4 + 6e-5) / 2, rel=1e-3)


@pytest.mark.parametrize(("processes", "parts"), [(1, 32), (8, 4), (5, 6), (64, 1)])
def test_a_part_stays_as_large_with_several_processes(processes: int, parts: int) -> None:
    assert accumulation_for(GPT2_TRAINING, processes) == parts


@pytest.mark.parametrize(("said", "parts"), [("2", 16), ("", 32), ("many", 32), ("0", 32)])
def test_processes_are_counted_as_torchrun_says(
    said: str, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", said)
    assert accumulation_for(GPT2_TRAINING) == parts


def test_every_preset_has_a_part_that_a_card_takes() -> None:
    assert set(MICRO_BATCH) == set(PRESETS)
    for name, (_, training) in RECIPES.items():
        assert training.batch_size % MICRO_BATCH[name] == 0
