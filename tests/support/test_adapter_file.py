"""Adapters: what comes back from a file, and that what does not fit is refused in words."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from mini_gpt.finetuning import LoRALinear, add_lora, merge_lora
from mini_gpt.model import GPT
from mini_gpt.support.adapter_file import base_of, load_adapter, save_adapter
from mini_gpt.support.resizing import resize_vocab
from tiny import tiny_gpt

IDS = torch.tensor([[3, 1, 16, 4, 0]])


def adapted(base: GPT, new_tokens: int = 0, rank: int = 3) -> GPT:
    """A copy of a model with LoRA that is no longer zero, and with more tokens."""
    model = resize_vocab(base, base.config.vocab_size + new_tokens).eval()
    with torch.no_grad():
        model.token_embedding.weight[base.config.vocab_size :].normal_()
    add_lora(model, rank, alpha=5.0, targets=("output", "expand"))
    for part in model.modules():
        if isinstance(part, LoRALinear):
            nn.init.normal_(part.up, std=0.3)
    return model


@pytest.fixture
def base() -> GPT:
    return tiny_gpt().eval()


@pytest.fixture
def path(tmp_path: Path, base: GPT) -> Path:
    save_adapter(adapted(base, 2), base, tmp_path / "a.safetensors", base_name="tiny")
    return tmp_path / "a.safetensors"


def rewritten(path: Path, **changes: object) -> Path:
    """The file with other words in its header (None drops the mark of the format)."""
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
    content = {**json.loads(metadata["adapter"]), **changes}
    save_file(load_file(path), path, metadata={**metadata, "adapter": json.dumps(content)})
    return path


@pytest.mark.parametrize("new_tokens", [0, 2])
def test_gives_back_the_same_logits(tmp_path: Path, base: GPT, new_tokens: int) -> None:
    model = adapted(base, new_tokens)
    save_adapter(model, base, tmp_path / "a.safetensors", base_name="tiny")
    found = load_adapter(base, tmp_path / "a.safetensors")
    assert torch.equal(found(IDS), model(IDS))
    assert base_of(tmp_path / "a.safetensors") == "tiny"
    assert torch.equal(base(IDS), tiny_gpt().eval()(IDS))  # it is left as it was
    frozen = {name for name, weight in found.named_parameters() if not weight.requires_grad}
    assert not any(name.endswith((".up", ".down")) for name in frozen)
    merge_lora(found)
    torch.testing.assert_close(found(IDS), model(IDS), atol=1e-6, rtol=1e-5)


def test_holds_nothing_of_the_base(path: Path) -> None:
    names = load_file(path)
    assert all(name.endswith((".up", ".down", ".new_rows")) for name in names)
    assert sum(x.numel() for x in names.values()) == 2 * 3 * (12 + 12 + 12 + 48) + 2 * 12


class TestSaving:
    def test_needs_lora(self, tmp_path: Path, base: GPT) -> None:
        with pytest.raises(ValueError, match="no LoRA to save; add_lora puts it in"):
            save_adapter(base, base, tmp_path / "a.safetensors")

    def test_refuses_a_model_whose_other_weights_have_changed(
        self, tmp_path: Path, base: GPT
    ) -> None:
        model = adapted(base)
        with torch.no_grad():
            model.decoder.final_norm.weight += 0.1
        with pytest.raises(ValueError, match=r"decoder\.final_norm\.weight differ from the base"):
            save_adapter(model, base, tmp_path / "a.safetensors")
        assert not list(tmp_path.iterdir())

    def test_refuses_numbers_that_are_not_finite(self, tmp_path: Path, base: GPT) -> None:
        model = adapted(base)
        with torch.no_grad():
            model.get_submodule("decoder.blocks.1.attention.output").up[2, 1] = torch.nan
        with pytest.raises(ValueError, match=r"not finite in decoder\.blocks\.1"):
            save_adapter(model, base, tmp_path / "a.safetensors")


class TestLoading:
    def test_refuses_a_model_of_another_shape(self, path: Path) -> None:
        with pytest.raises(
            ValueError, match=r"blocks\.0\.\S+ has shape \(3, 12\), expected \(3, 15"
        ):
            load_adapter(tiny_gpt(width=15), path)
        with pytest.raises(ValueError, match=r"blocks\.2\S* is missing; .*, and 1 more"):
            load_adapter(tiny_gpt(layers=3), path)
        with pytest.raises(ValueError, match=r"blocks\.1\S* is not expected"):
            load_adapter(tiny_gpt(layers=1), path)

    def test_refuses_other_weights_of_the_same_shape(self, path: Path, base: GPT) -> None:
        other = copy.deepcopy(base)
        with torch.no_grad():
            other.decoder.final_norm.weight[0] += 1e-3
        with pytest.raises(ValueError, match="made for the weights of tiny as they were then"):
            load_adapter(other, path)

    def test_refuses_what_is_no_adapter(self, tmp_path: Path, base: GPT) -> None:
        with pytest.raises(FileNotFoundError, match="there is no adapter"):
            load_adapter(base, tmp_path / "none.safetensors")
        save_file({"x": torch.zeros(2)}, tmp_path / "b.safetensors")
        with pytest.raises(ValueError, match="is not an adapter that save_adapter wrote"):
            load_adapter(base, tmp_path / "b.safetensors")
        (tmp_path / "c.safetensors").write_bytes(b"no tensors")
        with pytest.raises(ValueError, match="cannot be read"):
            base_of(tmp_path / "c.safetensors")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"version": 2}, "of another version than 1"),
            ({"rank": 0}, "does not fit this model: rank 0 must be"),
            ({"rank": "3"}, "does not fit this model"),
            ({"rank": 4}, r"has shape \(3, 12\), expected \(4, 12\)"),
            ({"targets": ["head"]}, "does not fit this model: targets"),
            ({"targets": ["output"]}, "is not expected"),
        ],
    )
    def test_refuses_a_header_that_does_not_fit(
        self, path: Path, base: GPT, changes: dict[str, object], words: str
    ) -> None:
        with pytest.raises(ValueError, match=words):
            load_adapter(base, rewritten(path, **changes))

    def test_refuses_numbers_that_are_not_finite(self, path: Path, base: GPT) -> None:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        tensors["token_embedding.new_rows"][1, 2] = torch.inf
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(ValueError, match=r"not finite in token_embedding\.new_rows"):
            load_adapter(base, path)

    def test_refuses_new_rows_of_another_width(self, path: Path, base: GPT) -> None:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        tensors["token_embedding.new_rows"] = torch.zeros(2, 7)
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(ValueError, match=r"new_rows has shape \(2, 7\)"):
            load_adapter(base, path)
