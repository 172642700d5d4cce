"""What a training run asks of the machine: device, compiler, signals, progress bar, metrics."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mini_gpt.files import atomic_file
from mini_gpt.parallel import launched, own_device

# Floating-point operations per second of dense products in bfloat16 (or float16), by the name that
# PyTorch gives the card. NVIDIA's figures for A100 and, for H100 (SXM) and H200, which share their
# processor; taken from tables that quote its data sheets, not from the sheets themselves.
# The larger numbers in advertisements are for matrices half of which are zeros.
PEAKS = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H200": 989.4e12,
}


def device_peak(device: torch.device, precision: str) -> float | None:
    """What a device could do at most, in floating-point operations per second.

    Args:
        device: Where a model is trained.
        precision: Number format of its matrix products; other formats have other peaks.

    Returns:
        None where we know no peak: a guess would make every share of it a guess as well.
    """
    if device.type != "cuda" or precision not in ("bfloat16", "float16"):
        return None
    return PEAKS.get(torch.cuda.get_device_name(device))


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name, or the best there is: CUDA, then Apple's MPS, then the CPU.

    Args:
        name: "auto", "cpu", "cuda", "mps", or any other name that PyTorch knows.

    Raises:
        ValueError: if the name is unknown or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return own_device(torch.device("cuda"))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = own_device(torch.device(name))
        torch.zeros(1, device=device).item()  # a device that computes
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(f"device {name!r} is not available here; use 'auto' or 'cpu'") from None
    return device


def resolve_precision(device: torch.device, name: str = "auto") -> str:
    """The number format of matrix products: "float32", "bfloat16" or "float16".

    Args:
        device: Where they are computed.
        name: One of these, or "auto": bfloat16 on CUDA cards that have it, float16 on older ones,
            float32 elsewhere.
    """
    if name == "auto":
        if device.type != "cuda":
            return "float32"
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if native else "float16"
    if name == "bfloat16" and device.type == "cpu" and not cpu_has_bfloat16():
        warnings.warn(
            "this processor has no bfloat16 instructions: expect it to be slower than float32",
            stacklevel=2,
        )
    return name


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices by itself."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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


def step_if(healthy: Bool[Tensor, ""], optimiser: torch.optim.Optimizer) -> None:
    """Take an optimiser's step, or leave weights and optimiser exactly as they are.

    A fused optimiser is told on the device, so that nothing waits for the answer.

    Args:
        healthy: Whether to take it.
        optimiser: Holds the parameters and their gradients.
    """
    if optimiser.defaults.get("fused"):
        optimiser.found_inf = (~healthy).float()  # type: ignore[attr-defined]
        optimiser.step()
    elif healthy:
        optimiser.step()


def first_astray(model: nn.Module, inputs: Int[Tensor, "batch time"]) -> str:
    """Where numbers that are not finite come from: a weight, or the first part that makes one.

    Args:
        model: The model; it is asked once, without gradients.
        inputs: What to ask it.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the weight {name} is not finite; go on from an older checkpoint"
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        return hook

    handles = [part.register_forward_hook(look(name)) for name, part in model.named_modules()]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"the weights are finite, but the output of {found[0] or 'the model'} is not"
    return "weights and outputs are finite, so the gradient overflows on its way back"


class Stop:
    """Whether somebody has asked the run to stop: the name of the signal, or None."""

    def __init__(self) -> None:
        self.asked: str | None = None


class TrainingStopped(RuntimeError):
    """A run ended early because it was asked to; what it had reached is saved.

    Args:
        done: Steps done.
        steps: Steps that were to be done.
        run: The run's folder.
        signal_name: The signal that asked.
    """

    def __init__(self, done: int, steps: int, run: Path | None, signal_name: str | None) -> None:
        super().__init__(
            f"stopped by {signal_name or 'another process'} after step {done:,} of {steps:,}, "
            f"and saved; go on with: mini-gpt train --resume {run}"
        )
        self.signal_name = signal_name


@contextmanager
def stop_on_signals(wanted: bool) -> Iterator[Stop]:
    """Note SIGINT and SIGTERM instead of dying from them; a second one acts as usual.

    Args:
        wanted: False does nothing. Nor can a thread other than the main one do this.
    """
    stop = Stop()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        stop.asked = signal.Signals(number).name
        for other, handler in before.items():
            if not launched():  # torchrun sends another signal as soon as it has had one itself
                signal.signal(other, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def progress_bar(done: int, steps: int, shown: bool | None) -> Any:
    """A tqdm bar on stderr, drawn twice a second.

    Args:
        done: Steps taken already.
        steps: Steps in all.
        shown: Whether to show it; None means on a terminal only.
    """
    shown = sys.stderr.isatty() if shown is None else shown
    return tqdm(
        initial=done,
        total=steps,
        disable=not shown,
        unit="step",
        dynamic_ncols=True,
        mininterval=0.5,
        bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}{postfix}]",
    )


class Metrics:
    """Writes down what a run measures: JSON lines, and TensorBoard's files where it is installed.

    Args:
        folder: The run's folder, created where missing; None writes nothing.
        history: What a resumed run had measured when it was saved; later lines are dropped.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, history: list[dict[str, Any]] | None = None
    ) -> None:
        self.path = None if folder is None else Path(folder) / "metrics.jsonl"
        self.board: Any = None
        if self.path is None:
            return
        with atomic_file(self.path) as partial:
            partial.write_text("".join(map(line, history or [])), encoding="utf-8")
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.path.parent / "tensorboard"))

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry; what is None or a list is left out."""
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line(entry))
        if self.board is not None and "step" in entry:
            for name, value in entry.items():
                if name != "step":
                    self.board.add_scalar(name, value, entry["step"])
            self.board.flush()


def line(entry: dict[str, Any]) -> str:
    """An entry as a line of JSON, without what is None or a list."""
    kept = {
        name: value for name, value in entry.items() if not isinstance(value, list | type(None))
    }
    return json.dumps(kept) + "\n"
