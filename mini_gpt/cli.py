"""The command line: `mini-gpt train` and `mini-gpt sample`.

Bad input ends with exit status 2 and one line that says what to do, never with a traceback.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from mini_gpt.data import load_corpus, split_tokens
from mini_gpt.gpt2 import from_pretrained
from mini_gpt.model import GPT, GPTConfig, count_parameters
from mini_gpt.sampling import SampleConfig, stream
from mini_gpt.tokenizer import CharTokenizer, Tokenizer
from mini_gpt.training import TrainConfig, TrainResult, resolve_device, train

# What a laptop trains in two minutes, and what a graphics card trains in a few.
CPU_MODEL = GPTConfig(vocab_size=1, context_length=64, layers=4, heads=4, width=128)
CPU_TRAINING = TrainConfig(steps=2000, batch=12, learning_rate=3e-3, final_learning_rate=3e-4)
GPU_MODEL = GPTConfig(vocab_size=1, context_length=256, layers=6, heads=6, width=384, dropout=0.2)
GPU_TRAINING = TrainConfig(steps=5000, batch=64)


@dataclass(frozen=True)
class Train:
    """Train a character-level GPT on a text, measure it, and let it write."""

    corpus: str = "shakespeare"
    """What to learn from: "shakespeare" (fetched once), a text file, or a folder of .txt files."""
    out: Path = Path("runs/latest")
    """Folder for the checkpoint, the metrics (JSON lines) and the loss curve (PNG)."""
    sample_characters: int = 400
    """Characters to write when trained."""
    model: tyro.conf.OmitArgPrefixes[GPTConfig] = field(default=CPU_MODEL)
    """Shape of the model; --vocab-size follows from the corpus."""
    training: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default=CPU_TRAINING)
    """How to train."""


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the command's name; None takes those of the process.

    Returns:
        The exit status: 0, or 2 for bad input.
    """
    on_gpu = torch.cuda.is_available()
    training = Train(model=GPU_MODEL, training=GPU_TRAINING) if on_gpu else Train()
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=training)]
        | Annotated[Sample, tyro.conf.subcommand("sample")]
    )
    try:
        command = tyro.cli(
            commands,
            prog="mini-gpt",
            description="Train a small GPT, and let it write.",
            args=arguments,
        )
        if isinstance(command, Train):
            run_train(command)
        else:
            run_sample(command)
    except BrokenPipeError:  # the reader of our output, for instance `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError) as fault:
        print(f"mini-gpt: {' '.join(str(fault).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmini-gpt: interrupted", file=sys.stderr)
        return 130
    return 0


def run_train(command: Train) -> None:
    """Fetch or read the corpus, train, report, draw the loss curve, and sample."""
    device = resolve_device(command.training.device)
    text = load_corpus(command.corpus)
    tokenizer = CharTokenizer.train(text)
    if command.model.vocab_size not in (1, tokenizer.vocab_size):
        raise ValueError(
            f"vocab_size {command.model.vocab_size} does not fit the corpus, which has "
            f"{tokenizer.vocab_size} distinct characters; leave --vocab-size out"
        )
    tokens = np.array(tokenizer.encode(text), dtype=np.min_scalar_type(tokenizer.vocab_size))
    training_tokens, validation_tokens = split_tokens(tokens)
    torch.manual_seed(command.training.seed)
    model = GPT(dataclasses.replace(command.model, vocab_size=tokenizer.vocab_size))
    print(
        f"corpus {command.corpus}: {len(text):,} characters, {tokenizer.vocab_size} distinct; "
        f"{len(training_tokens):,} to train on, {len(validation_tokens):,} to validate on"
    )
    print(f"model: {count_parameters(model):,} parameters, on {describe(device)}", flush=True)
    result = train(
        model, training_tokens, validation_tokens, tokenizer, command.training, out=command.out
    )
    print(
        f"loss on the whole validation split: {result.validation_loss:.4f} nats per character, "
        f"{result.bits_per_byte:.4f} bits per byte"
    )
    print(f"trained for {result.seconds:.0f} s at {result.tokens_per_second:,.0f} tokens/s")
    print(f"checkpoint and metrics are in {command.out}")
    print(draw_losses(result, command.out / "loss.png"))
    if command.sample_characters:
        print(f"\n{command.sample_characters} characters written by the model:\n")
        write(model, tokenizer, "\n", SampleConfig(max_new_tokens=command.sample_characters))


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


def describe(device: torch.device) -> str:
    """The device in words: the card's name, or the number of threads on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return (
        f"{device.type} ({torch.get_num_threads()} threads)"
        if device.type == "cpu"
        else device.type
    )


def draw_losses(result: TrainResult, path: Path) -> str:
    """Draw the loss curve where matplotlib is installed, and say where it is or why not."""
    try:
        import matplotlib as mpl
    except ImportError:
        return "no loss curve is drawn without matplotlib (pip install matplotlib)"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from mini_gpt import figures
    from mini_gpt.files import atomic_file

    with mpl.rc_context():  # leave the caller's style as it is
        figures.use_style()
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        steps = [entry["step"] for entry in result.history]
        axes.plot(
            steps,
            [entry["training_loss"] for entry in result.history],
            marker="o",
            label="training",
        )
        axes.plot(
            steps,
            [entry["validation_loss"] for entry in result.history],
            marker="s",
            label="validation",
        )
        axes.set(xlabel="step", ylabel="loss (nats per token)", title="Loss while training")
        axes.legend()
        with atomic_file(path) as partial:
            figure.savefig(partial, format="png")
    return f"the loss curve is {path}"
