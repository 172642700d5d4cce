"""Checks for the exercises of the chapter on diagnostics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mini_gpt.checks.report import call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.decoder import DecoderBlock
from mini_gpt.model import GPT


def rows_meet(answer: Callable[[Callable[[Tensor], Tensor], Tensor], Any]) -> None:
    """Check a function that says whether the rows of a batch influence one another."""
    example = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))

    def past(x: Tensor) -> Tensor:
        """Sums over the past, each row for itself."""
        return x.cumsum(dim=1)

    def whole(x: Tensor) -> Tensor:
        """Centers each row over time: it sees the future, but no other row."""
        return x - x.mean(dim=1, keepdim=True)

    def batch_norm(x: Tensor) -> Tensor:
        """Centers each feature over the batch."""
        return x - x.mean(dim=0, keepdim=True)

    def mixed(x: Tensor) -> Tensor:
        """A reshape that forgets which axis was the batch."""
        return x.reshape(5, 3, 4).cumsum(dim=1).reshape(3, 5, 4)

    def leaks(source: int, target: int, share: float) -> Callable[[Tensor], Tensor]:
        """One row reads from one other, at the last position only."""

        def leak(x: Tensor) -> Tensor:
            after = x.clone()
            after[target, -1] += share * x[source, -1]
            return after

        return leak

    models = {
        "sums over the past": (past, False, "a row may depend on itself."),
        "centers over time": (whole, False, "other positions are no other rows."),
        "centers over the batch": (batch_norm, True, "change a row; do others move?"),
        "cuts batch and time anew": (mixed, True, "change a row; do others move?"),
        "reads the last row": (leaks(2, 0, 1.0), True, "change every row in turn."),
        "reads the first row": (leaks(0, 1, 1.0), True, "change every row in turn."),
        "reads a little": (leaks(1, 2, 1e-3), True, "how close must outputs be?"),
    }

    def cases() -> None:
        for name, (module, meet, hint) in models.items():
            found = call(answer, module, example)
            expect(f"a function that {name}", found, meet, hint)

    run_check(cases, "your test tells rows that meet from rows that do not.")


def most_layers(answer: Callable[[int, int], Any]) -> None:
    """Check a function from memory and width to the layers that can be trained."""
    hints = {
        (16 * 10**9, 768): "training takes 16 bytes a parameter, activations left out.",
        (80 * 10**9, 1600): "the embeddings are there whatever the number of layers.",
        (16 * 10**9, 768 * 2): "heads are 64 wide, so that the width decides them.",
        (10**9, 1024): "where not even one layer fits, the answer is 0.",
    }

    def fits(memory: int, width: int) -> int:
        """By the formula: what a block takes, and what is there without any."""
        block, rest = 12 * width**2 + 13 * width, (50_257 + 1024) * width + 2 * width
        return max(0, (memory // 16 - rest) // block)

    def cases() -> None:
        for (memory, width), hint in hints.items():
            case = f"{memory / 1e9:.0f} GB and width {width}"
            expect(case, call(answer, memory, width), fits(memory, width), hint)

    run_check(cases, "you know what fits before you rent the machine.")


def half_length(answer: Callable[[GPTConfig], Any]) -> None:
    """Check a function for the length at which attention's products take half."""
    small: dict[str, Any] = {"layers": 2, "heads": 2, "width": 12}
    hints = {
        "gpt2": (GPTConfig(), "set 12 L D T equal to all the rest, and solve for T."),
        "gpt2-xl": (GPTConfig.preset("gpt2-xl"), "the rest grows with the width, too."),
        "a vocabulary of 7": (GPTConfig(7, **small), "round up: at least half."),
        "a narrow hidden layer": (
            GPTConfig(7, **small, hidden_width=5),
            "the hidden layer need not be 4 D wide.",
        ),
        "one head of keys": (
            GPTConfig(7, **small, key_value_heads=1),
            "with fewer heads of keys and values, attention's matrices are smaller.",
        ),
    }

    def expected(config: GPTConfig) -> int:
        """The other operations, over those of one token of length."""
        kept = config.kv_heads * config.head_width
        block = 2 * config.width * (config.width + kept + config.feed_forward_width)
        weights = config.layers * block + config.vocab_size * config.width
        return -(-6 * weights // (12 * config.layers * config.width))

    def cases() -> None:
        for name, (config, hint) in hints.items():
            expect(name, call(answer, config), expected(config), hint)

    run_check(cases, "you know when a text is long.")


class _Future(GPT):
    """Each logit also takes a little of the one after it."""

    def hidden(self, ids: Tensor, caches: Any = None, mask: Any = None) -> Tensor:
        stream = super().hidden(ids, caches, mask)
        return stream + 0.3 * stream.roll(-1, dims=1)


class _Gradient(GPT):
    """The feed-forward network of the first block is computed without gradients."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        block = self.decoder.blocks[0]
        assert isinstance(block, DecoderBlock)
        silenced = torch.no_grad()(block.feed_forward.forward)
        block.feed_forward.forward = silenced  # type: ignore[method-assign]


class _Head(GPT):
    """The head is a copy of the table, made at the start."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.head = nn.Parameter(self.token_embedding.weight.detach().clone())

    def forward(self, ids: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.hidden(ids) @ self.head.T


class _Start(GPT):
    """The table starts with a standard deviation of 1."""

    def initialize(self) -> None:
        super().initialize()
        nn.init.normal_(self.token_embedding.weight)


def diagnose(answer: Callable[[GPT], Any]) -> None:
    """Check a function that names the fault of a small new model."""
    wards = {
        "a healthy model": (GPT, "healthy", "no experiment may find a fault in it."),
        "a table that starts too large": (
            _Start,
            "start",
            "an even choice among 17 tokens costs ln 17 = 2.83; what does this one?",
        ),
        "a model that looks ahead": (
            _Future,
            "future",
            "change the last token: do earlier logits move?",
        ),
        "a part without gradient": (
            _Gradient,
            "gradient",
            "after a backward pass, look at each parameter's gradient.",
        ),
        "a head of its own": (
            _Head,
            "head",
            "a change of one row of the embedding must reach that token's logit.",
        ),
    }
    config = GPTConfig(17, context_length=8, layers=2, heads=3, width=12)

    def cases() -> None:
        for seed in range(3):
            for name, (kind, fault, hint) in wards.items():
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    model = kind(config).eval()
                before = copy.deepcopy(model.state_dict())
                expect(name, answer(model), fault, hint)
                same = all(
                    torch.allclose(weight, before[key], atol=1e-7)
                    for key, weight in model.state_dict().items()
                )
                expect("its weights afterwards", same, True, "leave them as they were.")

    run_check(cases, "you can tell what ails a model before it is trained.")
