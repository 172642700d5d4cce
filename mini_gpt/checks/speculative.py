"""Checks for the exercises of the chapter on searching and guessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check


def keep_or_redraw(answer: Callable[[Tensor, Tensor, int, float, float], int]) -> None:
    """Check that draws from one distribution become draws from another.

    Args:
        answer: Takes the target's and the draft's probabilities, the drafted token and
            two darts.
    """

    def cases() -> Iterator[None]:
        target = torch.tensor([0.1, 0.6, 0.0, 0.3], dtype=torch.float64)
        draft = torch.tensor([0.4, 0.2, 0.3, 0.1], dtype=torch.float64)
        keep = "is the first dart below target / draft of this token?"
        redraw = "draw from what the target has more: max(0, target - draft)"
        for case, token, first, second, expected, hint in (
            ("a token that the target likes better", 1, 0.99, 0.5, 1, keep),
            ("target / draft = 0.25 and a first dart of 0.2", 0, 0.2, 0.5, 0, keep),
            ("target / draft = 0.25 and darts 0.3 and 0.5", 0, 0.3, 0.5, 1, redraw),
            ("target / draft = 0.25 and darts 0.3 and 0.9", 0, 0.3, 0.9, 3, redraw),
            (
                "a token that the target never says, darts 0 and 0.1",
                2,
                0.0,
                0.1,
                1,
                keep,
            ),
        ):
            expect(
                case, call(answer, target, draft, token, first, second), expected, hint
            )
            yield
        generator = torch.Generator().manual_seed(0)
        drafted = torch.multinomial(
            draft, 4000, replacement=True, generator=generator
        ).tolist()
        darts = torch.rand(4000, 2, dtype=torch.float64, generator=generator).tolist()
        drawn = [
            int(answer(target, draft, token, first, second))
            for token, (first, second) in zip(drafted, darts, strict=True)
        ]
        shares = torch.bincount(torch.tensor(drawn), minlength=4) / len(drawn)
        hint = "kept and redrawn tokens together must have the target's probabilities"
        expect(
            "4000 drafted tokens, shares", shares.double(), target, hint, tolerance=0.03
        )
        yield

    run_check(cases, "the drafted tokens, kept or redrawn, are draws from the target")


def speedup(answer: Callable[[float, int, float], float]) -> None:
    """Check how many times as fast a model writes with a draft's help.

    Args:
        answer: Takes the probability that a guess is kept, the guesses in a round, and
            the cost of a draft's pass as a share of the target's.
    """

    def cases() -> Iterator[None]:
        tokens = "how many tokens does a round bring on average, the target's included?"
        price = "a round costs one pass of the target and some of the draft"
        for acceptance, guesses, cost, gain, hint in (
            (0.0, 4, 0.0, 1.0, "one token comes in any case"),
            (1.0, 4, 0.0, 5.0, tokens),
            (0.5, 1, 0.0, 1.5, tokens),
            (0.5, 3, 0.0, 1.875, "the second guess counts only if the first was kept"),
            (1.0, 3, 0.5, 1.6, price),
            (0.3, 4, 0.25, 0.71255, price),
        ):
            case = f"acceptance {acceptance}, {guesses} guesses, cost {cost}"
            expect(case, call(answer, acceptance, guesses, cost), gain, hint)
            yield

    run_check(cases, "a draft pays if it is right often, and cheap")
