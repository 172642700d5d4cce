"""Checks for the exercises of the chapter on searching and guessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check


def best_ahead(answer: Callable[[float, float, float], int]) -> None:
    """Check how many guesses are best, or that none are.

    Args:
        answer: Takes the share of guesses that are kept, the cost of a pass of the
            draft, and what each guess adds to a pass of the target.
    """

    def cases() -> Iterator[None]:
        tokens = "a round brings 1 + a + a² + ... + a^k tokens"
        price = "a round costs 1 + k × (draft + judging), and no guesses cost 1"
        for acceptance, draft, judging, best, hint in (
            (0.0, 0.1, 0.0, 0, "0 guesses are allowed, and bring 1 token for 1"),
            (1.0, 0.1, 0.0, 16, "all guesses are kept: the most that may be tried"),
            (0.5, 0.1, 0.0, 2, tokens),
            (0.5, 0.1, 0.15, 1, price),
            (0.43, 0.1, 0.12, 1, price),
            (0.8, 0.05, 0.0, 8, tokens),
            (0.3, 0.3, 0.1, 0, "where no number of guesses pays, the answer is 0"),
        ):
            case = f"acceptance {acceptance}, draft {draft}, judging {judging}"
            expect(case, call(answer, acceptance, draft, judging), best, hint)
            yield

    run_check(cases, "the better the draft, the further it may guess")


Judge = Callable[[Sequence[int], Tensor, Tensor, Sequence[float]], list[int]]


def judge(answer: Judge) -> None:
    """Check that guesses of the draft become draws from the target.

    Args:
        answer: Takes the guesses, the target's probabilities (one row more than there
            are guesses), the draft's, and the darts (one more than guesses).
    """
    p = torch.tensor([0.1, 0.6, 0.0, 0.3], dtype=torch.float64)
    q = torch.tensor([0.4, 0.2, 0.3, 0.1], dtype=torch.float64)
    even = torch.full((4,), 0.25, dtype=torch.float64)

    def cases() -> Iterator[None]:
        keep = "a guess is kept if its dart is below target / draft"
        redraw = "throw the last dart at what the target has more: max(0, p - q)"
        extra = "all are kept: throw the last dart at the target's last row"
        first = "only the first guess that is not kept counts"
        never = "a guess that the target never makes is not kept, whatever the dart"
        named: list[tuple[str, list[int], list[float], list[int], str]] = [
            ("no guesses, a last dart of 0.9", [], [0.9], [3], extra),
            ("b with p / q = 3", [1], [0.99, 0.1], [1, 0], keep),
            ("a with p / q = 0.25 and a dart of 0.2", [0], [0.2, 0.6], [0, 2], keep),
            ("a with p / q = 0.25 and a dart of 0.3", [0], [0.3, 0.5], [1], redraw),
            ("the same, and a last dart of 0.9", [0], [0.3, 0.9], [3], redraw),
            ("c with p = 0 and a dart of 0", [2], [0.0, 0.1], [1], never),
            (
                "b, a, b of which a fails",
                [1, 0, 1],
                [0.5, 0.3, 0.1, 0.9],
                [1, 3],
                first,
            ),
            ("b, a, a: both a fail", [1, 0, 0], [0.5, 0.5, 0.5, 0.1], [1, 1], first),
            ("b, d, b: all kept", [1, 3, 1], [0.9, 0.9, 0.9, 0.6], [1, 3, 1, 2], extra),
        ]
        for case, guesses, darts, expected, hint in named:
            rows = torch.stack([*[p] * len(guesses), even if guesses else p])
            draft = q.repeat(len(guesses), 1)
            expect(case, call(answer, guesses, rows, draft, darts), expected, hint)
            yield
        share = _first_shares(answer, p, q, even)
        hint = "kept and redrawn tokens together must have the target's shares"
        expect("2000 rounds, shares of the first token", share, p, hint, tolerance=0.04)
        yield

    run_check(cases, "the guesses, kept or redrawn, are draws from the target")


def _first_shares(
    answer: Judge,
    p: Float[Tensor, " vocab_size"],
    q: Float[Tensor, " vocab_size"],
    then: Float[Tensor, " vocab_size"],
) -> Float[Tensor, " vocab_size"]:
    """How often each token comes first, over many rounds of two guesses."""
    source = torch.Generator().manual_seed(0)
    guesses = torch.multinomial(q, 4000, replacement=True, generator=source)
    darts = torch.rand(2000, 3, dtype=torch.float64, generator=source)
    rows, draft = torch.stack([p, p, then]), torch.stack([q, q])
    pairs = zip(guesses.view(2000, 2).tolist(), darts.tolist(), strict=True)
    firsts = [int(answer(two, rows, draft, three)[0]) for two, three in pairs]
    return torch.bincount(torch.tensor(firsts), minlength=4).double() / 2000


def lookup(answer: Callable[[list[int], int, int], list[int]]) -> None:
    """Check guesses that are copied from the text so far.

    Args:
        answer: Takes the ids so far, how many of the last to compare, and how many to
            guess.
    """

    def cases() -> Iterator[None]:
        follow = "copy what followed the earlier place, not the place itself"
        latest = "of several earlier places take the latest"
        own = "the end of the text itself is no earlier place"
        short = "near the end fewer tokens follow: return those"
        for ids, size, ahead, expected, hint in (
            ([5, 6, 7, 8, 5, 6], 2, 2, [7, 8], follow),
            ([5, 6, 7, 5, 6, 9, 5, 6], 2, 1, [9], latest),
            ([1, 2, 3, 4], 2, 3, [], own),
            ([5, 6, 7, 5, 6], 2, 4, [7, 5, 6], short),
            ([3, 3, 3], 1, 2, [3], latest),
            ([4], 2, 2, [], "a text shorter than what is compared has no guess"),
            ([5, 1, 6, 7, 1], 1, 1, [6], "compare as many tokens as are asked for"),
        ):
            case = f"ids {ids}, the last {size}, {ahead} guesses"
            expect(case, call(answer, ids, size, ahead), expected, hint)
            yield

    run_check(cases, "the text itself is the draft, and it costs no pass")
