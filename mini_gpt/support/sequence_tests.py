"""Tests of attention against its formula, and of any part as a function of a set."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Shaped
from torch import Tensor

from mini_gpt.support.probes import attention_cases, some_orders


def positions_that_differ(
    first: Shaped[Tensor, "batch time *features"],
    second: Shaped[Tensor, "batch time *features"],
    tolerance: float = 1e-5,
) -> list[int]:
    """The positions at which two outputs differ, in any sequence and any feature."""
    same = torch.isclose(first, second, rtol=0.0, atol=tolerance, equal_nan=True)
    return (~same).transpose(0, 1).flatten(1).any(dim=1).nonzero().flatten().tolist()


def output_twice(module: Callable, example: Tensor, tolerance: float) -> Tensor:
    """A module's output, if a second run gives the same; else AssertionError."""
    output = module(example)
    if positions_that_differ(output, module(example), tolerance):
        raise AssertionError("two runs on one input differ; is dropout on? Use .eval()")
    return output


def check_attention(attend: Callable[..., Tensor], tolerance: float = 1e-5) -> None:
    """Make sure that a function of query, key and value is causal attention.

    All three are (batch, heads, positions, head_width).

    Raises:
        AssertionError: naming the sizes and the first query whose output is not what
            equation 1 of Vaswani et al. 2017 gives, with a causal mask.
    """
    for query, key, value, expected in attention_cases():
        sizes = f"with {query.shape[2]} queries and {key.shape[2]} keys"
        found = attend(query, key, value)
        if found.shape != expected.shape:
            raise AssertionError(
                f"{sizes} the output has shape {tuple(found.shape)} instead of "
                f"{tuple(expected.shape)}"
            )
        if not torch.equal(found, attend(query, key, value)):
            raise AssertionError("two runs on one input differ; is dropout on?")
        pair = found.transpose(1, 2), expected.transpose(1, 2)
        if wrong := positions_that_differ(*pair, tolerance):
            raise AssertionError(
                f"{sizes} the output of query {wrong[0]} is not the formula's; look at "
                "the scale, the mask, and the axis of the softmax"
            )


@torch.no_grad()
def check_equivariance(
    module: Callable[[Tensor], Tensor],
    example: Shaped[Tensor, "batch time *features"],
    tolerance: float = 1e-5,
) -> None:
    """Make sure that a module takes its input as a set: permuted in, permuted out.

    Attention without positions and without a mask must pass. Whatever knows of places
    fails: positions, a causal mask, a reshape that mixes positions with features.

    Raises:
        AssertionError: naming the first position whose output does not follow.
        ValueError: if the example has no order, or all its positions hold the same.
    """
    if example.shape[1] < 2:
        raise ValueError(f"{example.shape[1]} position has no order; give two or more")
    if bool((example == example[:, :1]).all()):
        raise ValueError("all positions of the example are equal; give different ones")
    before = output_twice(module, example, tolerance)
    faults: list[tuple[int, int]] = []
    for order in some_orders(example.shape[1]):
        pair = module(example[:, order]), before[:, order]
        wrong = positions_that_differ(*pair, tolerance)
        faults += [(place, int(order[place])) for place in wrong]
    if faults:
        place, origin = min(faults)
        raise AssertionError(
            f"the output at position {place} is not what its input gave at position "
            f"{origin}; look for positions, a mask, or positions mixed with features"
        )
