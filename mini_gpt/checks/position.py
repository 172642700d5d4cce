"""Checks for the exercises of the chapter on positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from einops import rearrange
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.position import RotaryPositions, rotation_angles, sinusoidal_table


def _rotary(context_length: int, head_width: int) -> RotaryPositions:
    """Rotary positions for one head of this width."""
    return RotaryPositions(
        GPTConfig(context_length=context_length, heads=1, width=head_width)
    )


def entry(answer: Callable[[int, int, int], float]) -> None:
    """Check single entries of the sinusoidal table.

    Args:
        answer: Takes position, dimension and width.
    """

    def cases() -> Iterator[None]:
        hints = {
            (3, 0): "pair 0 turns by 1 radian a step",
            (0, 1): "at position 0 the angle is 0; what is its cosine?",
            (3, 1): "the two dimensions of a pair share their angle",
            (5, 6): "pair i has the exponent 2i/width; which pair is dimension 6 in?",
            (50, 7): "the frequency falls with the dimension, not with the position",
        }
        for (position, dimension), hint in hints.items():
            width = 10
            expected = sinusoidal_table(position + 1, width)[position, dimension].item()
            case = f"position {position}, dimension {dimension}, width {width}"
            expect(case, call(answer, position, dimension, width), expected, hint)
            yield

    run_check(
        cases, "sines at even, cosines at odd dimensions, each pair at its frequency"
    )


def distance(answer: Callable[[Tensor, Tensor, Tensor, Tensor], int]) -> None:
    """Check the distance that two turned vectors are apart.

    Args:
        answer: Takes the query and the key before the turn, and both after it.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        rotary = _rotary(50, 2)
        full_turn = "an angle is known up to a full turn; bring it between -pi and pi"
        hints = {
            (4, 4): "two vectors at the same place are turned by the same angle",
            (5, 3): f"which was turned further? And {full_turn}",
            (3, 5): "the query may stand before the key",
            (41, 38): full_turn,
            (30, 33): full_turn,
        }
        for (query_position, key_position), hint in hints.items():
            query, key = torch.randn(2, 1, 1, 1, 2, generator=generator)
            turned = rotary(query, query_position), rotary(key, key_position)
            pair = [vector.flatten() for vector in (query, key, *turned)]
            case = f"a query at {query_position} and a key at {key_position}"
            expect(case, call(answer, *pair), query_position - key_position, hint)
            yield

    run_check(cases, "the distance is the difference of the two turns")


def turn_all(answer: Callable[[Tensor, int], Tensor]) -> None:
    """Check rotary positions that the reader has written whole.

    Args:
        answer: Takes vectors (batch, heads, time, head_width) and the position of the
            first.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        for time, head_width, offset, hint in (
            (1, 4, 0, "at position 0 nothing is turned"),
            (2, 2, 0, "position 1 turns (a, b) by one radian; which way?"),
            (5, 4, 0, "each pair of neighbors has its own frequency"),
            (5, 4, 3, "the first vector stands at the offset"),
            (3, 8, 100, "pair i turns by 10000^(-2i/head_width) radians a step"),
        ):
            vectors = torch.randn(2, 3, time, head_width, generator=generator)
            expected = _rotary(offset + time, head_width)(vectors, offset)
            case = f"time {time}, head width {head_width} and offset {offset}"
            expect(case, call(answer, vectors, offset), expected, hint)
            yield

    run_check(cases, "every pair turns at its own pace, from the offset on")


def halves_to_neighbors(answer: Callable[[Tensor], Tensor]) -> None:
    """Check the change from pairs of halves to pairs of neighbors.

    Args:
        answer: Takes vectors (batch, heads, time, head_width) and reorders the last
            axis.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        numbered = torch.arange(6.0).expand(1, 1, 1, 6)
        hint = "dimensions i and i + 3 were a pair; now they have to be neighbors"
        expected = torch.tensor([[[[0.0, 3, 1, 4, 2, 5]]]])
        expect(
            "the dimensions 0, 1, 2, 3, 4, 5", call(answer, numbered), expected, hint
        )
        yield
        vectors = torch.randn(2, 3, 5, 8, generator=generator)
        angles = rotation_angles(5, 8).float()
        first, second = vectors.chunk(2, dim=-1)
        turned_halves = torch.stack(
            [
                first * angles.cos() - second * angles.sin(),
                first * angles.sin() + second * angles.cos(),
            ],
            dim=-1,
        )
        expect(
            "vectors of head width 8, turned after the change",
            _rotary(5, 8)(call(answer, vectors)),
            rearrange(
                turned_halves,
                "batch heads time pair two -> batch heads time (pair two)",
            ),
            "the pairs must keep their order, since each has its own frequency",
        )
        yield

    run_check(cases, "the same pairs turn by the same angles in both layouts")
