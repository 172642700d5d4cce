"""Training runs with a fault planted on purpose, and checks that find the fault."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mini_gpt.config import GPTConfig
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT
from mini_gpt.optimizer import learning_rate_at
from mini_gpt.trainer import Stepper, TrainConfig

STEPS = 120
FAULTS = (
    "no mask",
    "targets not shifted",
    "wrong softmax axis",
    "untied copy",
    "learning rate × 30",
    "no warm-up",
    "dropout in evaluation",
    "trained on validation",
)


def _no_mask(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """Attention in which every position sees all, the future included."""
    return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value


def _wrong_axis(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """Attention whose weights sum to 1 over the queries instead of the keys."""
    time = query.shape[-2]
    scores = query @ key.mT / query.shape[-1] ** 0.5
    future = torch.ones(time, time, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -math.inf).softmax(-2) @ value


def _untie(model: GPT) -> None:
    """Give the output head a copy of the embedding, which nobody trains."""
    frozen = model.token_embedding.weight.detach().clone()
    head: Any = model.token_embedding
    head.logits = lambda stream: stream @ frozen.T
    # The fast loss reads the table itself: let it see the copy as well.
    whole = model.forward

    def forward(
        ids: Tensor, *, targets: Tensor | None = None, **options: Any
    ) -> Tensor:
        logits: Tensor = whole(ids, **options)
        return logits if targets is None else next_token_loss(logits, targets, "sum")

    model.forward = forward  # type: ignore[method-assign,assignment]


@dataclass
class Patient:
    """A run, its fault hidden in it; what it leaves is all that checks may look at."""

    fault: str
    stepper: Stepper
    trained_on: np.ndarray
    validation: np.ndarray
    losses: list[float] = field(default_factory=list)

    @property
    def model(self) -> GPT:
        """The model that was trained."""
        return self.stepper.model

    @contextmanager
    def attention(self) -> Iterator[None]:
        """Inside, attention is computed as this patient computes it."""
        faulty = {"no mask": _no_mask, "wrong softmax axis": _wrong_axis}
        real = F.scaled_dot_product_attention
        F.scaled_dot_product_attention = faulty.get(self.fault, real)  # type: ignore[assignment]
        try:
            yield
        finally:
            F.scaled_dot_product_attention = real

    def measure(self) -> float:
        """The validation loss as this run measures it."""
        time = self.model.config.context_length
        ids = torch.from_numpy(self.validation.astype(np.int64))
        rows = ids.unfold(0, time + 1, time)
        self.model.train(self.fault == "dropout in evaluation")
        with torch.no_grad(), self.attention():
            return next_token_loss(self.model(rows[:, :-1]), rows[:, 1:]).item()


def patient(
    fault: str, shape: GPTConfig, training: np.ndarray, validation: np.ndarray
) -> Patient:
    """Train a small model for 120 steps, with one of `FAULTS` or "healthy"."""
    torch.manual_seed(6)
    settings: dict[str, Any] = {"learning_rate": 5e-3, "warmup_steps": 20}
    if fault == "learning rate × 30":
        settings["learning_rate"] = 0.15
    if fault == "no warm-up":
        settings["warmup_steps"] = 0
    if fault == "dropout in evaluation":
        shape = replace(shape, dropout=0.1)
    text = validation if fault == "trained on validation" else training
    config = TrainConfig(steps=STEPS, batch_size=16, device="cpu", **settings)
    one = Patient(fault, Stepper(GPT(shape), text, config), text, validation)
    if fault == "targets not shifted":
        batches: Any = ((inputs, inputs) for inputs, _ in one.stepper.batches)
        one.stepper.batches = batches
    if fault == "untied copy":
        _untie(one.model)
    with one.attention():
        one.losses = [one.stepper.step().item() for _ in range(STEPS)]
    return one


def _early_outputs_move(one: Patient) -> bool:
    ids = torch.from_numpy(one.validation[None, :12].astype(np.int64))
    other = ids.clone()
    other[0, -1] = (other[0, -1] + 1) % one.model.config.vocab_size
    with one.attention():
        before, after = (one.model(some)[0, :-1] for some in (ids, other))
    return not torch.allclose(before, after, atol=1e-5)


def _targets_are_no_neighbors(one: Patient) -> bool:
    inputs, targets = next(one.stepper.batches)
    return not torch.equal(inputs[:, 1:], targets[:, :-1])


def _head_ignores_embedding(one: Patient) -> bool:
    embedding, stream = one.model.token_embedding, torch.ones(1, 1, 64)
    before = embedding.logits(stream)
    embedding.weight.mul_(2)
    after = embedding.logits(stream)
    embedding.weight.div_(2)
    return not torch.allclose(2 * before, after, atol=1e-5)


def _texts_overlap(one: Patient) -> bool:
    training, passages = bytes(one.trained_on), bytes(one.validation)
    return any(
        passages[at : at + 60] in training
        for at in range(0, len(one.validation) - 60, 500)
    )


def signs(unigram: float) -> dict[str, Callable[[Patient], bool]]:
    """Checks by what they find.

    Args:
        unigram: Loss of a model that knows how frequent each token is, in nats.
    """
    return {
        "early outputs depend on later tokens": _early_outputs_move,
        "targets are not the right-hand neighbors": _targets_are_no_neighbors,
        "logits do not follow the embedding": _head_ignores_embedding,
        "hardly better than the unigram model": lambda one: (
            one.losses[-1] > unigram - 0.5
        ),
        "the first step is as long as the longest": lambda one: (
            learning_rate_at(0, one.stepper.config)
            > 0.5 * one.stepper.config.learning_rate
        ),
        "two evaluations differ": lambda one: one.measure() != one.measure(),
        "validation passages are in the training text": _texts_overlap,
    }


@torch.no_grad()
def examine(one: Patient, unigram: float) -> list[str]:
    """The signs that a run shows."""
    one.model.eval()
    found = []
    for sign, shows in signs(unigram).items():
        if shows(one):
            found.append(sign)
        one.model.eval()
    return found
