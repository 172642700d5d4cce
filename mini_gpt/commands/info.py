"""`mini-gpt info`: what a model consists of and what it costs, without building it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mini_gpt.config import PRESETS, GPTConfig
from mini_gpt.diagnostics import (
    decoding_bytes,
    flops_per_token,
    parameters_by_component,
)
from mini_gpt.support.hub import SHIPPED, SHIPPED_NAME
from mini_gpt.support.model_folder import load_config


@dataclass(frozen=True)
class Info:
    """Print a model's parameters, its FLOPs per token and the memory it takes. Builds
    nothing.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A preset, for instance gpt2-xl; the folder of a model, ours or Hugging Face's
    GPT-2; or shakespeare, the model that comes with the package.
    """
    batch_size: int = 1
    """Texts generated side by side, for the memory of decoding."""


def run_info(command: Info) -> None:
    """Print what follows from a model's shape alone."""
    if command.batch_size < 1:
        raise ValueError(f"batch_size {command.batch_size} must be at least 1")
    print(describe_model(command.model, shape_of(command.model), command.batch_size))


def shape_of(name: str) -> GPTConfig:
    """The shape of a preset, of the model in a folder, or of the one that is shipped.

    Args:
        name: A preset's name, a path, or "shakespeare".

    Raises:
        ValueError: listing the presets, if it is neither.
    """
    if name in PRESETS:
        return GPTConfig.preset(name)
    folder = SHIPPED if name == SHIPPED_NAME else Path(name)
    if not folder.exists():
        raise ValueError(
            f"{name!r} is neither a folder nor a preset; the presets are "
            f"{', '.join(PRESETS)}"
        )
    run = folder / "checkpoint"  # a run keeps its newest model there
    return load_config(run if run.is_dir() else folder)


def describe_model(name: str, config: GPTConfig, batch_size: int = 1) -> str:
    """A table of parameters by component, FLOPs per token and memory.

    Args:
        name: What to call the model.
        config: Its shape.
        batch_size: Texts generated side by side (B).
    """
    parts = parameters_by_component(config)
    total, context = sum(parts.values()), config.context_length
    trained = 16 * total  # as `training_bytes`, which loads what takes a second
    training = flops_per_token(config)
    decoding = decoding_bytes(config, batch_size), decoding_bytes(config, batch_size, 2)
    heading = (
        f"{name}: {config.layers} layers, width {config.width}, {config.heads} heads, "
        f"vocabulary {config.vocab_size:,}, context {context:,}"
    )
    tables: dict[str, list[tuple[str, int, str]]] = {
        "parameters": [
            *((part, count, f"{count / total:6.1%}") for part, count in parts.items()),
            ("total", total, ""),
        ],
        f"FLOPs per token, at the full context of {context:,}": [
            ("forward", training // 3, ""),
            ("forward and backward", training, ""),
        ],
        "memory in bytes": [
            ("weights, float32", 4 * total, ""),
            ("training, float32, AdamW", trained, "before activations"),
            ("decoding, float32", decoding[0], f"batch size {batch_size}"),
            ("decoding, bfloat16", decoding[1], f"batch size {batch_size}"),
        ],
    }
    lines = [heading]
    for title, rows in tables.items():
        lines += ["", title]
        lines += [f"  {row:<28}{n:>16,}  {note}".rstrip() for row, n, note in rows]
    return "\n".join(lines)
