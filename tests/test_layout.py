"""Weights that are stored by input: the same map, the same gradients, the same files."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mini_gpt import GPT, CharTokenizer, GPTConfig, SampleConfig, generate, save_pretrained
from mini_gpt.layout import stored_by_input, stored_for_writing

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


def test_a_model_stored_for_writing_writes_the_same() -> None:
    torch.manual_seed(0)
    model = GPT(CONFIG)
    writing = stored_for_writing(copy.deepcopy(model))
    for (name, mine), own in zip(writing.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, own)
        assert mine.is_contiguous() == (not name.endswith(WIDENING))
        assert own.is_contiguous()
    ids = torch.tensor([[1, 2, 3, 4, 5], [9, 0, 10, 7, 7]])
    torch.testing.assert_close(writing(ids), model(ids), rtol=0, atol=1e-6)
    tokenizer = CharTokenizer("abcdefghijk")
    config = SampleConfig(max_new_tokens=5, temperature=0.0)
    texts = [generate(some, tokenizer, ["ab"], config)[0].ids for some in (model, writing)]
    assert texts[0] == texts[1]


def test_files_hold_the_weights_as_everybody_stores_them(tmp_path: Path) -> None:
    model = stored_for_writing(GPT(CONFIG))
    save_pretrained(model, CharTokenizer("abc"), tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensors[name], tensor)


def test_the_initial_weights_do_not_depend_on_the_layout() -> None:
    """Drawn in the order of the shape: a layout that changes must not change a seed's meaning."""
    plain, other = GPT(CONFIG), stored_for_writing(GPT(CONFIG))
    for model in (plain, other):
        torch.manual_seed(4)
        model.initialise()
    state = other.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in plain.state_dict().items())
