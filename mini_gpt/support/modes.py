"""Training and evaluation mode, switched for a while and put back as they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def without_training(modules: Iterable[nn.Module]) -> Iterator[None]:
    """These modules in evaluation mode inside; each one's mode is restored after.

    Not by `model.train()`, which would also switch on a part that was off on purpose.
    """
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; each part's mode is restored after."""
    with without_training(model.modules()), torch.no_grad():
        yield
