"""Losses and gradients that are not finite: left out, and traced to their source."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn


def step_if_finite(healthy: Bool[Tensor, ""], optimizer: torch.optim.Optimizer) -> None:
    """Take an optimizer's step, or leave weights and optimizer exactly as they are.

    A fused optimizer, such as our AdamW, is told on the device, and so is our Muon:
    nothing waits for the answer. Any other can only be asked to step or not: Python
    must then know, and waits until the device has said so.
    """
    if optimizer.defaults.get("fused") or hasattr(optimizer, "found_inf"):
        optimizer.found_inf = (~healthy).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif healthy:
        optimizer.step()


def find_nonfinite(model: nn.Module, inputs: Int[Tensor, "batch time"]) -> str:
    """Where numbers that are not finite come from: a weight, or some part's output.

    The model is run once on the inputs, without gradients.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the weight {name} is not finite; go on from an older checkpoint"
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        return hook

    handles = [
        part.register_forward_hook(watch(name)) for name, part in model.named_modules()
    ]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if found:  # the first to finish is the innermost
        part = found[0] or "the model"
        return f"the weights are finite, but the output of {part} is not"
    return "weights and outputs are finite, so the gradient overflows on its way back"


def check_highest(highest: list[float]) -> None:
    """Raise ValueError unless each row's highest score is a finite number."""
    if not all(map(math.isfinite, highest)):
        raise ValueError(
            f"the model's highest score is {highest}, not a finite number; its weights "
            "are damaged, or its training has diverged"
        )


def diverged(what: str, config: Any) -> FloatingPointError:
    """The error of a run that no longer learns, with a remedy.

    Args:
        config: The settings of the run.
    """
    return FloatingPointError(
        f"{what}. Try a lower learning_rate than {config.learning_rate}, or more "
        f"warmup_steps than {config.warmup_steps}"
    )


def finite(loss: float, step: int, config: Any) -> float:
    """The loss, if it is a number."""
    if math.isfinite(loss):
        return loss
    raise diverged(f"the loss is {loss} at step {step}", config)
