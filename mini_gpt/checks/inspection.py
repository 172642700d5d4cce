"""Checks for the exercises of the chapter on looking inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check


def places(places: Callable[[Tensor], Tensor]) -> None:
    """Check at how many places each row of weights looks.

    Args:
        places: From weights, heads by queries by keys, to numbers, heads by queries.
    """

    def cases() -> Iterator[None]:
        rows = torch.tensor(
            [[[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]], [[0.25] * 4, [0.0, 0, 0.5, 0.5]]]
        )
        found = call(places, rows)
        case = "two heads with two rows of equal weights"
        if isinstance(found, Tensor) and found.isnan().any():
            expect(
                case, "nan", "numbers", "0 times ln 0 is nan for torch, and 0 for us"
            )
        hint = "the entropy of n equal weights is ln n; what undoes a logarithm?"
        expect(case, found, torch.tensor([[1.0, 2], [4, 2]]), hint)
        yield
        uneven = torch.tensor([[[0.7, 0.2, 0.1]]])
        wanted = torch.exp(-(uneven * uneven.log()).sum(-1))
        hint = "sum over the keys only, the last axis"
        expect("the row 0.7, 0.2, 0.1", call(places, uneven), wanted, hint)

    run_check(cases, "a row has as many places as equal weights of its entropy")


def mean_ablated(mean_ablated: Callable[[Tensor, int, int], Tensor]) -> None:
    """Check an ablation that puts a head's mean in its place.

    Args:
        mean_ablated: From `mixed`, a head and the number of heads to `mixed`.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        for head, heads in ((1, 3), (0, 2)):
            mixed = torch.randn(2, 5, 6 * heads, generator=generator)
            found = call(mean_ablated, mixed, head, heads)
            expected = mixed.clone()
            place = slice(6 * head, 6 * head + 6)
            expected[..., place] = mixed[..., place].mean((0, 1))
            case = f"head {head} of {heads}, each 6 wide"
            hint = (
                "one mean for each of the head's features, over texts and positions; "
                "the other heads stay"
            )
            expect(case, found, expected, hint)
            yield

    run_check(cases, "what the head says about this text is gone, the rest stays")


def copy_weights(copy_weights: Callable[[Tensor, int], Tensor]) -> None:
    """Check an induction head that is written by hand.

    Args:
        copy_weights: From ids and the vocabulary's size to weights, query by key.
    """

    def cases() -> Iterator[None]:
        texts = {
            (0, 1, 2, 0, 1): {3: 1, 4: 2},
            (3, 5, 1, 4, 3, 5, 1, 4): {4: 1, 5: 2, 6: 3, 7: 4},
        }
        for ids, places in texts.items():
            weights = call(copy_weights, torch.tensor(ids), 7)
            case = f"the ids {list(ids)}"
            shape = tuple(weights.shape) if isinstance(weights, Tensor) else None
            size = (len(ids), len(ids))
            expect(f"{case}, the shape", shape, size, "a row for each query")
            yield
            hint = "each row is a softmax: it sums to 1"
            expect(f"{case}, the sums", weights.sum(-1), torch.ones(len(ids)), hint)
            yield
            ahead = float(weights.triu(1).sum())
            hint = "no query may look at a key behind it; mask before the softmax"
            expect(f"{case}, the weight on the future", ahead, 0.0, hint)
            yield
            for query, key in places.items():
                found = int(weights[query].argmax())
                hint = (
                    "a query is the token itself, a key is what the first head "
                    "brought: the token before"
                )
                expect(f"{case}, where position {query} looks", found, key, hint)
                yield
                sharp = bool(weights[query, key] > 0.9)
                hint = "are the scores multiplied by 20?"
                expect(f"{case}, more than 0.9 there", sharp, True, hint)
                yield

    run_check(cases, "two attentions and no parameter are enough to copy")


def estimate(
    estimate: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor],
) -> None:
    """Check the estimate of all patches from one gradient.

    Args:
        estimate: From a measure of a stream, the clean and the damaged stream to one
            number for each position.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        clean, damaged, weight = torch.randn(3, 5, 4, generator=generator)
        found = call(estimate, lambda stream: (stream * weight).sum(), clean, damaged)
        hint = "for a linear measure the estimate is what the patch does, exactly"
        wanted = ((clean - damaged) * weight).sum(-1)
        expect("a linear measure", found, wanted, hint)
        yield
        found = call(estimate, lambda stream: stream.square().sum(), clean, damaged)
        hint = "the gradient is taken at the damaged stream"
        wanted = ((clean - damaged) * 2 * damaged).sum(-1)
        expect("a sum of squares", found, wanted, hint)

    run_check(cases, "one gradient in place of a run for every position")
