"""The device that computes, its number formats and its compiler."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Int
from torch import Tensor, nn
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


def compile_model(
    model: nn.Module, device: torch.device, wanted: bool | None = None
) -> Callable[..., Tensor]:
    """The model through torch.compile, where that is wanted and works.

    It shares its weights with the model. Compiling needs a compiler on the machine;
    where there is none, a warning says why, and the model itself comes back.

    Args:
        wanted: None means on CUDA only.
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
    return torch.compile(model)


def to_device(
    ids: Int[Tensor, "batch time"], device: torch.device
) -> Int[Tensor, "batch time"]:
    """Ids on a device, without waiting for it."""
    if device.type == "cuda":
        ids = ids.pin_memory()  # only from there can the card fetch them by itself
    return ids.to(device, non_blocking=True)
