"""Checks for the exercises of the chapter on the embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mini_gpt.checks.report import NotYet, call, expect, run_check


def share_saved(answer: Callable[[int, int, int], float]) -> None:
    """Check the share of an untied model's parameters that tying saves.

    Args:
        answer: Takes `vocab_size`, `width` and the number of other parameters.
    """

    def cases() -> Iterator[None]:
        hint = "how many tables has the untied model, and is that what you divide by?"
        for vocab_size, width, other in (
            (10, 4, 20),
            (50_257, 768, 85_842_432),
            (7, 3, 0),
        ):
            table = vocab_size * width
            sizes = f"vocab_size {vocab_size:,}, width {width}"
            case = f"{sizes} and {other:,} other parameters"
            expect(
                case,
                call(answer, vocab_size, width, other),
                table / (2 * table + other),
                hint,
            )
            yield

    run_check(cases, "the share is that of one table in a model with two")


def table_gradient(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Check the gradient of a lookup table, computed by hand.

    Args:
        answer: Takes ids (batch, time), the upstream gradient (batch, time, width),
            `vocab_size`.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        for case, rows, hint in (
            (
                "three different tokens",
                [[2, 0, 3]],
                "the row of a token gets the upstream vector of its position",
            ),
            (
                "a token that occurs twice",
                [[1, 4, 1]],
                "its row must get the sum of both upstream vectors",
            ),
            (
                "two sequences that share tokens",
                [[0, 5, 5, 5], [5, 2, 0, 1]],
                "flatten batch and time; every occurrence counts",
            ),
        ):
            ids = torch.tensor(rows)
            upstream = torch.randn(*ids.shape, 2, generator=generator)
            table = torch.zeros(6, 2, requires_grad=True)
            torch.nn.functional.embedding(ids, table).backward(upstream)
            found = call(answer, ids, upstream, 6)
            expect(case, found, table.grad, hint)
            yield

    run_check(
        cases,
        "every occurrence of a token adds to its row, and other rows stay at zero",
    )


class _Shapes(TorchFunctionMode):
    """Notes the shape of every tensor that PyTorch's functions return."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        result = function(*arguments, **(keywords or {}))
        if isinstance(result, Tensor):
            self.seen.add(tuple(result.shape))
        return result


def factors(
    read: Callable[[Tensor, Tensor, Tensor], Tensor],
    score: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    """Check a tied embedding whose table is the product of two factors.

    Args:
        read: Takes ids, `narrow` (vocab_size, N) and `widen` (N, width).
        score: Takes the stream, `narrow` and `widen`.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        narrow = torch.randn(11, 2, generator=generator)
        widen = torch.randn(2, 5, generator=generator)
        table = narrow @ widen
        ids = torch.tensor([[3, 10, 0, 3], [1, 3, 7, 7], [9, 9, 2, 4]])
        stream = torch.randn(3, 4, 5, generator=generator)
        with _Shapes() as shapes:
            read_vectors = call(read, ids, narrow, widen)
        expect(
            "read",
            read_vectors,
            table[ids],
            "look the narrow rows up first; what widens them then?",
        )
        yield
        with _Shapes() as score_shapes:
            scores = call(score, stream, narrow, widen)
        expect(
            "score",
            scores,
            stream @ table.T,
            "it is stream @ (narrow @ widen).T; what is the transpose of a product?",
        )
        yield
        for name, seen in (("read", shapes.seen), ("score", score_shapes.seen)):
            if (11, 5) in seen or (5, 11) in seen:
                raise NotYet(
                    f"{name} gives the right numbers, but computes the full table on "
                    "the way. Hint: bracket the product the other way"
                )
            yield

    run_check(
        cases, "both uses work on the narrow side, and the full table never exists"
    )
