"""What a training run asks of the machine: device, compiler, progress bar, log of metrics."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name, or the best there is: CUDA, then Apple's MPS, then the CPU.

    Args:
        name: "auto", "cpu", "cuda", "mps", or any other name that PyTorch knows.

    Raises:
        ValueError: if the name is unknown or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # a device that computes
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(f"device {name!r} is not available here; use 'auto' or 'cpu'") from None
    return device


def compiled(
    model: nn.Module, device: torch.device, wanted: bool | None = None
) -> Callable[..., Tensor]:
    """The model through torch.compile, where that is wanted and works; it shares its weights.

    Compiling needs a compiler on the machine. Where there is none, a warning says why, and the
    model itself comes back.

    Args:
        model: The model.
        device: Where it is.
        wanted: As `compile` in `TrainConfig`.
    """
    if not (device.type == "cuda" if wanted is None else wanted):
        return model
    try:
        torch.compile(F.silu)(torch.ones(8, device=device))
    except Exception as fault:  # many kinds, from missing compilers to unsupported Pythons
        reason = (str(fault).strip() or type(fault).__name__).splitlines()[0]
        warnings.warn(f"training without torch.compile, which fails here: {reason}", stacklevel=2)
        return model
    return torch.compile(model)


def to_device(ids: Int[Tensor, "batch time"], device: torch.device) -> Int[Tensor, "batch time"]:
    """Ids on a device, without waiting for it."""
    if device.type == "cuda":
        ids = ids.pin_memory()  # only from pinned memory can the card fetch them by itself
    return ids.to(device, non_blocking=True)


def progress_bar(done: int, steps: int, shown: bool) -> Any:
    """A tqdm bar on stderr, drawn twice a second, or every ten seconds into a file."""
    return tqdm(
        initial=done,
        total=steps,
        disable=not shown,
        unit="step",
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 10,
        bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}{postfix}]",
    )


def start_metrics(folder: str | os.PathLike[str]) -> Path:
    """An empty `metrics.jsonl` in a folder, which is created where missing; returns its path."""
    path = Path(folder) / "metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")
    return path


def append_line(path: Path, entry: dict[str, Any]) -> None:
    """Add an entry to a file of JSON lines; what is None is left out."""
    kept = {name: value for name, value in entry.items() if value is not None}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(kept) + "\n")
