"""Checks for the exercises of the chapter on training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mini_gpt.checks.report import NotYet, expect, run_check
from mini_gpt.model import GPT, GPTConfig
from mini_gpt.training import next_token_loss


def compressed_bytes(function: Callable[[float, int], int]) -> None:
    """Exercise "The size of the file"."""

    def cases() -> None:
        for bits, tokens, size, hint in (
            (2.0, 1000, 251, "nats times tokens is the whole surprise; bits are nats / log 2"),
            (8.0, 1, 2, "one byte for a single token, two bits on top, rounded up"),
            (1.5, 100_000, 18_751, "eight bits are a byte"),
        ):
            # A hair below, so that rounding in the last digit cannot tip the answer over.
            nats = (bits - 1e-9) * math.log(2)
            case = f"{nats:.4f} nats per token and {tokens:,} tokens"
            expect(case, function(nats, tokens), size, hint)

    run_check(cases, "the loss is the size of a file.")


def hold_and_decay(function: Callable[[int, int, float, int, int], float]) -> None:
    """Exercise "Warm up, hold, decay"."""

    def cases() -> None:
        for step, rate, hint in (
            (0, 0.002, "the first of 4 warm-up steps takes a quarter of the highest rate"),
            (3, 0.008, "the last step of the warm-up reaches the highest rate"),
            (9, 0.008, "between warm-up and decay the rate holds"),
            (15, 0.008, "with 5 steps left of 20, the decay over 5 steps is only beginning"),
            (16, 0.0064, "count the steps that are left, this one included"),
            (19, 0.0016, "the last step has a fifth of the rate; only the next would have none"),
        ):
            found = function(step, 20, 0.008, 4, 5)
            expect(f"step {step} of 20, warm-up 4, decay 5", found, rate, hint, 1e-6)

    run_check(cases, "a schedule that can be extended until you decide to stop.")


def accumulate(function: Callable[[nn.Module, list[tuple[Any, Any]]], Any]) -> None:
    """Exercise "A batch in pieces"."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = GPT(GPTConfig(vocab_size=11, context_length=7, layers=1, heads=2, width=6))

        def piece(batch: int, time: int) -> tuple[torch.Tensor, torch.Tensor]:
            ids = torch.randint(11, (batch, time + 1), generator=generator)
            return ids[:, :-1], ids[:, 1:]

        for case, shapes, hint in (
            ("one piece", [(3, 5)], "call backward on the mean loss of the piece"),
            ("pieces of equal size", [(2, 4), (2, 4)], "gradients add up: divide by all tokens"),
            (
                "pieces of 2 and 28 tokens",
                [(1, 2), (4, 7)],
                "a mean of means counts the tokens of a small piece too much; "
                "sum within a piece, and divide by the number of all tokens",
            ),
        ):
            pieces = [piece(*shape) for shape in shapes]
            model.zero_grad()
            tokens = sum(targets.numel() for _, targets in pieces)
            whole = sum(next_token_loss(model(x), y, reduction="sum") for x, y in pieces) / tokens
            expected = torch.autograd.grad(whole, model.token_embedding.weight)[0]  # type: ignore[arg-type]
            model.token_embedding.weight.grad = torch.ones_like(expected)  # left over from before
            function(model, [(x.clone(), y.clone()) for x, y in pieces])
            found = model.token_embedding.weight.grad
            if found is None:
                raise NotYet(f"for {case} no gradient was left in .grad. Hint: call backward.")
            expect(f"{case}, the embedding's gradient", found, expected, hint, 1e-5)

    run_check(cases, "the same gradient as from the whole batch, to the last token.")


def orthogonalise(function: Callable[[torch.Tensor], Any]) -> None:
    """Exercise "Muon's core"."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        for rows, columns, hint in (
            (3, 3, "divide by the Frobenius norm, then repeat X <- 1.5 X - 0.5 X X' X"),
            (2, 5, "the same rounds serve wide matrices"),
            (5, 2, "and tall ones; keep the shape"),
        ):
            matrix = torch.randn(rows, columns, generator=generator)
            left, _, right = torch.linalg.svd(matrix, full_matrices=False)
            found = function(matrix.clone())
            expect(f"a matrix of {rows} by {columns}", found, left @ right, hint, 1e-3)

    run_check(cases, "all directions are stretched alike, by products alone.")
