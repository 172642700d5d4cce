"""Numbers that are not finite: a step is left out whole, and the first culprit is named."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from mini_gpt.optimizer import OptimizerConfig, make_optimizers
from mini_gpt.support.nonfinite import find_nonfinite, step_if_finite
from tiny import tiny_gpt


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_is_taken_or_changes_nothing(fused: bool) -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    optimizer = torch.optim.AdamW([weight], lr=0.5, fused=fused)
    for healthy, step in ((True, 1), (False, 1), (True, 2)):
        before = weight.detach().clone()
        weight.grad = torch.tensor([1.0, 1.0, 1.0 if healthy else math.nan])
        step_if_finite(torch.tensor(healthy), optimizer)
        assert torch.equal(weight, before) is not healthy
        assert int(optimizer.state[weight]["step"]) == step
        assert all(value.isfinite().all() for value in optimizer.state[weight].values())


def test_nobody_waits_for_the_verdict_of_a_step() -> None:
    """A tensor on the meta device has no value: reading it would raise."""
    model = tiny_gpt().to("meta")
    for optimizer in make_optimizers(model, OptimizerConfig(optimizer="muon")):
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        healthy = torch.tensor(True, device="meta")
        if isinstance(optimizer, torch.optim.AdamW):
            continue  # its fused kernel knows no meta device; it is PyTorch's own
        step_if_finite(healthy, optimizer)
        assert len(optimizer.state) == 4 * 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("weight", "the weight decoder.final_norm.bias is not finite; go on from an older"),
        ("part", "the weights are finite, but the output of decoder.blocks.1.feed_forward is not"),
        ("model", "the weights are finite, but the output of the model is not"),
        ("none", "weights and outputs are finite, so the gradient overflows"),
    ],
)
def test_the_first_culprit_is_named(fault: str, words: str) -> None:
    model = tiny_gpt()

    def poison(module: nn.Module, given: Any, out: torch.Tensor) -> torch.Tensor:
        return out * math.inf

    if fault == "weight":
        with torch.no_grad():
            model.decoder.final_norm.bias[2] = math.nan
    elif fault == "part":
        model.decoder.blocks[1].feed_forward.register_forward_hook(poison)
    elif fault == "model":
        model.register_forward_hook(poison)
    assert find_nonfinite(model, torch.arange(5)[None]).startswith(words)
    assert not any(part._forward_hooks for part in model.decoder.blocks[0].modules())
