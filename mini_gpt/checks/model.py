"""Checks for the exercises of the chapter on the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT


def sees_future(answer: Callable[[Callable[[Tensor], Tensor], Tensor], Any]) -> None:
    """Check a function that says whether predictions depend on later tokens."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(11, (2, 7), generator=generator)
    table = torch.randn(11, 11, generator=generator)

    def honest(ids: Tensor) -> Tensor:
        """Sums over the past and the present."""
        return table[ids].cumsum(1)

    def present(ids: Tensor) -> Tensor:
        """Sees the present only."""
        return table[ids]

    def everything(ids: Tensor) -> Tensor:
        """Adds the sum over the whole text."""
        return table[ids].cumsum(1) + table[ids].sum(1, keepdim=True)

    def peeks(position: int) -> Callable[[Tensor], Tensor]:
        """One position looks one step ahead, where there is a next one; nothing else is
        wrong.
        """

        def cheat(ids: Tensor) -> Tensor:
            logits = table[ids].cumsum(1)
            if position + 1 < ids.shape[1]:
                logits[:, position] += table[ids[:, position + 1]]
            return logits

        return cheat

    def faintly(ids: Tensor) -> Tensor:
        """Adds a thousandth of the text's mean to the first position."""
        logits = table[ids].cumsum(1)
        logits[:, 0] += table[ids].mean(1) / 1000
        return logits

    models = {
        "sums over the past": (
            honest,
            False,
            "which predictions may change, and which not?",
        ),
        "sees the present only": (
            present,
            False,
            "a position may depend on its own token.",
        ),
        "sees everything": (
            everything,
            True,
            "change a token; do logits before it move?",
        ),
        "cheats at position 2 only": (
            peeks(2),
            True,
            "try a change at every position.",
        ),
        "cheats with the last token": (peeks(5), True, "try the last position, too."),
        "cheats a little": (
            faintly,
            True,
            "how close must two logits be to count as equal?",
        ),
    }

    def cases() -> None:
        for name, (model, cheats, hint) in models.items():
            expect(f"a model that {name}", call(answer, model, ids), cheats, hint)

    run_check(cases, "your test lets honest models pass and catches four that cheat.")


def logits_by_depth(answer: Callable[[GPT, Tensor], Any]) -> None:
    """Check a function that applies the head before the first block and after each."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT(GPTConfig(17, context_length=8, layers=3, heads=2, width=12)).eval()
        with torch.no_grad():  # larger than at the start, so that depth matters
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape))
    ids = torch.randint(17, (2, 5), generator=torch.Generator().manual_seed(1))
    hints = (
        "what enters the first block is token plus position; normalize it for the head",
        "the next block takes the stream itself; normalize it for the head only.",
    )

    @torch.no_grad()
    def cases() -> None:
        found = call(answer, model, ids)
        shape = tuple(found.shape) if isinstance(found, Tensor) else None
        expect(
            "the shape",
            shape,
            (4, 2, 5, 17),
            "stack L + 1 sets of logits on a new first axis.",
        )
        assert model.positions is not None
        stream = model.token_embedding(ids) + model.positions(ids.shape[1])
        for depth in range(4):
            expected = model.token_embedding.logits(model.decoder.final_norm(stream))
            expect(f"depth {depth}", found[depth], expected, hints[depth > 0])
            if depth < 3:
                stream = model.decoder.blocks[depth](stream)

    run_check(cases, "you can read the model's opinion anywhere along the stream.")


def run_model(answer: Callable[[dict[str, Tensor], Tensor, GPTConfig], Any]) -> None:
    """Check a GPT that was written as one function of its weights."""
    config = GPTConfig(17, context_length=8, layers=2, heads=3, width=12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape))
    ids = torch.randint(17, (2, 5), generator=torch.Generator().manual_seed(1))
    embedded = {"token_embedding.weight", "positions.weight"}

    def silenced(*parts: str) -> dict[str, Tensor]:
        """The weights, with the maps of this name writing zeros."""
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        for name in weights.keys() - embedded:
            if any(part in name for part in parts):
                weights[name] = torch.zeros_like(weights[name])
        return weights

    @torch.no_grad()
    def cases() -> None:
        output, contract = "attention.output", "feed_forward.contract"
        first, second = "without what the blocks write", "with attention only"
        third, whole = "with feed-forward networks only", "as a whole"
        hints = {
            first: (
                (output, contract),
                "token and position, normalize, the table again",
            ),
            second: (
                (contract,),
                "queries, then keys, then values, each with all heads",
            ),
            third: ((output,), "each block has weights of its own; GELU has a form"),
            whole: ((), "the feed-forward network reads what attention has added"),
        }
        for case, (parts, hint) in hints.items():
            weights = silenced(*parts) if parts else dict(model.state_dict())
            expected = torch.func.functional_call(model, weights, (ids,))
            found = call(answer, weights, ids, config)
            expect(f"a model {case}", found, expected, hint)

    run_check(cases, "a GPT is a table, sums and the same table, and you wrote it all.")
