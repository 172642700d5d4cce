"""What can be wrong with a model's folder, and what is said about it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mini_gpt.characters import Tokenizer
from mini_gpt.model import GPT
from mini_gpt.support.model_folder import from_pretrained, save_pretrained

NAME = "decoder.final_norm.bias"


def refusals(model: GPT, tokenizer: Tokenizer) -> dict[str, str]:
    """What `from_pretrained` says about damaged copies of a folder, by damage."""
    width = model.config.width
    changes: dict[str, Callable[[dict[str, Tensor]], object]] = {
        "a tensor is missing": lambda tensors: tensors.pop(NAME),
        "another width, and one tensor more": lambda tensors: tensors.update(
            {NAME: torch.zeros(width + 1), "extra": torch.zeros(1)}
        ),
        "whole numbers": lambda tensors: tensors.update(
            {NAME: torch.zeros(width, dtype=torch.long)}
        ),
        "not a number": lambda tensors: tensors[NAME].fill_(math.nan),
    }
    said = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "damaged"
        for damage, change in changes.items():
            save_pretrained(model, tokenizer, folder)
            tensors = {n: tensor.clone() for n, tensor in model.state_dict().items()}
            change(tensors)
            save_file(tensors, folder / "model.safetensors")
            said[damage] = answer(folder).split(" configuration: ")[-1]
        save_pretrained(model, tokenizer, folder)
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        cut = "may be cut short" in answer(folder)
        said["100 bytes cut off"] = "the file may be cut short" if cut else ""
    return said


def answer(folder: Path) -> str:
    """The error that reading this folder ends with."""
    try:
        from_pretrained(folder)
    except ValueError as fault:
        return str(fault)
    raise AssertionError("the damaged folder was read")
