"""Checks for the exercises of the chapter on attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check


def find_the_verb(find_the_verb: Callable[[], tuple[Tensor, Tensor]]) -> None:
    """Check a hand-made head with which *she* finds the verb.

    Args:
        find_the_verb: Gives a query map and a key map, each head width by six.
    """

    def cases() -> None:
        # Ann, met, Tom, and, she: their six features, as in the chapter
        stream = torch.zeros(5, 6)
        for place, features in enumerate([(0, 3), (2,), (1, 4), (), (3, 5)]):
            stream[place, list(features)] = 1.0
        found = call(find_the_verb)
        pair = isinstance(found, tuple) and len(found) == 2
        came = "a pair" if pair else type(found).__name__
        expect("the result", came, "a pair", "return a pair: query map, key map")
        query_map, key_map = found
        hint = "each map has a row for each question and six columns, one a feature"
        shapes = [tuple(one.shape) if torch.is_tensor(one) else () for one in found]
        fits = shapes[0] == shapes[1] and len(shapes[0]) == 2 and shapes[0][1] == 6
        expect("the shapes of the maps", fits, True, hint)
        query, key = stream @ query_map.float().T, stream @ key_map.float().T
        weights = (query @ key.T / math.sqrt(len(query_map))).softmax(dim=-1)
        best = int(weights[4].argmax())
        hint = "her query has to come from a feature of hers, the key from one of met"
        expect("she, the place with the largest weight", best, 1, hint)
        hint = f"the weight is {weights[4, 1]:.2f}; larger numbers make larger scores"
        expect("she, a weight above 0.9 for met", bool(weights[4, 1] > 0.9), True, hint)

    run_check(cases, "a head is what its two maps ask for")


def scaling_mean(spread_with_mean: Callable[[int], float]) -> None:
    """Check the spread of scores that are divided by the head width.

    Args:
        spread_with_mean: From a head width to the standard deviation of such scores.
    """

    def cases() -> None:
        for width in (64, 16, 256):
            hint = (
                "what is the spread before you divide, "
                "and what does dividing by the head width leave of it?"
            )
            found = call(spread_with_mean, width)
            expected = 1 / math.sqrt(width)
            about = f"head width {width}"
            if found is None:  # the number would give the formula away
                expect(about, "nothing", "a float", hint)
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


def softmax_backward(softmax_backward: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check the way of a gradient from softmax weights back to the scores.

    Args:
        softmax_backward: From weights and their gradient to the gradient of the scores.
    """

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        hints = {
            (6,): "differentiate by the weight's own score and by another's",
            (2, 3, 5, 4): "sum over the last axis only, and keep it (`keepdim=True`)",
        }
        for shape, hint in hints.items():
            options = {"generator": generator, "dtype": torch.float64}
            scores, upstream = torch.randn(2, *shape, **options)  # type: ignore[call-overload]
            scores.requires_grad_()
            weights = scores.softmax(dim=-1)
            (expected,) = torch.autograd.grad(weights, scores, upstream)
            found = call(softmax_backward, weights.detach(), upstream)
            expect(f"weights of shape {shape}", found, expected, hint)
        weights = torch.tensor([[1.0, 0.0, 0.0]])
        found = call(softmax_backward, weights, torch.tensor([[3.0, -2.0, 5.0]]))
        hint = "a weight of exactly 0 or 1 does not react to any score"
        expect("weights 1, 0, 0", found, torch.zeros(1, 3), hint)

    run_check(cases, "the backward pass of every attention row, without its Jacobian")


def one_pass(
    one_pass: Callable[[Tensor, Iterator[tuple[Tensor, Tensor]]], Tensor],
) -> None:
    """Check attention for one query that sees each key and value once.

    Args:
        one_pass: From a query and an iterator of keys with values to the output.
    """

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        hints = {
            (1, 1.0): "with a single pair the output is its value",
            (5, 1.0): "add up weights, and weights times values; divide at the end",
            (
                7,
                3000.0,
            ): "take exponentials of differences to the greatest score so far",
        }
        for (count, size), hint in hints.items():
            options = {"generator": generator, "dtype": torch.float64}
            query = size * torch.randn(4, **options)  # type: ignore[call-overload]
            drawn = torch.randn(2, count, 4, **options)  # type: ignore[call-overload]
            key, value = drawn[0], drawn[1, :, :3]
            scores = key @ query / 2
            expected = scores.softmax(dim=0) @ value
            pairs = zip(key, value, strict=True)
            found = call(one_pass, query, pairs)
            pair = "pair" if count == 1 else "pairs"
            case = f"{count} {pair}, scores up to {scores.abs().max():.0f}"
            expect(case, found, expected, hint)

    run_check(cases, "the whole of attention, and nothing kept but three running sums")
