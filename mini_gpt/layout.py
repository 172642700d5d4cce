"""How weights lie in memory, which changes how fast they are read and nothing else."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def stored_by_input(linear: nn.Linear) -> nn.Linear:
    """The same linear map, with all weights of an input side by side in memory.

    For `nn.Linear` the weights of an *output* lie side by side. When a single vector is multiplied,
    as in writing text token by token, the time is that of reading the weights, and the usual
    libraries read them fastest along the longer side of the matrix. So this is for maps with more
    outputs than inputs. Shape, values, gradients and files stay as they are.

    Args:
        linear: The map; it is changed in place.

    Returns:
        The same object.
    """
    linear.weight = nn.Parameter(linear.weight.t().contiguous().t())
    return linear
