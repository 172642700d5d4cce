"""Checks for the exercises of the chapter on diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check


def rows_meet(answer: Callable[[Callable[[Tensor], Tensor], Tensor], Any]) -> None:
    """Check a function that says whether the rows of a batch influence one another."""
    example = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))

    def past(x: Tensor) -> Tensor:
        """Sums over the past, each row for itself."""
        return x.cumsum(dim=1)

    def whole(x: Tensor) -> Tensor:
        """Centers each row over time: it sees the future, but no other row."""
        return x - x.mean(dim=1, keepdim=True)

    def batch_norm(x: Tensor) -> Tensor:
        """Centers each feature over the batch."""
        return x - x.mean(dim=0, keepdim=True)

    def mixed(x: Tensor) -> Tensor:
        """A reshape that forgets which axis was the batch."""
        return x.reshape(5, 3, 4).cumsum(dim=1).reshape(3, 5, 4)

    def leaks(source: int, target: int, share: float) -> Callable[[Tensor], Tensor]:
        """One row reads from one other, at the last position only."""

        def leak(x: Tensor) -> Tensor:
            after = x.clone()
            after[target, -1] += share * x[source, -1]
            return after

        return leak

    models = {
        "sums over the past": (past, False, "a row may depend on itself."),
        "centers over time": (whole, False, "other positions are no other rows."),
        "centers over the batch": (batch_norm, True, "change a row; do others move?"),
        "cuts batch and time anew": (mixed, True, "change a row; do others move?"),
        "reads the last row": (leaks(2, 0, 1.0), True, "change every row in turn."),
        "reads the first row": (leaks(0, 1, 1.0), True, "change every row in turn."),
        "reads a little": (leaks(1, 2, 1e-3), True, "how close must outputs be?"),
    }

    def cases() -> None:
        for name, (module, meet, hint) in models.items():
            found = call(answer, module, example)
            expect(f"a function that {name}", found, meet, hint)

    run_check(cases, "your test tells rows that meet from rows that do not.")


def most_layers(answer: Callable[[int, int], Any]) -> None:
    """Check a function from memory and width to the layers that can be trained."""
    hints = {
        (16 * 10**9, 768): "training takes 16 bytes a parameter, activations left out.",
        (80 * 10**9, 1600): "the embeddings are there whatever the number of layers.",
        (16 * 10**9, 768 * 2): "heads are 64 wide, so that the width decides them.",
        (10**9, 1024): "where not even one layer fits, the answer is 0.",
    }

    def fits(memory: int, width: int) -> int:
        """By the formula: what a block takes, and what is there without any."""
        block, rest = 12 * width**2 + 13 * width, (50_257 + 1024) * width + 2 * width
        return max(0, (memory // 16 - rest) // block)

    def cases() -> None:
        for (memory, width), hint in hints.items():
            case = f"{memory / 1e9:.0f} GB and width {width}"
            expect(case, call(answer, memory, width), fits(memory, width), hint)

    run_check(cases, "you know what fits before you rent the machine.")
