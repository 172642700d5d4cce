"""How fast this machine is: what is timed, and in which unit it is told."""

from __future__ import annotations

import time

import pytest
import torch

from mini_gpt.support import speed
from tiny import tiny_gpt


def test_the_first_run_does_not_count_and_the_best_of_the_others_does() -> None:
    waits = [0.2, 0.03, 0.01, 0.05]
    asked: list[float] = []

    def work() -> None:
        asked.append(waits[len(asked)])
        time.sleep(asked[-1])

    assert speed.seconds_for(work) == pytest.approx(0.01, abs=0.01)
    assert asked == waits


def test_rates_are_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "seconds_for", lambda work: work() or 0.5)
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda one, other: None)
    assert speed.product_rate(size=4) == 2 * 4 * 4 * 4 / 0.5
    monkeypatch.undo()
    monkeypatch.setattr(speed, "seconds_for", lambda work: work() or 0.5)
    model, ids = tiny_gpt(), torch.arange(12).reshape(2, 6)
    before = model.token_embedding.weight.detach().clone()
    assert speed.training_rate(model, ids) == 2 * 5 / 0.5
    assert not torch.equal(model.token_embedding.weight, before), "no step was taken"
