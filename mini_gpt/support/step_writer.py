"""A step of writing in which nothing has to be asked and nothing told.

All that a step needs stays on the model's device, in tensors of fixed shape that are
changed in place: keys and values, the ids, the random numbers drawn beforehand, even
the position. So a step is the same operations every time; `recording` has a card record
and replay them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mini_gpt.model import GPT
from mini_gpt.sampling import (
    SampleConfig,
    apply_rules,
    repetition_penalty,
    throw_darts,
)


class StaticCache:
    """Keys and values of one layer in memory of fixed size (a `LayerCache`).

    All of it is returned each time: a mask must hide what is not written yet.

    Args:
        kept: Keys or values so far; the memory is a copy with room for `capacity`.
        length: Position of the next, on the device; whoever feeds the model raises it.
    """

    def __init__(
        self,
        keys: Float[Tensor, "batch kv_heads kept head_width"],
        values: Float[Tensor, "batch kv_heads kept head_width"],
        length: Int[Tensor, ""],
        capacity: int,
    ) -> None:
        self.length = length
        # Zeros, since what is hidden is still multiplied, and 0 times nan is nan.
        shape = (*keys.shape[:2], capacity, keys.shape[3])
        self.keys = torch.zeros(shape, dtype=keys.dtype, device=keys.device)
        self.values = torch.zeros_like(self.keys)
        self.keys[:, :, : keys.shape[2]] = keys
        self.values[:, :, : keys.shape[2]] = values

    def append(
        self,
        key: Float[Tensor, "batch kv_heads 1 head_width"],
        value: Float[Tensor, "batch kv_heads 1 head_width"],
    ) -> tuple[
        Float[Tensor, "batch kv_heads keys head_width"],
        Float[Tensor, "batch kv_heads keys head_width"],
    ]:
        """Keep one position, and return the whole memory."""
        self.keys.index_copy_(2, self.length[None], key)
        self.values.index_copy_(2, self.length[None], value)
        return self.keys, self.values


class StepWriter:
    """Rows of text, all that belongs to them in tensors on the model's device.

    Args:
        fed: Keys and values of each layer after the first positions of all rows.
        givens: The ids of each row's prompt; longer ones are given id by id.
        config: How to choose; row i draws from the seed `seeds[i]`.
        vocab_size: Ids from here on are never drawn.
        last: The most positions that will be asked for.

    Attributes:
        ids: What stands at each position, from the first that was not fed.
        highest: The highest score that each of them was chosen by.
    """

    def __init__(
        self,
        model: GPT,
        fed: Sequence[tuple[Tensor, Tensor]],
        givens: Sequence[Sequence[int]],
        config: SampleConfig,
        seeds: Sequence[int],
        vocab_size: int,
        last: int,
    ) -> None:
        self.model, self.config, self.vocab_size = model, config, vocab_size
        device, rows, kept = fed[0][0].device, len(givens), fed[0][0].shape[2]
        self.position = torch.tensor(kept, device=device)
        capacity = min(model.config.context_length, -(-last // 64) * 64)
        self.caches = [StaticCache(*pair, self.position, capacity) for pair in fed]
        self.places = torch.arange(capacity, device=device)
        given = torch.full((rows, last + 1), -1)
        darts = torch.zeros(rows, last + 1, dtype=torch.double)
        seen = torch.zeros(rows, model.config.vocab_size, dtype=torch.bool)
        for row, (ids, seed) in enumerate(zip(givens, seeds, strict=True)):
            given[row, : len(ids)] = torch.tensor(ids)
            drawn = torch.Generator().manual_seed(seed)  # a row's own, on the CPU
            count = last + 1 - len(ids)
            darts[row, len(ids) :] = torch.rand(
                count, dtype=torch.double, generator=drawn
            )
            seen[row, list(ids[:kept])] = True
        self.given, self.darts = given.to(device), darts.to(device)
        self.seen = seen.to(device) if config.repetition_penalty != 1 else None
        self.ids = torch.zeros_like(self.given)
        self.highest = torch.zeros_like(self.darts)

    def choose(self, logits: Float[Tensor, "batch model_vocab"]) -> None:
        """Write the id at the position that these are the scores for."""
        scores = logits[:, : self.vocab_size].double()
        at = self.position[None]
        if self.seen is not None:
            seen = self.seen[:, : self.vocab_size]
            scores = repetition_penalty(scores, seen, self.config.repetition_penalty)
        self.highest.index_copy_(1, at, scores.amax(-1, keepdim=True))
        scores = apply_rules(scores, self.config)
        if self.config.temperature == 0:
            drawn = scores.argmax(-1)
        else:
            drawn = throw_darts(scores, self.darts.index_select(1, at)[:, 0])
        given = self.given.index_select(1, at)[:, 0]
        following = torch.where(given < 0, drawn, given)[:, None]
        self.ids.index_copy_(1, at, following)
        if self.seen is not None:
            self.seen.scatter_(1, following, True)

    def step(self) -> None:
        """Feed what stands at the position, go on to the next one, and write there."""
        ids = self.ids.index_select(1, self.position[None])
        past = (self.places <= self.position).expand(len(ids), 1, -1)
        logits = self.model(ids, self.caches, past, last=1)[:, 0]
        self.position += 1
        self.choose(logits)
