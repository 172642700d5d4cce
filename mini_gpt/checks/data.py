"""Checks for the exercises of the chapter on data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from mini_gpt.checks.report import NotYet, call, expect, run_check


def inputs_and_targets(function: Callable[[Sequence[int], int, int], object]) -> None:
    """Check `inputs_and_targets(tokens, start, context_length)`: one window."""

    def cases() -> None:
        tokens = [10, 11, 12, 13, 14, 15, 16]
        first, last = ([10, 11, 12], [11, 12, 13]), ([13, 14, 15], [14, 15, 16])
        for start, context_length, expected, hint in (
            (0, 3, first, "the targets are one place further on."),
            (2, 1, ([12], [13]), "a context of one token has one target."),
            (3, 3, last, "the last window ends with the last token."),
            (4, 3, None, "the last target would lie behind the end of the text."),
            (0, 7, None, "seven tokens hold no context of seven and its targets."),
            (0, 6, (tokens[:-1], tokens[1:]), "seven tokens hold a context of six."),
        ):
            found = call(function, list(tokens), start, context_length)
            if isinstance(found, (tuple, list)):
                found = tuple(list(part) for part in found)
            case = f"seven tokens, 10 to 16, start {start} and context {context_length}"
            expect(case, found, expected, hint)

    run_check(
        cases, "the targets are the inputs' right neighbors, and the last window fits."
    )


def share_seen(function: Callable[[int, int, int, int], object]) -> None:
    """Check `share_seen(batches, batch_size, context_length, length)`."""

    def cases() -> None:
        for case, arguments, expected, hint in (
            ("no batch at all", (0, 3, 5, 100), 0.0, "nothing drawn, nothing seen."),
            ("one window of 5 in 100 tokens", (1, 1, 5, 100), 0.05, "what is T/N?"),
            (
                "two batches of one window",
                (2, 1, 5, 100),
                1 - 0.95**2,
                "windows may overlap, so the shares do not add up: first ask what is "
                "missed.",
            ),
            (
                "one batch of two windows",
                (1, 2, 5, 100),
                1 - 0.95**2,
                "the windows of one batch are drawn independently too.",
            ),
            (
                "one epoch's worth of a long text",
                (1000, 10, 50, 500_000),
                1 - (1 - 50 / 500_000) ** 10_000,
                "the probability of being missed is a power.",
            ),
        ):
            expect(case, call(function, *arguments), expected, hint, tolerance=1e-6)

    run_check(
        cases, "random windows leave e^-1 of the text unseen after one epoch's worth."
    )


def leaked(function: Callable[[Sequence[int], Sequence[int], int], object]) -> None:
    """Check `leaked(training_starts, validation_starts, context_length)`."""

    def cases() -> None:
        for case, arguments, expected, hint in (
            (
                "training at 0, validation at 10, context 4",
                ([0], [10], 4),
                0.0,
                "these windows have no position in common.",
            ),
            (
                "training at 0, validation at 4, context 4",
                ([0], [4], 4),
                0.2,
                "a window has one token more than the context.",
            ),
            (
                "training at 0 and 2, validation at 1, context 4",
                ([0, 2], [1], 4),
                1.0,
                "several training windows together can cover a validation window.",
            ),
            (
                "training at 0, validation at 3 and 4, context 4",
                ([0], [3, 4], 4),
                2 / 6,
                "positions that are in two validation windows count once.",
            ),
        ):
            expect(case, call(function, *arguments), expected, hint)

    run_check(cases, "you can measure whether a split leaks.")


def my_batch(function: Callable[..., Any]) -> None:
    """Check `my_batch`, a loader by epochs as a function of a batch's number."""
    tokens = np.arange(100, 100 + 6 * 4 * 5 + 3)  # 24 windows of 5; its own positions

    def batch(number: int, seed: int = 0, rank: int = 0, world_size: int = 1) -> Any:
        """Inputs and targets as lists of rows, or `NotYet`."""
        found = call(function, tokens.copy(), number, 6, 5, seed, rank, world_size)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise NotYet(
                f"expected inputs and targets, got {type(found).__name__}. Hint: "
                "return two arrays of shape (rows, time)."
            )
        return tuple(np.asarray(part).tolist() for part in found)

    def starts(rows: list[list[int]]) -> list[int]:
        return sorted(row[0] - 100 for row in rows)

    def cases() -> None:
        inputs, targets = batch(0)
        shape = (len(inputs), len(inputs[0]))
        expect("6 rows, context 5", shape, (6, 5), "a rank alone has all rows.")
        shifted = [[token + 1 for token in row] for row in inputs]
        expect("batch 0, its targets", targets, shifted, "shift by one place.")
        expect(
            "batch 0, asked for a second time",
            batch(0)[0],
            inputs,
            "a batch must depend on the seed and its number, and on nothing else.",
        )
        for epoch in (0, 1):
            used = [starts(batch(4 * epoch + place)[0]) for place in range(4)]
            expect(
                f"epoch {epoch}, its four batches, all starts in order",
                sorted(chain(*used)),
                list(range(0, 120, 5)),
                "each window side by side is used once in an epoch.",
            )
        orders = [
            [batch(4 * epoch + n, seed)[0] for n in range(4)]
            for epoch, seed in ((0, 0), (1, 0), (0, 1))
        ]
        for one, other, what in ((0, 1, "two epochs"), (0, 2, "two seeds")):
            if orders[one] == orders[other]:
                raise NotYet(
                    f"{what} have the same order. Hint: both the seed and the epoch "
                    "belong to what the order depends on."
                )
        for number in (0, 5):
            shares = [batch(number, 0, rank, 3)[0] for rank in range(3)]
            expect(
                f"batch {number}, the rows of three ranks together",
                list(chain(*shares)),
                batch(number)[0],
                "all ranks draw the same order, and each takes its own rows of it.",
            )

    run_check(cases, "your loader repeats itself, skips nothing, and shares its work.")
