"""A model and its tokenizer in a folder: our own format, and Hugging Face's GPT-2."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from mini_gpt.characters import CharTokenizer, Tokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.gpt2 import gpt2_config, load_gpt2
from mini_gpt.model import GPT
from mini_gpt.support.files import (
    atomic_folder,
    file_digest,
    printable,
    read_json,
    read_text,
    text_digest,
)
from mini_gpt.support.hub import SHIPPED, local_folder, model_in
from mini_gpt.support.huggingface_reader import read_huggingface_tokenizer
from mini_gpt.support.model_checks import faults_in
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE, save_tokenizer
from mini_gpt.support.weights import (
    check_fit,
    load_weights,
    stored_tensors,
    weights_to_save,
)
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer

FORMAT, VERSION = "mini_gpt", 2
CHECKPOINT_FILES = ("config.json", "model.safetensors", TOKENIZER_FILE)


def save_pretrained(
    model: nn.Module, tokenizer: Tokenizer, folder: str | os.PathLike[str]
) -> None:
    """Write a model and its tokenizer for `from_pretrained`, whole or not at all.

    Args:
        model: A GPT, or what `torch.compile` made of one.
        tokenizer: The tokenizer that its ids come from.
        folder: The folder to create. An older checkpoint there is replaced.

    Raises:
        TypeError: if the model is not a GPT.
        ValueError: if the tokenizer has more ids than the model, or the weights are not
            finite or not of one number format.
        FileExistsError: if the folder holds other files.
    """
    plain, weights = weights_to_save(model)
    check_fit(folder, tokenizer, plain.config)
    content = {"format": FORMAT, "version": VERSION, **asdict(plain.config)}
    with atomic_folder(folder, replaces=CHECKPOINT_FILES) as partial:
        save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
        save_tokenizer(tokenizer, partial / TOKENIZER_FILE)
        content["sha256"] = digests(partial, plain.config)
        text = json.dumps(content, indent=2) + "\n"
        (partial / "config.json").write_text(text, encoding="utf-8")


def digests(folder: Path, config: GPTConfig) -> dict[str, str]:
    """What tells a damaged model: SHA-256 of its shape, its weights and its tokenizer.

    Of the shape, what differs from the defaults counts, so that fields which later
    versions add do not change it.
    """
    defaults = asdict(GPTConfig())
    shape = {k: v for k, v in asdict(config).items() if v != defaults[k]}
    return {
        "shape": text_digest(json.dumps(shape, sort_keys=True)),
        "model.safetensors": file_digest(folder / "model.safetensors"),
        # Of its text, since an editor may leave a mark at the beginning of a file.
        TOKENIZER_FILE: text_digest(read_text(folder / TOKENIZER_FILE)),
    }


def check_digests(folder: Path, content: Mapping[str, Any], config: GPTConfig) -> None:
    """Raise ValueError where a model of ours is not as `save_pretrained` left it."""
    stated, found = content.get("sha256"), digests(folder, config)
    if not isinstance(stated, dict):
        raise ValueError(f"{folder / 'config.json'} has no digests under sha256")
    if changed := [name for name in found if stated.get(name) != found[name]]:
        raise ValueError(
            f"{folder}: {', '.join(changed)} changed after it was saved, by damage or "
            "by hand (sha256 in config.json differs); copy the folder anew, and change "
            "fields of the shape by from_pretrained(..., dropout=0.1)"
        )


def is_ours(content: Mapping[str, Any]) -> bool:
    """Whether a `config.json` with this content is of our own format."""
    return content.get("format") == FORMAT


def config_from(content: Mapping[str, Any], path: Path) -> GPTConfig:
    """The shape that a `config.json` describes, ours or that of Hugging Face's GPT-2.

    Args:
        path: The file, for messages.

    Raises:
        ValueError: if it describes another model.
    """
    if not is_ours(content):
        with faults_in(path):
            return gpt2_config(content)
    if (version := content.get("version")) != VERSION:
        raise ValueError(
            f"{path} has version {printable(version)} of our format, this program "
            f"reads {VERSION}; it was written by another mini_gpt: train the model anew"
        )
    others = ("format", "version", "sha256")
    fields = {k: v for k, v in content.items() if k not in others}
    with faults_in(path):
        return GPTConfig(**fields)


def load_config(folder: Path) -> GPTConfig:
    """The shape of the model in a folder. No weight is read.

    Raises:
        ValueError: if there is no `config.json`, or it describes another model.
    """
    path = model_in(folder) / "config.json"
    return config_from(read_json(path), path)


def from_pretrained(
    name_or_folder: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    **overrides: Any,
) -> tuple[GPT, CharTokenizer | BPETokenizer]:
    """Read a model and its tokenizer: what `save_pretrained` wrote, or a GPT-2.

    Args:
        name_or_folder: "shakespeare" for the model that comes with the package; a
            folder, ours or Hugging Face's, or that of a run; or a GPT-2 on the hub,
            for instance "gpt2" or "openai-community/gpt2".
        device: Where to put the weights.
        dtype: Their number format. None means that of the file, and float32 for the
            model that comes with the package, whose file is in half precision to be
            small.
        revision: On the hub: a branch, a tag or a commit.
        token: For the hub; True means the one that is stored on this machine.
        local_files_only: Whether to look into the hub's cache only.
        overrides: Fields of `GPTConfig` to change, for instance `dropout=0.1`, which is
            then that of every place; those that change the shape of a weight are
            refused.

    Returns:
        The model, in evaluation mode, and its tokenizer.

    Raises:
        ValueError: if the folder is not a checkpoint, or has changed since it was
            saved, or its weights are not those that its configuration asks for. The
            message lists all that is wrong, and nothing is loaded.
        TypeError: if an override is no field of `GPTConfig`, or of another kind.
        OSError: if a file cannot be read or fetched.
    """
    folder = local_folder(
        name_or_folder,
        revision=revision,
        token=token,
        local_files_only=local_files_only,
    )
    if dtype is None and folder == SHIPPED:
        dtype = torch.float32
    path = folder / "config.json"
    content = read_json(path)
    described = config_from(content, path)
    if "dropout" in overrides:  # one for all, but for places that are named beside it
        overrides = {"embedding_dropout": None, "attention_dropout": None} | overrides
    config = replace(described, **overrides)
    if not is_ours(content):
        tokenizer = read_tokenizer_of(folder)
        check_fit(folder, tokenizer, config)
        return load_gpt2(folder, config, device, dtype), tokenizer
    missing = [name for name in CHECKPOINT_FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder} is not a mini_gpt checkpoint: it has no {', '.join(missing)}"
        )
    tokenizer = load_tokenizer(folder / TOKENIZER_FILE)
    check_fit(folder, tokenizer, config)
    stored = stored_tensors(folder)
    model = load_weights(config, folder, stored, device=device, dtype=dtype)
    check_digests(folder, content, described)
    return model, tokenizer


def read_tokenizer_of(folder: Path) -> CharTokenizer | BPETokenizer:
    """The tokenizer beside a GPT-2: our file where there is one, else their files."""
    if (folder / TOKENIZER_FILE).is_file():
        return load_tokenizer(folder / TOKENIZER_FILE)
    return read_huggingface_tokenizer(folder)
