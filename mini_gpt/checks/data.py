"""Checks for the exercises of the chapter on data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mini_gpt.checks.report import call, expect, run_check


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
