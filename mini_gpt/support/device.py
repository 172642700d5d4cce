"""The device that computes, its number formats and its compiler."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mini_gpt.support.distributed import local_device

# Floating-point operations per second of dense products in bfloat16 (or float16), by
# the name that PyTorch gives the card. NVIDIA's figures for A100 and, for H100 (SXM)
# and H200, which share their processor; taken from tables that quote its data sheets,
# not from the sheets themselves. The larger numbers in advertisements are for matrices
# half of which are zeros.
_PEAKS = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H200": 989.4e12,
}


def device_peak(device: torch.device, precision: str) -> float | None:
    """What a device could do at most, in floating-point operations per second.

    Each number format has its own peak. None where we know none: a guess would make
    every share of it a guess as well.
    """
    if device.type != "cuda" or precision not in ("bfloat16", "float16"):
        return None
    return _PEAKS.get(torch.cuda.get_device_name(device))


def gradient_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Makes losses larger in float16, whose small gradients would become 0."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto": the best of CUDA, Apple's MPS and the CPU.

    Raises:
        ValueError: if the name is unknown or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return local_device(torch.device("cuda"))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = local_device(torch.device(name))
        torch.zeros(1, device=device).item()  # a device that computes
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"device {name!r} is not available here; use 'auto' or 'cpu'"
        ) from None
    return device


def resolve_precision(device: torch.device, name: str = "auto") -> str:
    """The number format of matrix products: "float32", "bfloat16" or "float16".

    "auto" is bfloat16 on CUDA cards that have it, float16 on older ones, and float32
    elsewhere.
    """
    if name == "auto":
        if device.type != "cuda":
            return "float32"
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if native else "float16"
    if name == "bfloat16" and device.type == "cpu" and not cpu_has_bfloat16():
        warnings.warn(
            "this processor has no bfloat16 instructions: expect it to be slower than "
            "float32",
            stacklevel=2,
        )
    return name


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices by itself."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context in which matrix products run in the chosen number format.

    The names of the formats are those of `resolve_precision`. Weights and gradients
    stay in float32.
    """
    precision = resolve_precision(device, precision)
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def fast_products(method: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """A method inside `coarse_products(self.precision)`."""

    @wraps(method)
    def inside(self: Any) -> Tensor:
        with coarse_products(self.precision):
            return method(self)

    return inside


@contextmanager
def coarse_products(precision: str) -> Iterator[None]:
    """Where products may be coarse, let a card take those left in float32 coarsely too.

    That is TensorFloat-32, with float32's range and ten bits behind the point. Who asks
    for float32 gets float32. The setting is restored after.
    """
    before = torch.get_float32_matmul_precision()
    if precision != "float32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def compile_model(
    model: Callable[..., Tensor],
    device: torch.device,
    wanted: bool | None = None,
    graphs: bool = False,
) -> Callable[..., Tensor]:
    """A model, or a function, through torch.compile, where that is wanted and works.

    A compiled model shares its weights with the model. Compiling needs a compiler on
    the machine; where there is none, a warning says why, and what was given comes back.

    Args:
        wanted: None means on CUDA only.
        graphs: Whether to record what runs on a CUDA card once, and replay it.
    """
    if not (device.type == "cuda" if wanted is None else wanted):
        return model
    try:
        torch.compile(F.silu)(torch.ones(8, device=device))
    except Exception as fault:  # of many kinds: no compiler, a Python too new, ...
        reason = (str(fault).strip() or type(fault).__name__).splitlines()[0]
        warnings.warn(
            f"training without torch.compile, which fails here: {reason}", stacklevel=2
        )
        return model
    if graphs and device.type == "cuda":
        return torch.compile(model, mode="reduce-overhead")
    return torch.compile(model)


def compiler(
    device: torch.device, wanted: bool | None, graphs: bool = False
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """`compile_model` with all but the model said."""
    return partial(compile_model, device=device, wanted=wanted, graphs=graphs)
