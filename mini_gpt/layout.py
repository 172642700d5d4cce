"""How weights lie in memory, which changes how fast they are read and nothing else."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


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


def stored_for_writing(model: Model) -> Model:
    """A model whose maps with more outputs than inputs are `stored_by_input`, to write with.

    Its weights are no longer contiguous tensors, which some tools for training expect
    (`torch.nn.utils.parameters_to_vector`, for instance), so this is for models that only write.

    Args:
        model: The model; it is changed in place.

    Returns:
        The same object.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.out_features > module.in_features:
            stored_by_input(module)
    return model
