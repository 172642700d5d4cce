"""Checks for the exercises of the chapter on an account that many have read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mini_gpt.checks.report import NotYet, call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.decoder import DecoderBlock


def equal_hidden(answer: Callable[[int, int], int]) -> None:
    """Check the hidden width that makes up for joins by a linear map.

    Args:
        answer: Takes the width and the number of joins, and returns the hidden width.
    """

    def cases() -> Iterator[None]:
        hint = "count a join's parameters, and those that one hidden feature brings"
        for width, joins in ((8, 0), (8, 2), (48, 1), (5, 3)):
            found = call(answer, width, joins)
            case = f"width {width} and {joins} joins"
            expect(case, found, (4 - joins) * width, hint)
            yield

    run_check(cases, "a block that joins is as large as one that adds")


def _table(time: int, more: list[tuple[int, int]]) -> Tensor:
    """A causal table with some cells more."""
    view = torch.ones(time, time, dtype=torch.bool).tril()
    for row, column in more:
        view[row, column] = True
    return view


def honest_positions(answer: Callable[[Tensor, int], list[int]]) -> None:
    """Check which positions know of no later one.

    Args:
        answer: Takes a table, True where a row sees a column, and the number of layers.
    """

    def cases() -> Iterator[None]:
        hint = "over two layers a position knows what those know whom it sees"
        no_memory = torch.zeros(3, 3, dtype=torch.bool)
        no_memory[0, 1] = no_memory[1, 2] = no_memory[2, 0] = True
        for case, view, layers, expected in (
            ("a causal table of 4", _table(4, []), 3, [0, 1, 2, 3]),
            ("no mask, 4 positions", torch.ones(4, 4, dtype=torch.bool), 1, [3]),
            ("5 positions, 1 sees 3, one layer", _table(5, [(1, 3)]), 1, [0, 2, 3, 4]),
            ("5 positions, 1 sees 3, two layers", _table(5, [(1, 3)]), 2, [0, 3, 4]),
            ("0 sees 1, 1 sees 2, 2 sees 0, two layers", no_memory, 2, [1, 2]),
        ):
            expect(case, call(answer, view, layers), expected, hint)
            yield

    run_check(cases, "you know who may be asked what comes next")


def swapped_block(answer: type[DecoderBlock]) -> None:
    """Check a block whose feed-forward network comes first.

    Args:
        answer: The class; it is built from a configuration.
    """

    def cases() -> Iterator[None]:
        if getattr(answer, "forward", None) is DecoderBlock.forward:
            raise NotYet(
                "your class has no `forward` of its own", "its parts are there"
            )
        torch.manual_seed(0)
        config = GPTConfig(11, context_length=7, layers=1, heads=2, width=6)
        block = answer(config)
        given, mask = torch.randn(2, 5, 6), torch.ones(2, 5, 5, dtype=torch.bool)
        mask[1, 3:, 0] = False
        if not isinstance(block, DecoderBlock):
            raise NotYet(
                "your class makes no DecoderBlock", "inherit its parts from it"
            )
        for case, hidden in (("a stream", None), ("a stream and a mask", mask)):
            with torch.no_grad():
                middle = given + block.feed_forward(block.feed_forward_norm(given))
                read = block.attention_norm(middle)
                expected = middle + block.attention(read, None, hidden)
                found = block(given.clone(), None, hidden)
            hint = "each part reads the stream as it then is, normalized, and is added"
            expect(case, found, expected, hint)
            yield

    run_check(cases, "the parts have changed places, and both are added")


def prefix_view(answer: Callable[[int, int], Tensor]) -> None:
    """Check a table whose prompt sees itself both ways.

    Args:
        answer: Takes the number of positions and of those in the prompt.
    """

    def cases() -> Iterator[None]:
        hint = "begin with the causal table, and open the prompt's own square"
        for time, prefix in ((4, 0), (5, 3), (6, 6), (7, 1)):
            pairs = [(row, column) for row in range(prefix) for column in range(prefix)]
            case = f"{time} positions, {prefix} of them the prompt"
            expect(case, call(answer, time, prefix), _table(time, pairs), hint)
            yield

    run_check(cases, "the prompt is read as an encoder would, and the rest is causal")
