"""Checks for the exercises of the chapter on the embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mini_gpt.checks.report import NotYet, call, expect, run_check


def rows_that_move(answer: Callable[[list[int], int, bool], list[int]]) -> None:
    """Check which rows of a table one step of plain gradient descent can move.

    Args:
        answer: Takes the ids that were read, `vocab_size`, and whether the table also
            scores.
    """

    def cases() -> Iterator[None]:
        once = "what is the gradient of a row that was not looked up?"
        every = "the head gives every token a score; which rows took part in that?"
        for ids, vocab_size, tied, hint in (
            ([3, 1], 5, False, once),
            ([4, 0, 4, 2], 6, False, "each row once, in order"),
            ([3, 1], 5, True, every),
            ([0], 3, True, every),
        ):
            about = "a tied table" if tied else "a table that is only read"
            case = f"ids {ids} and {vocab_size} tokens, {about},"
            expected = list(range(vocab_size)) if tied else sorted(set(ids))
            expect(case, call(answer, ids, vocab_size, tied), expected, hint)
            yield

    run_check(cases, "reading moves the rows of what occurs, scoring moves them all")


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


def module(answer: type[torch.nn.Module]) -> None:
    """Check a tied table with padding, written whole.

    Args:
        answer: A module class that takes `vocab_size`, `width` and `multiple`; it has
            `weight`, `forward` and `logits`.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        for vocab_size, multiple, rows in ((7, 1, 7), (7, 4, 8), (12, 4, 12)):
            size = f"vocab_size {vocab_size}, width 3 and multiple {multiple}"
            made: Any = answer(vocab_size, 3, multiple)
            shapes = {name: tuple(p.shape) for name, p in made.named_parameters()}
            hint = "one nn.Parameter, with the rows rounded up to the next multiple"
            expect(f"{size}, the parameters", shapes, {"weight": (rows, 3)}, hint)
            yield
            with torch.no_grad():
                made.weight.copy_(torch.randn(rows, 3, generator=generator))
            table = made.weight.detach()[:vocab_size]
            ids = torch.randint(vocab_size, (2, 5), generator=generator)
            stream = torch.randn(2, 5, 3, generator=generator)
            read = "each id gives a copy of its row"
            expect(f"{size}, reading", call(made, ids), table[ids], read)
            yield
            scored = "a dot product with each token's row, without the padding's"
            found = call(made.logits, stream)
            expect(f"{size}, scoring", found, stream @ table.T, scored)
            yield
            try:
                made(torch.tensor([[vocab_size]]))
            except IndexError:
                pass
            else:
                raise NotYet(
                    f"for {size}, id {vocab_size} was read. Hint: cut the padding off "
                    "before the lookup, so that PyTorch refuses the id"
                )
            yield
        fresh: Any = answer(400, 50, 1)
        spread = fresh.weight.std().item()
        if not 0.018 < spread < 0.022:  # some nine standard errors
            raise NotYet(
                f"for a fresh table expected a standard deviation of 0.02, got "
                f"{spread:.3f}. Hint: how is a normal distribution scaled?"
            )

    run_check(cases, "one parameter reads and scores, and the padding stays inside")


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
