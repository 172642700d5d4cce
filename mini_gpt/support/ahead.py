"""Batches that travel to the device while it works on the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mini_gpt.data import BatchLoader

_Pair = tuple[Int[Tensor, "rows time"], Int[Tensor, "rows time"]]


def _place(batches: Any) -> tuple[BatchLoader, int, int]:
    """By what its next batch is decided."""
    return batches, batches.drawn, batches.seed


class Ahead:
    """Hands out batches on a device, the next one sent before it is asked for.

    The loader's count stays that of the batches handed out, so that a checkpoint does
    not miss the one that is on its way.

    Args:
        device: Where to. On a CPU nothing can travel meanwhile, so nothing is sent.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cuda = device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if self.cuda else None
        self._waiting: tuple[BatchLoader, int, int, _Pair] | None = None

    def take(self, batches: Iterator[_Pair]) -> _Pair:
        """The next batch, on the device."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting[:3] != _place(batches):
            inputs, targets = self._send(next(batches))
        else:
            (inputs, targets), waiting[0].drawn = waiting[3], waiting[1] + 1
        if self.stream is not None:  # what follows waits for the copy, on the card
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self.stream)
            inputs.record_stream(current)
            targets.record_stream(current)
        return inputs, targets

    def prepare(self, batches: Iterator[_Pair]) -> None:
        """Draw the batch after this one, and send it on its way."""
        if not self.cuda or not isinstance(batches, BatchLoader):
            return
        place = _place(batches)
        try:
            self._waiting = (*place, self._send(next(batches)))
        finally:
            batches.drawn = place[1]

    def _send(self, pair: _Pair) -> _Pair:
        """A batch on the device, without waiting for it."""
        if not self.cuda:
            return pair[0].to(self.device), pair[1].to(self.device)
        with torch.cuda.stream(self.stream):
            # Only from pinned memory can the card fetch it by itself.
            inputs, targets = (
                ids.pin_memory().to(self.device, non_blocking=True) for ids in pair
            )
        return inputs, targets
