"""Checks for the exercises of the chapter on sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mini_gpt.checks.report import NotYet, call, expect, run_check
from mini_gpt.model import GPTConfig


def texts_that_fit(answer: Callable[[GPTConfig, int, int], int]) -> None:
    """Check how many full key/value caches fit into some memory.

    Args:
        answer: Takes a configuration, the memory in bytes and the bytes of each number.
    """

    def cases() -> Iterator[None]:
        hint = "how many numbers does one layer keep for one position, keys and values together?"
        one = GPTConfig(vocab_size=7, context_length=5, layers=3, heads=2, width=8)
        for case, config, memory, size, fit in (
            ("240 numbers a text, 4 bytes each, and room for 9600 bytes", one, 9600, 4, 10),
            ("the same with one byte less", one, 9599, 4, 9),
            ("the same with 2 bytes a number", one, 9599, 2, 19),
            ("GPT-2 small in 16 GiB of float32", GPTConfig.preset("gpt2"), 16 * 2**30, 4, 227),
        ):
            expect(case, call(answer, config, memory, size), fit, hint)
            yield

    run_check(cases, "two vectors of the width for each layer and position, whatever the heads")


def penalise(answer: Callable[[Tensor, Sequence[int], float], Tensor]) -> None:
    """Check a penalty on tokens that were seen.

    Args:
        answer: Takes the logits of one row, the ids that were seen and the penalty.
    """

    def cases() -> Iterator[None]:
        logits = torch.tensor([2.0, -1.0, 0.0, -3.0])
        weights = logits.exp()
        for case, seen, factors in (
            ("nothing seen", [], [1, 1, 1, 1]),
            ("a token with a positive logit seen", [0], [0.5, 1, 1, 1]),
            ("a token with a negative logit seen", [1], [1, 0.5, 1, 1]),
            ("two tokens seen, one of them three times", [3, 2, 3, 3], [1, 1, 0.5, 0.5]),
        ):
            expected = weights * torch.tensor(factors)
            before = logits.clone()
            found = answer(before, seen, 2.0)
            if not torch.equal(before, logits):
                raise NotYet(
                    f"for {case} your function changed the logits that it was given. "
                    "Hint: work on a copy"
                )
            probabilities = found.softmax(-1) if isinstance(found, Tensor) else found
            expect(
                f"penalty 2 and {case}, probabilities",
                probabilities,
                expected / expected.sum(),
                "what must be added to a logit so that its exponential is halved?",
            )
            yield
        shifted = answer(logits + 5, [0, 1], 3.0)
        expect(
            "the same logits, all raised by 5, probabilities",
            shifted.softmax(-1),
            answer(logits.clone(), [0, 1], 3.0).softmax(-1),
            "softmax ignores what is added to all logits; so must the penalty",
        )
        yield

    run_check(cases, "a seen token becomes less likely, whatever the sign of its logit")


def keep_or_redraw(answer: Callable[[Tensor, Tensor, int, float, float], int]) -> None:
    """Check that draws from one distribution become draws from another.

    Args:
        answer: Takes the target's and the draft's probabilities, the drafted token and two darts.
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
            ("a token that the target never says, darts 0 and 0.1", 2, 0.0, 0.1, 1, keep),
        ):
            expect(case, call(answer, target, draft, token, first, second), expected, hint)
            yield
        generator = torch.Generator().manual_seed(0)
        drafted = torch.multinomial(draft, 4000, replacement=True, generator=generator).tolist()
        darts = torch.rand(4000, 2, dtype=torch.float64, generator=generator).tolist()
        drawn = [
            int(answer(target, draft, token, first, second))
            for token, (first, second) in zip(drafted, darts, strict=True)
        ]
        shares = torch.bincount(torch.tensor(drawn), minlength=4) / len(drawn)
        hint = "kept and redrawn tokens together must have the target's probabilities"
        expect("4000 drafted tokens, shares", shares.double(), target, hint, tolerance=0.03)
        yield

    run_check(cases, "the drafted tokens, kept or redrawn, are draws from the target")
