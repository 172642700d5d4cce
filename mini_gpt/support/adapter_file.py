"""Adapters in safetensors files: what was learned beside a model that is kept."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mini_gpt.finetuning import add_lora
from mini_gpt.model import GPT
from mini_gpt.support.files import atomic_file, parse_json, printable
from mini_gpt.support.resizing import resize_vocab
from mini_gpt.support.weights import open_safetensors

FORMAT, VERSION = "mini_gpt adapter", 1
TABLE, NEW_ROWS = "token_embedding.weight", "token_embedding.new_rows"


def save_adapter(
    model: GPT, base: GPT, path: str | os.PathLike[str], *, base_name: str = ""
) -> None:
    """Write what sets a model with LoRA apart from the one that it was made of.

    That is the low-rank maps and the vectors of new tokens, with the digest of the
    model that they belong to. A file of this name is replaced, whole or not at all.

    Args:
        model: What `add_lora` made of `base`, or of a copy with more tokens.
        base: The model that was there before.
        base_name: What `from_pretrained` calls it; for messages and for commands.

    Raises:
        ValueError: if the model has no LoRA, other weights of it have changed, or a
            number is not finite.
    """
    maps = _maps(model)
    if not maps:
        raise ValueError("the model has no LoRA to save; add_lora puts it in")
    tensors = {name: p.detach().cpu().contiguous() for name, p in maps.items()}
    known, table = base.config.vocab_size, model.state_dict()[TABLE]
    if model.config.vocab_size > known:
        tensors[NEW_ROWS] = table[known : model.config.vocab_size].cpu().contiguous()
    if changed := _changed(model, base):
        raise ValueError(
            f"besides the LoRA, {', '.join(changed[:3])} differ from the base model; "
            "an adapter cannot hold that: merge_lora, then save_pretrained"
        )
    _check_finite("the model", tensors)
    first: Any = next(part for part in model.modules() if _is_lora(part))
    content = {
        "version": VERSION,
        "rank": first.rank,
        "alpha": first.scale * first.rank,
        "targets": sorted({name.split(".")[-2] for name in maps}),
        "base": base_name,
        "base_sha256": digest(base),
    }
    metadata = {"format": FORMAT, "adapter": json.dumps(content)}
    with atomic_file(Path(path)) as partial:
        save_file(tensors, partial, metadata=metadata)


def load_adapter(base: GPT, path: str | os.PathLike[str]) -> GPT:
    """A copy of a model with the LoRA and the new tokens of a file.

    Args:
        base: The model that the adapter was made for.

    Returns:
        The model in evaluation mode; only its low-rank maps can be trained.

    Raises:
        ValueError: if the file is no adapter, or does not fit this model. The message
            says why, and nothing is loaded.
        OSError: if it cannot be read.
    """
    path = Path(path)
    content, tensors = _read(path)
    new = tensors.pop(NEW_ROWS, torch.zeros(0, base.config.width))
    model = copy.deepcopy(base)
    if len(new):
        model = resize_vocab(base, base.config.vocab_size + len(new))
    try:
        add_lora(model, content["rank"], content["alpha"], content["targets"])
    except (KeyError, TypeError, ValueError) as fault:
        raise ValueError(f"{path} does not fit this model: {fault}") from None
    _check_shapes(path, tensors, new, model)
    if content.get("base_sha256") != digest(base):
        name = printable(content.get("base", ""), 60) or "another model"
        raise ValueError(
            f"{path} was made for the weights of {name} as they were then, and this "
            "model has others; load the model that it was made for"
        )
    _check_finite(os.fspath(path), {NEW_ROWS: new, **tensors})
    with torch.no_grad():
        known, table = base.config.vocab_size, model.token_embedding.weight
        table[known : known + len(new)] = new.to(table)
        for name, parameter in _maps(model).items():
            parameter.copy_(tensors[name])
    return model.eval()


def base_of(path: str | os.PathLike[str]) -> str:
    """The name of the model that an adapter was made for; empty if it has none.

    Raises:
        ValueError: if the file is no adapter.
    """
    return str(_read(Path(path))[0].get("base", ""))


def digest(model: GPT) -> str:
    """The SHA-256 of a model's weights, in float32, in the order of their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return found.hexdigest()


def _is_lora(part: nn.Module) -> bool:
    """Whether it is a `LoRALinear`, by what it has: the chapter makes its own class."""
    return all(hasattr(part, name) for name in ("base", "down", "up", "scale"))


def _maps(model: GPT) -> dict[str, Tensor]:
    """The low-rank maps of a model by name."""
    return {
        f"{name}.{kind}": getattr(part, kind)
        for name, part in model.named_modules()
        if _is_lora(part)
        for kind in ("down", "up")
    }


def _changed(model: GPT, base: GPT) -> list[str]:
    """The weights of the base model that the other no longer has."""
    has = {n.replace(".base.", "."): x for n, x in model.state_dict().items()}
    known = base.config.vocab_size
    has[TABLE] = has[TABLE][:known]
    asked = {**base.state_dict(), TABLE: base.state_dict()[TABLE][:known]}
    return [name for name in asked if not torch.equal(asked[name], has[name])]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an adapter's file says of itself, and its tensors."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no adapter {path}")
    with open_safetensors(path) as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path} is not an adapter that save_adapter wrote")
        content = parse_json(metadata.get("adapter", ""), f"the header of {path}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ValueError(
            f"{path} is an adapter of another version than {VERSION}; train it anew"
        )
    return content, tensors


def _check_shapes(
    path: Path, tensors: Mapping[str, Tensor], new: Tensor, model: GPT
) -> None:
    """Refuse an adapter whose tensors are not those that the model asks for."""
    expected = {name: tuple(x.shape) for name, x in _maps(model).items()}
    found = {name: tuple(x.shape) for name, x in tensors.items()}
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is not expected" for name in found if name not in expected]
    faults += [
        f"{name} has shape {found[name]}, expected {expected[name]}"
        for name in expected
        if found.get(name, expected[name]) != expected[name]
    ]
    if new.ndim != 2 or new.shape[1] != model.config.width:
        faults.insert(0, f"{NEW_ROWS} has shape {tuple(new.shape)}")
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        said = printable("; ".join(faults[:3]))
        raise ValueError(f"{path} does not fit this model: {said}{more}")


def _check_finite(name: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse numbers that are not finite."""
    if bad := [key for key, x in tensors.items() if not x.isfinite().all()]:
        raise ValueError(f"{name}: numbers that are not finite in {', '.join(bad)}")
