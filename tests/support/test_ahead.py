"""Batches one ahead: the same ones, and a count that a checkpoint can trust."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mini_gpt.data import BatchLoader
from mini_gpt.support.ahead import Ahead

TOKENS = np.arange(60)


def loader(seed: int = 1) -> BatchLoader:
    return BatchLoader(TOKENS, batch_size=3, context_length=4, seed=seed)


def sending() -> Ahead:
    """One that sends ahead, as it does to a card, though to nowhere."""
    ahead = Ahead(torch.device("cpu"))
    ahead.cuda, ahead._send = True, lambda pair: pair  # type: ignore[method-assign, assignment]
    return ahead


def test_on_a_cpu_nothing_is_drawn_ahead() -> None:
    ahead, batches, plain = Ahead(torch.device("cpu")), loader(), loader()
    for drawn in range(1, 4):
        inputs, targets = ahead.take(batches)
        expected = next(plain)
        assert torch.equal(inputs, expected[0])
        assert torch.equal(targets, expected[1])
        ahead.prepare(batches)
        assert batches.drawn == drawn
        assert ahead._waiting is None


def test_batches_sent_ahead_are_the_same_and_counted_when_taken() -> None:
    ahead, batches, plain = sending(), loader(), loader()
    for drawn in range(1, 5):
        inputs, targets = ahead.take(batches)
        expected = next(plain)
        assert torch.equal(inputs, expected[0])
        assert torch.equal(targets, expected[1])
        ahead.prepare(batches)
        assert batches.drawn == drawn
        assert batches.state_dict() == plain.state_dict()
        assert ahead._waiting is not None


def test_what_waits_is_dropped_where_the_loader_has_been_moved() -> None:
    ahead, batches = sending(), loader()
    ahead.take(batches)
    ahead.prepare(batches)
    batches.load_state_dict({**batches.state_dict(), "drawn": 7, "seed": 5})
    plain = loader(seed=5)
    plain.drawn = 7
    assert torch.equal(ahead.take(batches)[0], next(plain)[0])
    ahead.prepare(batches)
    other = loader(seed=9)
    other.drawn = batches.drawn
    plain = loader(seed=9)
    plain.drawn = 8
    assert torch.equal(ahead.take(other)[0], next(plain)[0])


def test_a_count_is_right_although_a_batch_could_not_be_sent() -> None:
    ahead, batches = sending(), loader()
    ahead.take(batches)

    def fail(pair: object) -> None:
        raise RuntimeError("no memory")

    ahead._send = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError, match="no memory"):
        ahead.prepare(batches)
    assert batches.drawn == 1
