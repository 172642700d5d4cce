"""How weights lie in memory and what reads them: it changes the time and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Numbers in a weight matrix from which on oneDNN is the faster reader; a call of it costs more.
LARGE = 2**18


def has_onednn() -> bool:
    """Whether this build of PyTorch has oneDNN and the operation that torch.compile uses it by."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear_function(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """`F.linear` with this weight, without gradients, by the library that reads it fastest.

    On the CPU, in single precision, `F.linear` asks the library for general products (on many
    machines MKL), which reads a large matrix slowly where there are only a few vectors to multiply.
    oneDNN, which `F.linear` asks for in bfloat16, reads it with all of PyTorch's threads. Where
    other programs use the processor too, threads wait for each other, and fewer of them are faster
    (`torch.set_num_threads`).

    Args:
        weight: The matrix, (outputs, inputs). It is shared, not copied.
        bias: One number for each output, or None.

    Returns:
        A function of vectors, (..., inputs). The two libraries differ in the last digits.
    """
    usual = partial(F.linear, weight=weight, bias=bias)
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous()
    if not (plain and weight.numel() >= LARGE and has_onednn()):
        return usual

    def quick(vectors: Tensor) -> Tensor:
        if torch.is_grad_enabled() or vectors.dtype != torch.float32:
            return usual(vectors)
        return torch.ops.mkldnn._linear_pointwise(vectors, weight, bias, "none", [], "")

    return quick


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
