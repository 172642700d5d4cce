"""Checks for the exercises of the chapter on the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mini_gpt.checks.report import NotYet, expect, in_full, run_check


def clip(function: Callable[[list[torch.Tensor], float], Any]) -> None:
    """Exercise "One length for all"."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        large = [torch.randn(shape, generator=generator) for shape in ((3, 5), (7,))]
        length = torch.cat([some.flatten() for some in large]).norm()
        for case, gradients, limit, expected, hint in (
            (
                "the gradients 3 and 4 and a limit of 1",
                [torch.tensor([3.0]), torch.tensor([4.0])],
                1.0,
                [torch.tensor([0.6]), torch.tensor([0.8])],
                "the two together have a length of 5; both get the same factor",
            ),
            (
                "the gradients 3 and 4 and a limit of 10",
                [torch.tensor([3.0]), torch.tensor([4.0])],
                10.0,
                [torch.tensor([3.0]), torch.tensor([4.0])],
                "what is within the limit stays as it is",
            ),
            (
                "a matrix, a vector and a limit of 2",
                large,
                2.0,
                [2 * some / length for some in large],
                "the length is the root of the sum of all squares, over all tensors",
            ),
            (
                "gradients that are all zero",
                [torch.zeros(3), torch.zeros(2, 4)],
                1.0,
                [torch.zeros(3), torch.zeros(2, 4)],
                "a length of 0 cannot be divided by",
            ),
        ):
            found = function([some.clone() for some in gradients], limit)
            expect(case, found, expected, hint)

    run_check(cases, "one factor for all: shorter, in the same direction.")


def adamw(kind: Callable[..., Any]) -> None:
    """Exercise "AdamW, all of it"."""

    def trained(
        make: Callable[..., Any], steps: int, rests: bool
    ) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        shapes = ((3, 5), (4,), (2, 7))
        weights = [
            torch.nn.Parameter(torch.randn(shape, generator=generator))
            for shape in shapes
        ]
        groups = [
            {"params": weights[::2], "weight_decay": 0.5},
            {"params": weights[1:2], "weight_decay": 0.0},
        ]
        optimizer = make(groups, lr=0.05, betas=(0.8, 0.97), eps=1e-8)
        for step in range(steps):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=generator)
            if rests and step == 1:
                weights[2].grad = None
            optimizer.step()
        return [weight.detach() for weight in weights]

    def cases() -> None:
        for case, steps, rests, hint in (
            (
                "one step",
                1,
                False,
                "after the correction, the first step is the rate times the sign of "
                "the gradient, and the decay comes beside it",
            ),
            ("two steps", 2, False, "the correction's power is the number of steps"),
            ("nine steps", 9, False, "both means must be kept from step to step"),
            (
                "five steps, in the second of which a parameter had no gradient",
                5,
                True,
                "leave it alone in that step: no decay, and its own count of steps",
            ),
        ):
            found = trained(kind, steps, rests)
            expected = trained(torch.optim.AdamW, steps, rests)
            untouched = trained(torch.optim.AdamW, 0, rests)
            for number, (mine, right) in enumerate(zip(found, expected, strict=True)):
                if torch.equal(mine, untouched[number]):
                    told = f"after {case} parameter {number} is as it was"
                    raise NotYet(told, hint, in_full(right))
                expect(f"{case}, parameter {number}", mine, right, hint, 1e-5)

    run_check(cases, "your AdamW could take the place of PyTorch's.")


def even_out(function: Callable[[torch.Tensor], Any]) -> None:
    """Exercise "Another way to the circle"."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        turn = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
        strong = torch.diag(torch.tensor([3.0, 2.0, 0.5]))
        weak = torch.diag(torch.tensor([500.0, 1.0, 0.002, 3.0])) @ turn
        for case, matrix, hint in (
            (
                "a diagonal matrix",
                strong,
                "work one round out for each entry of the diagonal",
            ),
            ("a matrix that only turns", turn, "there 1 stays 1"),
            (
                "a matrix of 5 by 5",
                torch.randn(5, 5, generator=generator),
                "transpose the inverse",
            ),
            (
                "one that stretches by 500 and by 0.002",
                weak,
                "a large value is only halved at each round; take more rounds",
            ),
        ):
            left, _, right = torch.linalg.svd(matrix, full_matrices=False)
            expect(case, function(matrix.clone()), left @ right, hint, 1e-3)

    run_check(cases, "all directions are stretched alike, without a decomposition.")
