"""Checks for the exercises of the chapter on the trainer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mini_gpt.checks.report import NotYet, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT


def accumulate(function: Callable[[nn.Module, list[tuple[Any, Any]]], Any]) -> None:
    """Exercise "A batch in parts"."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        shape = GPTConfig(vocab_size=11, context_length=7, layers=1, heads=2, width=6)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = GPT(shape)

        def part(batch: int, time: int) -> tuple[Tensor, Tensor]:
            ids = torch.randint(11, (batch, time + 1), generator=generator)
            return ids[:, :-1], ids[:, 1:]

        total = "gradients add up: divide by all tokens"
        for case, sizes, hint in (
            ("one part", [(3, 5)], "call backward on the mean loss of the part"),
            ("parts of equal size", [(2, 4), (2, 4)], total),
            (
                "parts of 2 and 28 tokens",
                [(1, 2), (4, 7)],
                "a mean of means counts the tokens of a small part too much; "
                "sum within a part, and divide by the number of all tokens",
            ),
        ):
            parts = [part(*size) for size in sizes]
            tokens = sum(targets.numel() for _, targets in parts)
            losses = [next_token_loss(model(x), y, reduction="sum") for x, y in parts]
            weight = model.token_embedding.weight
            mean = torch.stack(losses).sum() / tokens
            (expected,) = torch.autograd.grad(mean, weight)
            weight.grad = torch.ones_like(expected)  # left over from before
            function(model, [(x.clone(), y.clone()) for x, y in parts])
            found = weight.grad
            if found is None:
                raise NotYet(
                    f"for {case} no gradient was left in .grad. Hint: call backward."
                )
            expect(f"{case}, the embedding's gradient", found, expected, hint, 1e-5)

    run_check(cases, "the same gradient as from the whole batch, to the last token.")


def safe_step(function: Callable[[nn.Module, Any, Tensor], Any]) -> None:
    """Exercise "A step that changes nothing"."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        model = nn.utils.skip_init(nn.Linear, 3, 2)  # draws nothing
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        inputs = torch.randn(5, 3, generator=generator)

        def loss_of(case: str) -> Tensor:
            loss = 0.01 * model(inputs).square().mean()  # too short to be clipped
            if case == "an infinite loss":
                loss = loss + math.inf
            elif case == "a finite loss with a gradient that is none":
                loss.register_hook(lambda gradient: gradient * math.nan)
            return loss

        for case, healthy, hint in (
            ("a healthy loss", True, "call backward, step, and return True"),
            ("an infinite loss", False, "look at the loss before the step"),
            (
                "a finite loss with a gradient that is none",
                False,
                "look at the gradients as well, before the step",
            ),
            ("a healthy loss after these", True, "no gradient may be left over"),
        ):
            twin = copy.deepcopy(model)
            memory = copy.deepcopy(optimizer.state_dict())
            if healthy:
                after = torch.optim.AdamW(twin.parameters(), lr=0.1)
                after.load_state_dict(copy.deepcopy(memory))
                after.zero_grad()
                (0.01 * twin(inputs).square().mean()).backward()
                after.step()
                memory = after.state_dict()
            taken = function(model, optimizer, loss_of(case))
            expect(f"{case}, what is returned", taken, healthy, hint)
            weights = list(model.parameters())
            for found, expected in zip(weights, twin.parameters(), strict=True):
                expect(f"{case}, a weight", found, expected, hint, 1e-6)
            steps = [int(state["step"]) for state in optimizer.state.values()]
            expected_steps = [int(state["step"]) for state in memory["state"].values()]
            expect(f"{case}, the optimizer's steps", steps, expected_steps, hint)
            if any(p.grad is not None and p.grad.any() for p in weights):
                raise NotYet(f"for {case} a gradient is left over. Hint: clear it.")

    run_check(cases, "nothing that is not finite gets into weights or memory.")
