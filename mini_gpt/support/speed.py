"""How fast this machine is: at matrix products, and at training a model."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F


def seconds_for(work: Callable[[], object], times: int = 3) -> float:
    """The shortest time of several, after one that is not counted."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # work on a GPU goes on after the call returns
        found.append(time.perf_counter() - start)
    return min(found)


def product_rate(device: str | torch.device = "cpu", size: int = 1024) -> float:
    """Operations per second in a large product of float32 matrices."""
    matrix = torch.randn(size, size, device=device)
    return 2 * size**3 / seconds_for(lambda: matrix @ matrix)


def training_rate(model: nn.Module, ids: Int[Tensor, "batch time"]) -> float:
    """Tokens per second of whole training steps with AdamW, which change the model."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    inputs, targets = ids[:, :-1], ids[:, 1:]

    def step() -> None:
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return targets.numel() / seconds_for(step)
