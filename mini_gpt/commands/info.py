"""`mini-gpt info`: what a model consists of and what it costs, without building it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mini_gpt.files import SHIPPED, SHIPPED_NAME
from mini_gpt.gpt2 import load_config
from mini_gpt.model import (
    PRESETS,
    GPTConfig,
    decoding_bytes,
    flops_per_token,
    parameters_by_component,
    training_bytes,
)


@dataclass(frozen=True)
class Info:
    """Print a model's parameters, its FLOPs per token and the memory it takes. Builds nothing."""

    model: Annotated[str, tyro.conf.Positional]
    """A preset, for instance gpt2-xl; the folder of a model, ours or Hugging Face's GPT-2; or
    shakespeare, the model that comes with the package."""
    batch: int = 1
    """Texts generated side by side, for the memory of decoding."""


def run_info(command: Info) -> None:
    """Print what follows from a model's shape alone."""
    if command.batch < 1:
        raise ValueError(f"batch {command.batch} must be at least 1")
    print(describe_model(command.model, shape_of(command.model), command.batch))


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
            f"{name!r} is neither a folder nor a preset; the presets are {', '.join(PRESETS)}"
        )
    return load_config(folder / "checkpoint" if (folder / "checkpoint").is_dir() else folder)


def describe_model(name: str, config: GPTConfig, batch: int = 1) -> str:
    """A table of parameters by component, FLOPs per token and memory.

    Args:
        name: What to call the model.
        config: Its shape.
        batch: Texts generated side by side (B).
    """
    parts = parameters_by_component(config)
    total, context = sum(parts.values()), config.context_length
    training = flops_per_token(config)
    lines = [
        f"{name}: {config.layers} layers, width {config.width}, {config.heads} heads, "
        f"vocabulary {config.vocab_size:,}, context {context:,}",
        "",
        "parameters",
        *(f"  {part:<28}{count:>16,}  {count / total:6.1%}" for part, count in parts.items()),
        f"  {'total':<28}{total:>16,}",
        "",
        f"FLOPs per token, at the full context of {context:,}",
        f"  {'forward':<28}{training // 3:>16,}",
        f"  {'forward and backward':<28}{training:>16,}",
        "",
        "memory in bytes",
        f"  {'weights, float32':<28}{4 * total:>16,}",
        f"  {'training, float32, AdamW':<28}{training_bytes(config):>16,}  before activations",
        f"  {'decoding, float32':<28}{decoding_bytes(config, batch):>16,}  batch {batch}",
        f"  {'decoding, bfloat16':<28}{decoding_bytes(config, batch, 2):>16,}  batch {batch}",
    ]
    return "\n".join(lines)
