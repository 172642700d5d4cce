"""The head and the loss, whole and in parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.gpu.common import GPT2, TINY, Bench, Result, memory
from mini_gpt.loss import linear_cross_entropy, next_token_loss
from mini_gpt.support.device import autocast


def losses(bench: Bench) -> Iterator[Result]:
    """The head and the loss of the 124M step, forward and backward, whole and in parts."""
    config, rows = (TINY, 2) if bench.tiny else (GPT2, 32)
    time_, size = config.context_length, config.vocab_size
    place = bench.device
    stream = torch.randn(rows, time_, config.width, device=place, requires_grad=True)
    table = torch.randn(config.padded_vocab_size, config.width, device=place, requires_grad=True)
    targets = torch.randint(size, (rows, time_), device=place)

    def whole(stream: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        return next_token_loss(F.linear(stream, table)[..., :size], targets, "sum")

    def parted(at_once: int) -> Callable[..., Tensor]:
        return lambda s, t, y: linear_cross_entropy(s, t, y, size, at_once=at_once)

    ways: dict[str, Callable[..., Tensor]] = {"whole": whole}
    for power in (5, 6) if bench.tiny else (27, 28, 29, 30):
        ways[f"in parts of 2^{power} logits"] = parted(2**power)
    for name, loss in ways.items():
        if not bench.has_time(f"loss, {name}", 20):
            return
        run = loss if bench.tiny else torch.compile(loss, dynamic=False)

        def step(run: Callable[..., Tensor] = run) -> None:
            stream.grad = table.grad = None
            with autocast(place, bench.precision):
                total = run(stream, table, targets)
            (total / targets.numel()).backward()

        if place.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        step()
        bench.wait()
        first = time.perf_counter() - start
        seconds = bench.seconds(step, 2 if bench.tiny else 10)
        yield {"name": name, "ms": 1e3 * seconds, "first_seconds": first, **memory(bench)}
