"""`mini-gpt train`: from a text to a model that writes like it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

from mini_gpt.commands.sample import write
from mini_gpt.data import load_corpus, split_tokens
from mini_gpt.model import GPT, GPTConfig, count_parameters
from mini_gpt.runtime import resolve_device
from mini_gpt.sampling import SampleConfig
from mini_gpt.tokenizer import CharTokenizer
from mini_gpt.training import TrainConfig, TrainResult, train

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
