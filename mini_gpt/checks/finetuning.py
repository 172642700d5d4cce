"""Checks for the exercises of the chapter on fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mini_gpt.checks.report import NotYet, call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.finetuning import add_lora
from mini_gpt.loss import IGNORE_INDEX
from mini_gpt.model import GPT


def lora_weights(answer: Callable[[GPTConfig, int], int]) -> None:
    """Check a count of the weights that LoRA trains.

    Args:
        answer: Takes the shape of a model and a rank.
    """

    def cases() -> Iterator[None]:
        hint = "each map has two small ones: one by its inputs, one by its outputs"
        wide = "the feed-forward layer has a width of its own, feed_forward_width"
        sized: list[tuple[str, dict[str, Any], int, str]] = [
            ("one layer of width 12, rank 1", {"layers": 1}, 1, hint),
            ("one layer of width 12, rank 5", {"layers": 1}, 5, hint),
            (
                "three layers of width 12, rank 2",
                {"layers": 3},
                2,
                "every block has them",
            ),
            ("a feed-forward width of 20", {"layers": 2, "hidden_width": 20}, 3, wide),
        ]
        for case, sizes, rank, said in sized:
            shape: dict[str, Any] = {
                "vocab_size": 17,
                "context_length": 8,
                "heads": 3,
                "width": 12,
            }
            config = GPTConfig(**{**shape, **sizes})
            model = GPT(config)
            add_lora(model, rank)
            trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
            expect(case, answer(config, rank), trained, said)
            yield

    run_check(
        cases, "the small maps grow with the width, the large ones with its square"
    )


def conversation(
    answer: Callable[[Sequence[tuple[str, list[int]]]], tuple[list[int], list[int]]],
) -> None:
    """Check inputs and targets of a conversation with several turns.

    Args:
        answer: Takes pairs of who speaks and ids; returns two lists.
    """

    def cases() -> Iterator[None]:
        no = IGNORE_INDEX
        one = [("user", [7, 3, 4, 8]), ("assistant", [5, 6, 9])]
        two = [*one, ("user", [7, 1, 8]), ("assistant", [2, 9])]
        first = [("assistant", [4, 9]), ("user", [7, 2, 8]), ("assistant", [3, 9])]
        where = "a target is the id one place further on"
        for case, turns, inputs, targets, hint in (
            ("one turn each", one, [7, 3, 4, 8, 5, 6], [no, no, no, 5, 6, 9], where),
            (
                "two turns each",
                two,
                [7, 3, 4, 8, 5, 6, 9, 7, 1, 8, 2],
                [no, no, no, 5, 6, 9, no, no, no, 2, 9],
                "where the user begins again nothing is to be predicted",
            ),
            (
                "an assistant who begins",
                first,
                [4, 9, 7, 2, 8, 3],
                [9, no, no, no, 3, 9],
                "nothing stands before the very first id, so it is no target",
            ),
        ):
            found: Any = answer([(who, list(ids)) for who, ids in turns])
            if not isinstance(found, tuple | list) or len(found) != 2:
                raise NotYet(
                    f"for {case} return two lists, inputs and targets. Hint: both are "
                    "one id shorter than the conversation"
                )
            expect(f"{case}, inputs", list(found[0]), inputs, "all ids but the last")
            expect(f"{case}, targets", list(found[1]), targets, hint)
            yield

    run_check(cases, "only what the assistant says is learned, whoever begins")


def low_rank(answer: Callable[[int, int, int, float], nn.Module]) -> None:
    """Check LoRA as a parametrization of a weight.

    Args:
        answer: A module's class; takes outputs, inputs, rank and scale.
    """

    def cases() -> Iterator[None]:
        torch.manual_seed(0)
        linear, x = nn.Linear(7, 5), torch.randn(4, 7)
        before, weight = linear(x).detach(), linear.weight.detach().clone()
        part = answer(5, 7, 2, 1.5)
        sizes = {name: tuple(p.shape) for name, p in part.named_parameters()}
        if sizes != {"down": (2, 7), "up": (5, 2)}:
            raise NotYet(
                f"for 5 outputs, 7 inputs and rank 2 your module has the parameters "
                f"{sizes}, expected down (2, 7) and up (5, 2). Hint: nn.Parameter in "
                "__init__"
            )
        linear.weight.requires_grad_(False)
        parametrize.register_parametrization(linear, "weight", part)
        after: Any = linear(x)
        expect("a new part, outputs", after, before, "which of the two begins at zero?")
        yield
        linear(x).square().sum().backward()
        up: Any = part.up
        down: Any = part.down
        if up.grad is None or not up.grad.abs().sum() > 0:
            raise NotYet(
                "after the first backward pass `up` has no gradient. Hint: `down` must "
                "not be zero in the beginning"
            )
        yield
        with torch.no_grad():
            up.normal_()
            down.normal_()
        changed: Any = linear.weight
        expected = weight + 1.5 * up.detach() @ down.detach()
        expect(
            "trained maps, the weight", changed.detach(), expected, "scale, up, down"
        )
        yield

    run_check(
        cases, "a weight may be computed when it is read, and so LoRA is one line"
    )


def extract(answer: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]) -> None:
    """Check the best adapter for a change of a weight.

    Args:
        answer: Takes the weight before and after, and a rank; returns up and down.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        before = torch.randn(6, 4, generator=generator)
        up = torch.randn(6, 2, generator=generator)
        exact = before + up @ torch.randn(2, 4, generator=generator)
        noisy = exact + 0.3 * torch.randn(6, 4, generator=generator)
        wide = torch.randn(4, 9, generator=generator)
        for case, one, other, rank in (
            ("a change of rank 2, and rank 2", before, exact, 2),
            ("a change of full rank, and rank 1", before, noisy, 1),
            ("a change of full rank, and rank 3", before, noisy, 3),
            ("a wide weight that begins at zero, and rank 2", wide * 0, wide, 2),
        ):
            found: Any = call(answer, one, other, rank)
            if not isinstance(found, tuple | list) or len(found) != 2:
                raise NotYet(f"for {case} return two tensors: up and down. Hint: SVD")
            shapes = [tuple(part.shape) for part in found]
            wanted = [(one.shape[0], rank), (rank, one.shape[1])]
            expect(f"{case}, shapes", shapes, wanted, "the rank stands in the middle")
            left = torch.linalg.svdvals(other - one)[rank:].square().sum().sqrt()
            missed = (one + found[0] @ found[1] - other).norm()
            hint = "keep the directions with the largest singular values of the change"
            expect(f"{case}, what is missed", missed.item(), left.item(), hint, 1e-3)
            yield

    run_check(cases, "no product of that rank comes nearer")
