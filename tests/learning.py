"""What the tests of training share: a small text, its tokens, quick settings, small models."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mini_gpt.characters import CharTokenizer
from mini_gpt.model import GPT
from mini_gpt.run import train
from mini_gpt.support import checkpoint, state_file
from mini_gpt.trainer import Stepper, TrainConfig
from tiny import tiny_gpt

TEXT = "the quick brown fox jumps over the lazy dog; é is two bytes.\n" * 12
TOKENIZER = CharTokenizer.train(TEXT)
TOKENS = np.array(TOKENIZER.encode(TEXT), dtype=np.uint8)
TRAINING, VALIDATION = TOKENS[:-150], TOKENS[-150:]
QUICK = TrainConfig(
    steps=7, batch_size=6, warmup_steps=2, eval_every=3, learning_rate=0.01, device="cpu"
)
# 582 tokens are 96 windows of 6: with batches of 10 an epoch ends within the tenth batch.
RUN = replace(QUICK, steps=14, batch_size=10, warmup_steps=3, eval_every=4)


def small(seed: int = 0, **changes: Any) -> GPT:
    """A model for the tokens of the text; its context is 6."""
    sizes = {"vocab_size": TOKENIZER.vocab_size, "context_length": 6, "heads": 2, "width": 8}
    return tiny_gpt(seed, **{**sizes, **changes})


def recheck(settings: Any, **changes: Any) -> None:
    """Check settings with these changes, past the type checks of the tests' import hook."""
    config = copy.copy(settings)
    for name, value in changes.items():
        object.__setattr__(config, name, value)
    config.__post_init__()


def stepper(model: GPT | None = None, **changes: Any) -> Stepper:
    """A stepper with the quick settings and these changes."""
    return Stepper(small() if model is None else model, TRAINING, replace(QUICK, **changes))


def weights(model: nn.Module) -> Tensor:
    """All of a model's weights, copied, as one vector."""
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def fresh(seed: int = 0) -> GPT:
    """A model with dropout, and every random generator as if nothing had been drawn."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    return small(seed, dropout=0.3)


def run(config: TrainConfig, out: Path, **options: Any) -> dict[str, Any]:
    """Train in a folder, and return the newest state in it."""
    train(fresh(), TRAINING, VALIDATION, TOKENIZER, config, out=out, **options)
    state = checkpoint.newest_state(out)
    assert state is not None
    return state


def tensors(value: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a nested state, with its place."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for key, item in enumerate(value):
            yield from tensors(item, f"{place}/{key}")


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Two states are equal by torch.equal on every tensor, and in all else but the clock's."""
    one, other = dict(tensors(first)), dict(tensors(second))
    assert one.keys() == other.keys()
    assert len(one) > 50
    for place, tensor in one.items():
        same = other[place]
        apart = (tensor.double() - same.double()).abs().max() if tensor.numel() else 0
        assert torch.equal(tensor, same), f"{place} differs by {apart}"

    def timeless(state: dict[str, Any]) -> Any:
        state = {name: value for name, value in state.items() if name not in ("seconds", "model")}
        state["meter"] = state["meter"]["steps"]
        state["history"] = [{**found, "tokens_per_second": 0} for found in state["history"]]
        # beartype, which checks types in these tests, draws from Python's generator itself.
        state["random"] = [{**states, "python": None} for states in state["random"]]
        return state_file.flatten_state(state, {})

    one, other = timeless(first), timeless(second)
    for (name, value), (same, expected) in zip(one["pairs"], other["pairs"], strict=True):
        assert (name, value) == (same, expected)
