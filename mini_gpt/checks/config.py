"""Checks for the exercises of the chapter on the machine at a glance and its
description.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from mini_gpt.checks.report import NotYet, call, expect, run_check
from mini_gpt.config import GPTConfig


def shapes(answer: Callable[[GPTConfig, int, int], dict[str, tuple[int, ...]]]) -> None:
    """Check the shapes of the tensors on their way through a GPT.

    Args:
        answer: Takes a configuration, `batch` and `time`; returns a dictionary.
    """
    hints = {
        "ids": "one whole number for each position of each sequence",
        "table": "one row for each token, as wide as the stream",
        "stream": "the table gave each id a vector, and nothing has changed its size",
        "after the blocks": "a block adds to the stream; can a sum have another shape?",
        "logits": "one score for each token of the vocabulary, at every position",
    }

    def cases() -> Iterator[None]:
        for config, batch, time in (
            (
                GPTConfig(vocab_size=17, context_length=8, layers=6, heads=3, width=12),
                2,
                5,
            ),
            (GPTConfig.preset("gpt2"), 4, 1024),
        ):
            vocab_size, width = config.vocab_size, config.width
            stream = (batch, time, width)
            expected = {
                "ids": (batch, time),
                "table": (vocab_size, width),
                "stream": stream,
                "after the blocks": stream,
                "logits": (batch, time, vocab_size),
            }
            found = call(answer, config, batch, time)
            if not isinstance(found, dict):
                raise NotYet(
                    f"expected a dictionary with the keys {', '.join(expected)}, got "
                    f"{found!r}. Hint: the first of them is (batch, time)"
                )
            about = (
                f"vocabulary {vocab_size}, width {width}, batch {batch}, time {time}"
            )
            for name, shape in expected.items():
                given = found.get(name)
                given = tuple(given) if isinstance(given, list | tuple) else given
                expect(f"{name!r} at {about}", given, shape, hints[name])
            yield

    run_check(cases, "only the two ends know how many tokens there are")


def with_heads(answer: Callable[[GPTConfig, int], GPTConfig]) -> None:
    """Check a copy of a configuration with other heads of the same width.

    Args:
        answer: Takes a configuration and a number of heads.
    """

    def cases() -> Iterator[None]:
        small = GPTConfig(vocab_size=17, context_length=8, layers=6, heads=3, width=12)
        rotary = dataclasses.replace(small, position="rotary", bias=False)
        for about, config, heads, hint in (
            ("more heads", small, 5, "the width is heads times head width"),
            ("one head", small, 1, "the width is heads times head width"),
            ("the same heads", small, 3, "then nothing changes"),
            ("other fields set", rotary, 7, "is every other field as it was?"),
            (
                "a hidden width that was given",
                dataclasses.replace(small, hidden_width=30),
                2,
                "is every other field as it was?",
            ),
            ("GPT-2 small", GPTConfig(), 16, "which released GPT-2 has that width?"),
        ):
            expected = dataclasses.replace(
                config, heads=heads, width=heads * config.head_width
            )
            found = call(answer, config, heads)
            if not isinstance(found, GPTConfig):
                raise NotYet(
                    f"for {about} expected a GPTConfig, got {found!r}. Hint: "
                    "dataclasses.replace gives a changed copy"
                )
            for field in dataclasses.fields(GPTConfig):
                expect(
                    f"{about} (from {config.heads} to {heads}), field {field.name}",
                    getattr(found, field.name),
                    getattr(expected, field.name),
                    hint,
                )
            yield

    run_check(cases, "the head width stays, so the width follows the heads")


def description(answer: type[Any]) -> None:
    """Check a class that describes a shape, written by the reader.

    Args:
        answer: A frozen dataclass with the fields `layers`, `heads`, `width` and
            `hidden_width`, and the property `feed_forward_width`.
    """

    def refusal(**fields: Any) -> str | None:
        """What the class says to these fields; None if it takes them."""
        try:
            answer(**fields)
        except ValueError as fault:
            return str(fault)
        return None

    def cases() -> Iterator[None]:
        names = [field.name for field in dataclasses.fields(answer)]
        fields = ["layers", "heads", "width", "hidden_width"]
        expect("the names of the fields", names, fields, "annotate each in the class")
        yield
        right = {"layers": 2, "heads": 3, "width": 12}
        small = answer(**right)
        expect("equality", small == answer(**right), True, "@dataclass compares fields")
        try:
            small.layers = 4
        except dataclasses.FrozenInstanceError:
            yield
        else:
            raise NotYet(
                "after small.layers = 4 the shape has changed. Hint: "
                "@dataclass takes an argument that forbids it"
            )
        for wrong in ({"layers": 0}, {"heads": -1}, {"width": 0}, {"hidden_width": 0}):
            (name, value), *_ = wrong.items()
            said = refusal(**{**right, **wrong})
            hint = "compare each with 1, and leave a hidden_width of None alone"
            expect(f"{name} {value}, refused", said is not None, True, hint)
            named = name in str(said) and str(value) in str(said)
            expect(
                f"{name} {value}, in the message", named, True, "name the field, too"
            )
            yield
        said = refusal(**{**right, "heads": 5})
        expect("5 heads at width 12, refused", said is not None, True, "12 % 5 is 2")
        yield
        hint = "None means four times the width"
        expect("hidden width None", small.feed_forward_width, 48, hint)
        given = answer(**right, hidden_width=30).feed_forward_width
        expect("hidden width 30", given, 30, "what is given stays")
        wider = dataclasses.replace(small, width=24).feed_forward_width
        hint = "was the default filled in before the width was replaced?"
        expect("width 12 replaced by 24", wider, 96, hint)
        yield

    run_check(cases, "it refuses early, cannot change, and its defaults follow")


def replacing(answer: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Check a dummy whose blocks replace the stream by the mean of the vectors so far.

    Args:
        answer: Takes ids, a table and a number of blocks; returns logits.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(7, 4, generator=generator)
        for about, batch, time, layers, hint in (
            ("no blocks", 2, 3, 0, "look the rows up, and multiply with table.T"),
            ("one block", 1, 3, 1, "add up along time, then divide by 1, 2, 3, ..."),
            ("two sequences", 2, 5, 1, "the mean runs along time, not along the batch"),
            ("three blocks", 2, 5, 3, "each block gets what the one before it made"),
        ):
            ids = torch.randint(7, (batch, time), generator=generator)
            stream = table[ids]
            for _ in range(layers):
                means = [stream[:, : place + 1].mean(1) for place in range(time)]
                stream = torch.stack(means, dim=1)
            found = call(answer, ids, table, layers)
            expect(about, found, stream @ table.T, hint)
            yield

    run_check(cases, "what is written over is gone; what is added to stays")
