"""Checks for the exercises of the chapter on the trainer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mini_gpt.checks.report import NotYet, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT


def accumulate(function: Callable[[nn.Module, Iterator[Any]], Any]) -> None:
    """Exercise "Parts that come one by one"."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        shape = GPTConfig(vocab_size=11, context_length=7, layers=1, heads=2, width=6)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = GPT(shape)

        def part(batch: int, time: int) -> tuple[Tensor, Tensor]:
            ids = torch.randint(11, (batch, time + 1), generator=generator)
            return ids[:, :-1], ids[:, 1:]

        total = "gradients add up: divide them by all tokens at the end"
        for case, sizes, hint in (
            ("one part", [(3, 5)], "call backward on the mean loss of the part"),
            ("parts of equal size", [(2, 4), (2, 4)], total),
            (
                "parts of 2 and 28 tokens",
                [(1, 2), (4, 7)],
                "a mean of means counts the tokens of a small part too much; "
                "sum within a part, count, and divide the gradients at the end",
            ),
        ):
            parts = [part(*size) for size in sizes]
            tokens = sum(targets.numel() for _, targets in parts)
            losses = [next_token_loss(model(x), y, reduction="sum") for x, y in parts]
            weight = model.token_embedding.weight
            mean = torch.stack(losses).sum() / tokens
            (expected,) = torch.autograd.grad(mean, weight)
            weight.grad = torch.ones_like(expected)  # left over from before
            function(model, ((x.clone(), y.clone()) for x, y in parts))
            found = weight.grad
            if found is None:
                raise NotYet(
                    f"for {case} no gradient was left in .grad. Hint: call backward."
                )
            expect(f"{case}, the embedding's gradient", found, expected, hint, 1e-5)

    run_check(cases, "the same gradient as from the whole batch, to the last token.")


def stop_at(function: Callable[[list[float], int], Any]) -> None:
    """Exercise "When to stop"."""

    def cases() -> None:
        for case, losses, patience, place, hint in (
            ("losses that always fall", [3.0, 2.0, 1.0], 1, 2, "then stop at the end"),
            (
                "one rise, and a patience of 1",
                [3.0, 2.0, 2.5, 1.0],
                1,
                2,
                "one measurement without a new lowest loss is enough",
            ),
            (
                "one rise, and a patience of 2",
                [3.0, 2.0, 2.5, 1.0, 1.5],
                2,
                4,
                "a new lowest loss starts the count anew",
            ),
            (
                "a fall that is no new lowest loss",
                [2.0, 3.0, 2.5, 2.4, 1.0],
                3,
                3,
                "compare with the lowest loss so far, not with the one before",
            ),
            ("equal losses", [2.0, 2.0, 2.0], 2, 2, "an equal loss is no lower one"),
        ):
            expect(case, function(list(losses), patience), place, hint)

    run_check(cases, "the run stops when it should, and not before.")


def loop(function: Callable[..., Any]) -> None:
    """Exercise "The loop"."""

    def cases() -> None:
        shape = GPTConfig(vocab_size=11, context_length=7, layers=1, heads=2, width=6)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = GPT(shape)
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(11, (4, 3, 8), generator=generator)

        def rate(step: int) -> float:
            return (0.02, 0.1, 0.05, 0.01)[step]

        def setup(poisoned: int | None) -> tuple[GPT, torch.optim.Optimizer]:
            one = copy.deepcopy(model)
            groups = [
                {"params": [p for p in one.parameters() if p.ndim >= 2]},
                {"params": [p for p in one.parameters() if p.ndim < 2]},
            ]
            calls = iter(range(9))

            def poison(module: Any, given: Any, output: Tensor) -> Tensor:
                return output * math.inf if next(calls) == poisoned else output

            one.register_forward_hook(poison)
            return one, torch.optim.SGD(groups, lr=1.0, momentum=0.5)

        def reference(poisoned: int | None, steps: int) -> tuple[list[float], GPT]:
            one, optimizer = setup(poisoned)
            losses = []
            for step in range(steps):
                loss = next_token_loss(one(ids[step, :, :-1]), ids[step, :, 1:])
                optimizer.zero_grad()
                loss.backward()
                norm = nn.utils.clip_grad_norm_(one.parameters(), 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = rate(step)
                if loss.isfinite() and norm.isfinite():
                    optimizer.step()
                losses.append(loss.item())
            return losses, one

        for case, poisoned, steps, hint in (
            ("one step", None, 1, "clip at 1, and set the rate of every group"),
            ("three steps", None, 3, "are gradients cleared before each backward?"),
            (
                "three steps, the second without a finite loss",
                1,
                3,
                "leave out the optimizer's step when loss or norm is not finite",
            ),
        ):
            expected, right = reference(poisoned, steps)
            one, optimizer = setup(poisoned)
            batches = ((row[:, :-1].clone(), row[:, 1:].clone()) for row in ids)
            found = function(one, optimizer, batches, rate, steps)
            if not isinstance(found, list) or len(found) != steps:
                raise NotYet(
                    f"for {case} a list of {steps} losses was expected. Hint: append "
                    "the loss of each step, and return them."
                )
            healthy = [step for step in range(steps) if step != poisoned]
            for step in healthy:
                name = f"{case}, the loss of step {step + 1}"
                expect(name, found[step], expected[step], hint, 1e-5)
            for mine, wanted in zip(one.parameters(), right.parameters(), strict=True):
                expect(f"{case}, a weight after", mine, wanted, hint, 1e-5)

    run_check(cases, "the same losses and the same weights as the page.")
