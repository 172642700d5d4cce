"""Speeds of training steps that were measured, and on what; nothing is guessed.

`stored/speeds.json` is what `python -m bench speeds` gathers from the results of other
benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import flops_per_token
from mini_gpt.support.stored_results import stored_result


@dataclass(frozen=True)
class Speed:
    """One training step of ours, as it was measured.

    Attributes:
        device: The card's name, or that of a processor with its threads.
        card: Whether it is a graphics card.
        torch: The version.
        date: Of the measurement.
        source: Who measured it, or how it can be measured again.
        batch_size: Sequences in each step, all at once.
        precision: Number format of the products.
        compiled: Whether by `torch.compile`.
        peak_gigabytes: The most memory that it took, if that was noted.
    """

    device: str
    card: bool
    torch: str
    date: str
    source: str
    layers: int
    heads: int
    width: int
    vocab_size: int
    context_length: int
    batch_size: int
    optimizer: str
    precision: str
    compiled: bool
    tokens_per_second: int
    peak_gigabytes: float | None = None

    @property
    def flops_per_token(self) -> int:
        """The operations of a training step for each token, as chapter 13 counts."""
        return flops_per_token(
            GPTConfig(
                vocab_size=self.vocab_size,
                context_length=self.context_length,
                layers=self.layers,
                heads=self.heads,
                width=self.width,
            )
        )

    def tokens_per_second_of(self, config: GPTConfig) -> float:
        """The speed with another model, if an operation takes as long there."""
        return self.tokens_per_second * self.flops_per_token / flops_per_token(config)

    def __str__(self) -> str:
        how = f"{self.optimizer}, {self.precision}{', compiled' * self.compiled}"
        return (
            f"{self.tokens_per_second:,} tokens/s, {self.layers} layers of width "
            f"{self.width}, {self.batch_size} sequences of {self.context_length:,}, "
            f"{how}, torch {self.torch}, {self.date} ({self.source})"
        )


def known_speeds() -> list[Speed]:
    """All that come with the package."""
    return [Speed(**row) for row in stored_result("speeds")["speeds"]]


def named_device(name: str, speeds: Sequence[Speed]) -> str:
    """The one measured device that a name, or a part of it, means.

    Raises:
        ValueError: naming all of them and how to measure another one, if it means none;
            or those that it could mean.
    """
    devices = list(dict.fromkeys(speed.device for speed in speeds))
    folded = name.casefold()
    if exact := [device for device in devices if device.casefold() == folded]:
        return exact[0]
    meant = [device for device in devices if folded and folded in device.casefold()]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ValueError(f"{name!r} could be {' or '.join(meant)}; say which")
    raise ValueError(
        f"it was not measured how fast {name!r} trains, and this is no place to "
        f"guess; known are {'; '.join(devices)}. To measure the card of your machine, "
        "in a checkout: make gpu"
    )


def nearest_speed(
    device: str, config: GPTConfig, optimizer: str, speeds: Sequence[Speed]
) -> Speed:
    """The measured step on a device whose cost for a token is nearest to a model's.

    Only steps in the precision that training takes there by itself; of the optimizer
    that is asked for, if there are any.
    """
    there = [
        speed
        for speed in speeds
        if speed.device == device
        and speed.precision == ("bfloat16" if speed.card else "float32")
    ]
    same = [speed for speed in there if speed.optimizer == optimizer] or there
    wanted = flops_per_token(config)
    return min(same, key=lambda each: abs(math.log(each.flops_per_token / wanted)))
