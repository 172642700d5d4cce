"""Weights that are stored by input: the same map, the same gradients, the same files."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mini_gpt import GPT, CharTokenizer, GPTConfig, from_pretrained, save_pretrained
from mini_gpt.layout import stored_by_input

CONFIG = GPTConfig(vocab_size=11, context_length=7, layers=2, heads=2, width=12)
WIDENING = ("query_key_value.weight", "expand.weight")


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_same_map(bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(3, 5, bias=bias).double()
    other = stored_by_input(copy.deepcopy(plain))
    assert other.weight.stride() == (1, 5)
    assert torch.equal(other.weight, plain.weight)
    inputs = torch.randn(4, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(other(inputs), plain(inputs), rtol=0, atol=1e-14)
    for linear in (plain, other):
        linear(inputs).square().sum().backward()
    for mine, own in zip(other.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, own.grad, rtol=0, atol=1e-12)
    assert other.weight.grad.stride() == (1, 5)


def widening(model: GPT) -> list[nn.Parameter]:
    found = [p for name, p in model.named_parameters() if name.endswith(WIDENING)]
    assert len(found) == 2 * model.config.layers
    return found


def test_the_model_keeps_the_layout_through_copies_and_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GPT(CONFIG)
    save_pretrained(model, CharTokenizer("abc"), tmp_path / "model")
    loaded = from_pretrained(tmp_path / "model")[0]
    half = copy.deepcopy(model).bfloat16()
    for some in (model, copy.deepcopy(model), half, loaded):
        assert all(p.stride() == (1, len(p)) for p in widening(some))
    state = model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


def test_files_hold_the_weights_as_everybody_stores_them(tmp_path: Path) -> None:
    model = GPT(CONFIG)
    save_pretrained(model, CharTokenizer("abc"), tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    assert tensors["decoder.blocks.0.feed_forward.expand.weight"].shape == (48, 12)


def test_the_initial_weights_do_not_depend_on_the_layout() -> None:
    """Drawn in the order of the shape: a layout that changes must not change a seed's meaning."""
    torch.manual_seed(3)
    model = GPT(CONFIG)
    torch.manual_seed(3)
    other = GPT(CONFIG)
    for module in other.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach().contiguous())
    torch.manual_seed(4)
    model.initialise()
    torch.manual_seed(4)
    other.initialise()
    state = other.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
