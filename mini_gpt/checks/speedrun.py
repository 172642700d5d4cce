"""Checks for the exercises of the chapter on the speed-run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mini_gpt.checks.report import NotYet, call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import check_causality, random_batch
from mini_gpt.model import GPT


def verdict(
    answer: Callable[[Sequence[float], Sequence[float], Sequence[float], float], bool],
) -> None:
    """Check whether an entry is called a record where it is one.

    Args:
        answer: Takes losses, seconds, the record's seconds and the target.
    """

    def cases() -> Iterator[None]:
        for case, arguments, expected, hint in (
            (
                "faster with each seed, loss at the target",
                ([1.89, 1.90, 1.91], [9.0, 9.1, 9.2], [10.0, 10.0, 10.0], 1.90),
                True,
                "a mean that is just the target is good enough",
            ),
            (
                "faster, but with a mean loss of 1.91",
                ([1.89, 1.90, 1.94], [5.0, 5.0, 5.0], [10.0, 10.0, 10.0], 1.90),
                False,
                "the loss decides first, however fast the entry is",
            ),
            (
                "one disturbed run of three",
                ([1.88, 1.89, 1.88], [9.1, 19.8, 9.0], [10.2, 10.1, 10.3], 1.90),
                True,
                "the median of the ratios is not moved by one run",
            ),
            (
                "a machine that became slower from seed to seed",
                ([1.89, 1.89, 1.89], [9.9, 19.0, 30.0], [10.0, 20.0, 29.0], 1.90),
                True,
                "compare the two runs of each seed, then take the median",
            ),
            (
                "exactly as fast",
                ([1.85, 1.85, 1.85], [10.0, 10.0, 10.0], [10.0, 10.0, 10.0], 1.90),
                False,
                "a record takes less time, not as much",
            ),
        ):
            found = call(answer, *arguments)
            expect(case, bool(found) if found is not None else None, expected, hint)
            yield

    run_check(cases, "that is the rule of the ledger")


def seeds_needed(answer: Callable[[float, float], int]) -> None:
    """Check how many seeds show a difference.

    Args:
        answer: Takes the spread of runs and the difference of two means.
    """

    def cases() -> Iterator[None]:
        hint = "solve d = 2 s √(2/n) for n, and round up"
        for spread, difference, expected in (
            (0.01, 0.02, 2),
            (0.01, 0.01, 8),
            (0.01, 0.005, 32),
            (0.003, 0.5, 1),
            (0.02, 0.013, 19),
        ):
            found = call(answer, spread, difference)
            case = f"a spread of {spread} and a difference of {difference}"
            expect(case, found, expected, hint)
            yield

    run_check(cases, "half a difference takes four times as many seeds")


def average(answer: Callable[[nn.Module, float], Any]) -> None:
    """Check an average of weights.

    Args:
        answer: A class made from a model and a decay, with `update` and `swap`.
    """

    def cases() -> Iterator[None]:
        for decay, values, expected, hint in (
            (0.9, [8.0], 8.0, "the first update is the whole average"),
            (0.9, [8.0, 4.0, 3.0], 5.0, "at first it is the plain mean"),
            (0.5, [8.0, 4.0, 4.0], 5.0, "later the newest counts 1 - decay"),
            (0.0, [8.0, 4.0], 4.0, "a decay of 0 keeps nothing of the past"),
        ):
            layer = nn.Linear(2, 3)
            means = call(answer, layer, decay)
            held = [id(weight) for weight in layer.parameters()]
            where = [weight.data_ptr() for weight in layer.parameters()]
            for value in values:
                _fill(layer, value)
                means.update()
            means.swap()
            case = f"decay {decay} and the values {values}"
            last = torch.full((3, 2), values[-1])
            if expected != values[-1] and torch.equal(layer.weight.detach(), last):
                raise NotYet(
                    f"for {case} the model has its last weights after swap(), as if "
                    f"nothing were averaged. Hint: {hint}"
                )
            whole = torch.full((3, 2), expected)
            expect(f"{case}, after swap()", layer.weight.detach(), whole, hint)
            expect(
                f"{case}, the bias after swap()",
                layer.bias.detach(),
                torch.full((3,), expected),
                "all parameters are averaged",
            )
            if held != [id(weight) for weight in layer.parameters()] or where != [
                weight.data_ptr() for weight in layer.parameters()
            ]:
                raise NotYet(
                    f"for {case} the model has other tensors after swap(). Hint: write "
                    "the numbers into the tensors that are there"
                )
            means.swap()
            expect(
                f"{case}, after swap() twice",
                layer.weight.detach(),
                torch.full((3, 2), values[-1]),
                "the model's own weights must come back",
            )
            yield

    run_check(cases, "it follows the weights, and stands in for them")


@torch.no_grad()
def _fill(layer: nn.Linear, value: float) -> None:
    for weight in layer.parameters():
        weight.fill_(value)


def mix_with_previous(answer: Callable[[GPT, float], None]) -> None:
    """Check a change of a model that adds a share of the embedding before.

    Args:
        answer: Takes a new model and a share, and changes the model.
    """

    def cases() -> Iterator[None]:
        config = GPTConfig(11, context_length=9, layers=2, heads=2, width=12)
        for share in (0.5, 0.0, 2.0):
            torch.manual_seed(0)
            model = GPT(config).eval()
            ids = random_batch(config, 3, time=7)
            plain: Tensor = model.token_embedding(ids).detach()
            call(answer, model, share)
            mixed = model.token_embedding(ids)
            case = f"a share of {share}"
            expect(
                f"{case}, the first position",
                mixed[:, 0],
                plain[:, 0],
                "nothing stands before the first character",
            )
            expect(
                f"{case}, the other positions",
                mixed[:, 1:],
                plain[:, 1:] + share * plain[:, :-1],
                "the embedding of the position before, times the share",
            )
            try:
                check_causality(model, ids)
            except AssertionError as fault:
                raise NotYet(
                    f"for {case} {fault}. Hint: only what stands before"
                ) from None
            yield

    run_check(cases, "each position knows the character before it")
