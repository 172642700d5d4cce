"""Weights that are stored by input: the same map, the same gradients, the same files."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mini_gpt import GPT, CharTokenizer, GPTConfig, SampleConfig, generate, layout, save_pretrained
from mini_gpt.layout import LARGE, linear_function, stored_by_input, stored_for_writing
from mini_gpt.sampling import Reader

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


class TestLinearFunction:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
        """The shapes that oneDNN is asked to multiply."""
        if not layout.has_onednn():
            pytest.skip("this PyTorch comes without oneDNN")
        real, shapes = torch.ops.mkldnn._linear_pointwise, []

        def noted(vectors: torch.Tensor, *rest: object) -> torch.Tensor:
            shapes.append(tuple(vectors.shape))
            return real(vectors, *rest)

        monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", noted)
        return shapes

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("shape", [(1, 1), (3, 1), (2, 7), (1,)], ids=str)
    def test_a_large_matrix_goes_to_onednn_and_gives_the_same(
        self, shape: tuple[int, ...], bias: bool, asked: list[tuple[int, ...]]
    ) -> None:
        torch.manual_seed(0)
        linear, vectors = nn.Linear(300, 901, bias=bias), torch.randn(*shape, 300)
        function = linear_function(linear.weight, linear.bias)
        with torch.inference_mode():
            torch.testing.assert_close(function(vectors), linear(vectors), rtol=0, atol=1e-5)
            assert asked == [vectors.shape]
            linear.weight.mul_(2)  # shared, not copied
            torch.testing.assert_close(function(vectors), linear(vectors), rtol=0, atol=1e-5)

    def test_what_onednn_cannot_do_or_does_slowly_it_is_not_asked(
        self, asked: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        torch.manual_seed(0)
        large, small = nn.Linear(300, 901), nn.Linear(3, 5)
        assert small.weight.numel() < LARGE <= large.weight.numel()
        cases = [small, stored_by_input(copy.deepcopy(large)), copy.deepcopy(large).bfloat16()]
        with torch.inference_mode():
            for linear in cases:
                vectors = torch.randn(2, linear.in_features).to(linear.weight.dtype)
                function = linear_function(linear.weight, linear.bias)
                assert torch.equal(function(vectors), linear(vectors))
        vectors = torch.randn(2, 300, requires_grad=True)
        linear_function(large.weight, large.bias)(vectors).sum().backward()
        assert vectors.grad is not None
        assert large.weight.grad is not None
        monkeypatch.setattr(layout, "has_onednn", lambda: False)
        with torch.inference_mode():
            linear_function(large.weight, large.bias)(vectors)
        assert asked == []

    def test_a_wide_model_is_written_with_by_it(self, asked: list[tuple[int, ...]]) -> None:
        torch.manual_seed(0)
        shape = {"vocab_size": 1100, "context_length": 9, "layers": 2, "heads": 4, "width": 256}
        for more in ({}, {"vocab_multiple": 64}):
            model, ids = GPT(GPTConfig(**shape, **more)), torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
            reader, expected = Reader(model), model(ids).detach()
            reader.read(ids[:, :3].tolist())
            asked.clear()
            found = reader.read(ids[:, 3:].tolist())
            torch.testing.assert_close(found, expected[:, -1], rtol=0, atol=1e-5)
            assert asked == [(2, 1, 256), (2, 1, 1024)] * 2 + [(2, 1, 256)]
