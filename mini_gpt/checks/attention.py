"""Checks for the exercises of the chapter on attention."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mini_gpt.attention import causal_attention
from mini_gpt.checks.report import call, expect, run_check


def scaling_mean(spread_with_mean: Callable[[int], float]) -> None:
    """Check the spread of scores that are divided by the head width.

    Args:
        spread_with_mean: From a head width to the standard deviation of such scores.
    """

    def cases() -> None:
        for width in (64, 16, 256):
            hint = "what is the spread before you divide, and what does dividing by K leave of it?"
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
            (5, 5, 2): "row 4 is True in columns 3 and 4 only; `triu` cuts from the left",
            (5, 5, 1): "a window of 1 is a position's view of itself",
            (4, 4, 9): "a window that is longer than the text hides nothing",
            (2, 5, 3): "both sequences end at the same position: the last query is position 4",
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


def grouped_attention(grouped_attention: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Check attention in which several heads of queries share one head of keys and values.

    Args:
        grouped_attention: From query, key and value to the output of every head.
    """

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        hints = {
            (6, 6): "as many key heads as heads is the attention of the chapter",
            (6, 1): "with one key head, every head uses it",
            (6, 2): "heads 0 to 2 belong to key head 0; the order is 0, 0, 0, 1, 1, 1",
            (6, 3): "heads 0 and 1 belong to key head 0; the order is 0, 0, 1, 1, 2, 2",
        }
        for (heads, key_heads), hint in hints.items():
            query = torch.randn(2, heads, 4, 8, generator=generator)
            key, value = torch.randn(2, 2, key_heads, 5, 8, generator=generator)
            owner = [head * key_heads // heads for head in range(heads)]
            expected = causal_attention(query, key[:, owner], value[:, owner])
            found = call(grouped_attention, query, key, value)
            expect(f"{heads} heads, {key_heads} key heads", found, expected, hint)

    run_check(cases, "a smaller cache, and every head still asks its own question")
