"""The weights of the shipped model, for chapters that come before the model."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from mini_gpt.config import GPTConfig
from mini_gpt.support.files import read_json
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer

FOLDER = Path(__file__).parent.parent / "pretrained" / "shakespeare"


def shipped_weights() -> tuple[GPTConfig, BPETokenizer, dict[str, Tensor]]:
    """The shipped model taken apart: its shape, its tokenizer, its tensors by name."""
    content = read_json(FOLDER / "config.json")
    names = {field.name for field in fields(GPTConfig)}
    config = GPTConfig(**{key: content[key] for key in content.keys() & names})
    tokenizer = load_tokenizer(FOLDER / "mini_gpt_tokenizer.json")
    assert isinstance(tokenizer, BPETokenizer)
    stored = load_file(FOLDER / "model.safetensors")  # half precision, to save space
    return config, tokenizer, {name: part.float() for name, part in stored.items()}


def part_of(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
