"""Checks for the exercises of the chapter on attention."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check


def scaling_mean(spread_with_mean: Callable[[int], float]) -> None:
    """Check the spread of scores that are divided by the head width.

    Args:
        spread_with_mean: From a head width to the standard deviation of such scores.
    """

    def cases() -> None:
        for width in (64, 16, 256):
            hint = (
                "what is the spread before you divide, "
                "and what does dividing by K leave of it?"
            )
            found = call(spread_with_mean, width)
            expected = 1 / math.sqrt(width)
            about = f"head width {width}"
            expect(about, found, expected, hint, tolerance=0.1 * expected)

    run_check(cases, "a wider head would start with flatter weights")


def window_mask(window_mask: Callable[[int, int, int], Tensor]) -> None:
    """Check a causal mask that also ends in the past.

    Args:
        window_mask: From queries, keys and window to a Boolean mask, queries by keys.
    """

    def cases() -> None:
        hints = {
            (
                5,
                5,
                2,
            ): "row 4 is True in columns 3 and 4 only; `triu` cuts from the left",
            (5, 5, 1): "a window of 1 is a position's view of itself",
            (4, 4, 9): "a window that is longer than the text hides nothing",
            (2, 5, 3): "both end at the same position: the last query is position 4",
        }
        for (queries, keys, window), hint in hints.items():
            reader = torch.arange(keys - queries, keys)[:, None]
            distance = reader - torch.arange(keys)
            expected = (distance >= 0) & (distance < window)
            found = call(window_mask, queries, keys, window)
            case = f"{queries} queries, {keys} keys, window {window}"
            if isinstance(found, Tensor) and found.dtype != torch.bool:
                hint = "the mask holds True and False, not numbers"
                expect(case, str(found.dtype), "torch.bool", hint)
            expect(case, found, expected, hint)

    run_check(cases, "each query sees its window and nothing else")
