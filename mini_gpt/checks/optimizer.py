"""Checks for the exercises of the chapter on the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mini_gpt.checks.report import expect, run_check


def warmup_stable_decay(function: Callable[[int, int, float, int, int], float]) -> None:
    """Exercise "Warm up, stay, decay"."""

    def cases() -> None:
        for step, rate, hint in (
            (0, 0.002, "the first of 4 warm-up steps takes a quarter of the highest"),
            (3, 0.008, "the last step of the warm-up reaches the highest rate"),
            (9, 0.008, "between warm-up and decay the rate stays"),
            (15, 0.008, "with 5 steps left, a decay over 5 steps is only beginning"),
            (16, 0.0064, "count the steps that are left, this one included"),
            (19, 0.0016, "the last step has a fifth; only the next would have none"),
        ):
            found = function(step, 20, 0.008, 4, 5)
            expect(f"step {step} of 20, warm-up 4, decay 5", found, rate, hint, 1e-6)

    run_check(cases, "a schedule that can be extended until you decide to stop.")


def orthogonalize(function: Callable[[torch.Tensor], Any]) -> None:
    """Exercise "Muon's core"."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        for rows, columns, hint in (
            (3, 3, "divide by the Frobenius norm, then repeat X <- 1.5 X - 0.5 X X' X"),
            (2, 5, "the same rounds serve wide matrices"),
            (5, 2, "and tall ones; keep the shape"),
        ):
            matrix = torch.randn(rows, columns, generator=generator)
            left, _, right = torch.linalg.svd(matrix, full_matrices=False)
            found = function(matrix.clone())
            expect(f"a matrix of {rows} by {columns}", found, left @ right, hint, 1e-3)

    run_check(cases, "all directions are stretched alike, by products alone.")
