"""Checks for the exercises of the chapter on the loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from mini_gpt.checks.report import call, expect, run_check


def compressed_bytes(function: Callable[[float, int], int]) -> None:
    """Check `compressed_bytes(nats_per_token, tokens)`: the size of a file."""

    def cases() -> None:
        for bits, tokens, size, hint in (
            (2.0, 1000, 251, "nats times tokens is the whole; bits are nats / log 2"),
            (8.0, 1, 2, "one byte for a single token, two bits on top, rounded up"),
            (1.5, 100_000, 18_751, "eight bits are a byte"),
        ):
            # A hair below, so that rounding in the last digit cannot tip the answer.
            nats = (bits - 1e-9) * math.log(2)
            case = f"{nats:.4f} nats per token and {tokens:,} tokens"
            expect(case, call(function, nats, tokens), size, hint)

    run_check(cases, "the loss is the size of a file.")


def cross_entropy(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check `cross_entropy(logits, targets)`: of rows, without PyTorch's function."""

    def cases() -> None:
        logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]])
        large = 1000 * logits
        for case, scores, targets, hint in (
            ("one row", logits[:1], [1], "minus log of the true token's softmax"),
            ("two rows", logits, [0, 2], "the mean over the rows"),
            (
                "logits of 2,000",
                large,
                [1, 2],
                "exp overflows; softmax stays the same if every logit of a row is "
                "lowered by as much, for instance by the largest",
            ),
            (
                "logits of 2,000 and an unlikely token",
                large,
                [0, 1],
                "its softmax is 0 in float32, and log of 0 is no number: log p is the "
                "logit minus the log of the sum of exponentials",
            ),
            (
                "a target of -100",
                logits,
                [-100, 2],
                "rows that do not count are in neither the sum nor the number",
            ),
        ):
            right = torch.tensor(targets)
            expected = F.cross_entropy(scores, right).item()
            expect(case, call(function, scores, right), expected, hint)

    run_check(cases, "that is the loss of every model in this book.")
