"""`mini-gpt sample`: let a trained model write."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from mini_gpt.gpt2 import from_pretrained
from mini_gpt.model import GPT
from mini_gpt.runtime import resolve_device
from mini_gpt.sampling import SampleConfig, stream
from mini_gpt.tokenizer import Tokenizer


@dataclass(frozen=True)
class Sample:
    """Write text with a trained model."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """Folder that `mini-gpt train` wrote: a run (runs/latest) or its checkpoint."""
    prompt: str = "\n"
    """Text to go on from."""
    device: str = "auto"
    """"cpu", "cuda", "mps", or "auto" for the best one there is."""
    sampling: tyro.conf.OmitArgPrefixes[SampleConfig] = field(default_factory=SampleConfig)
    """How to choose tokens, and how many."""


def run_sample(command: Sample) -> None:
    """Load a checkpoint and stream what the model writes after the prompt."""
    device = resolve_device(command.device)
    folder = command.checkpoint
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no checkpoint {str(folder)!r}; train one first with: mini-gpt train"
        )
    if (folder / "checkpoint").is_dir():
        folder = folder / "checkpoint"
    model, tokenizer = from_pretrained(folder, device)
    tokenizer.encode(command.prompt)  # complain about the prompt before any of it is shown
    print(command.prompt, end="", flush=True)
    write(model, tokenizer, command.prompt, command.sampling)


def write(model: GPT, tokenizer: Tokenizer, prompt: str, config: SampleConfig) -> None:
    """Print what the model writes, piece by piece."""
    for piece in stream(model, tokenizer, prompt, config):
        print(piece, end="", flush=True)
    print()
