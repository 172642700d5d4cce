"""What a training step keeps for its backward pass, and computing it again instead."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mini_gpt.model import GPT


def _recomputed(forward: Callable[..., Tensor], *given: Any, **named: Any) -> Tensor:
    """What a block gives; of its inside, nothing is kept where gradients are wanted."""
    if not torch.is_grad_enabled():  # there is no backward pass to keep anything for
        return forward(*given, **named)
    result: Tensor = checkpoint(forward, *given, use_reentrant=False, **named)
    return result


def recompute_activations(model: GPT) -> None:
    """Have each block keep its input only, and compute the rest again when it is asked.

    The gradients are the same, dropout included, to the last bit: the random numbers of
    the first time are drawn again. A step computes the blocks' forward pass twice, so
    it has four passes' worth of work instead of three (Chen et al. 2016).
    """
    for block in model.decoder.blocks:
        if not isinstance(block.forward, partial):  # it is not so already
            # No closure: a copy of the model has to compute with its own weights.
            block.forward = partial(_recomputed, block.forward)
