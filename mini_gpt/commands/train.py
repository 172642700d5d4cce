"""`mini-gpt train`: from a text to a model that writes like it."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from mini_gpt.commands.plot import draw_runs
from mini_gpt.commands.sample import write
from mini_gpt.data import load_corpus, split_tokens
from mini_gpt.files import atomic_file
from mini_gpt.model import GPT, GPTConfig, count_parameters
from mini_gpt.parallel import process_group, rank, ranks
from mini_gpt.runtime import resolve_device
from mini_gpt.sampling import SampleConfig, generate
from mini_gpt.settings import read_settings, to_toml, with_settings
from mini_gpt.tokenizer import BPETokenizer, CharTokenizer
from mini_gpt.training import TrainConfig, train

# What a laptop trains in about a minute, and what a graphics card trains in a few.
CPU_MODEL = dataclasses.replace(GPTConfig.preset("shakespeare-small"), vocab_size=1)
CPU_TRAINING = TrainConfig(
    steps=1000,
    batch=12,
    optimiser="muon",
    learning_rate=2e-2,
    muon_learning_rate=2e-2,
    final_learning_rate=0.0,
    schedule="hold",
    warmup_steps=30,
    decay_steps=970,
    weight_decay=0.0,
    beta1=0.8,
)
GPU_MODEL = dataclasses.replace(GPTConfig.preset("shakespeare-large"), vocab_size=1)
GPU_TRAINING = TrainConfig(steps=5000, batch=64)
# Size of a learned vocabulary where none is given.
PIECES = 1024


@dataclass(frozen=True)
class Train:
    """Train a GPT on a text, measure it, and let it write."""

    corpus: str = "shakespeare"
    """What to learn from: "shakespeare" (fetched once), a text file, or a folder of .txt files."""
    out: Path = Path("runs/latest")
    """Folder for the checkpoints, the metrics (JSON lines) and the loss curve (PNG)."""
    tokenizer: Literal["characters", "bpe"] = "characters"
    """What a token is: a character of the corpus, or one of --vocab-size pieces of text that are
    learned from its training part by byte-pair encoding (1,024 if not said)."""
    config: Path | None = None
    """Settings from a TOML or YAML file, for instance runs/latest/settings.toml; options given here
    go before what it says."""
    resume: Path | None = None
    """Folder of a run to go on with, with the settings that it was started with."""
    sample_every: int = 500
    """Steps between two samples written to samples.txt; 0 writes none."""
    sample_tokens: int = 400
    """Tokens to write when trained."""
    timeout: float = 600.0
    """Seconds after which a process of a parallel run gives up waiting for the others."""
    model: tyro.conf.OmitArgPrefixes[GPTConfig] = field(default=CPU_MODEL)
    """Shape of the model; with characters as tokens, --vocab-size follows from the corpus."""
    training: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default=CPU_TRAINING)
    """How to train."""


def default_train(arguments: Sequence[str]) -> Train:
    """What `mini-gpt train` does if no option says otherwise: by the machine, a file, or a run.

    Args:
        arguments: The words after the command's name; --config and --resume are looked for.
    """
    on_gpu = torch.cuda.is_available()
    train = Train(model=GPU_MODEL, training=GPU_TRAINING) if on_gpu else Train()
    if (file := value_of("--config", arguments)) is not None:
        content = read_settings(Path(file))
        content.pop("corpus_sha256", None)
        train = with_settings(train, content, file)
    if (run := value_of("--resume", arguments)) is not None:
        path = Path(run) / "settings.toml"
        if not path.is_file():
            raise ValueError(f"{run} is not a run of mini-gpt train: it has no settings.toml")
        content = read_settings(path)
        content.pop("corpus_sha256", None)
        train = dataclasses.replace(with_settings(train, content, str(path)), out=Path(run))
    return train


def value_of(option: str, arguments: Sequence[str]) -> str | None:
    """The value that the command line gives an option, if it does."""
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
    return None


def run_train(command: Train) -> None:
    """Fetch or read the corpus, train, report, draw the loss curve, and sample."""
    if command.sample_every < 0 or command.sample_tokens < 0:
        raise ValueError("sample_every and sample_tokens must be at least 0")
    device = resolve_device(command.training.device)
    with process_group(device, command.timeout):
        train_and_report(command, device)


def train_and_report(command: Train, device: torch.device) -> None:
    """`run_train`, with this process connected to those that train with it."""

    def print(*words: object, **options: Any) -> None:
        if rank() == 0:
            builtins.print(*words, **options)

    out, config, resuming = command.out, command.training, command.resume is not None
    text = load_corpus(command.corpus)
    tokenizer, training_tokens, validation_tokens = tokenized(text, command)
    torch.manual_seed(config.seed)
    model = GPT(dataclasses.replace(command.model, vocab_size=tokenizer.vocab_size))
    if rank() == 0:
        keep_settings(command, hashlib.sha256(text.encode()).hexdigest(), resuming)
    unit = "character" if command.tokenizer == "characters" else "token"
    print(
        f"corpus {command.corpus}: {len(text):,} characters, {len(set(text))} distinct; "
        f"{len(training_tokens):,} {unit}s to train on, {len(validation_tokens):,} to validate on"
    )
    together = f", {ranks()} processes" if ranks() > 1 else ""
    print(f"model: {count_parameters(model):,} parameters, on {describe(device)}{together}")
    print(end="", flush=True)
    sampled = samples_in(out / "samples.txt", resuming)

    def sample(entry: dict[str, Any]) -> None:
        if command.sample_every and entry["step"] // command.sample_every > sampled[0]:
            sampled[0] = entry["step"] // command.sample_every
            longer = SampleConfig(max_new_tokens=200, past_context="slide")
            words = generate(model, tokenizer, ["\n"], longer)[0].text
            with (out / "samples.txt").open("a", encoding="utf-8") as file:
                file.write(f"--- step {entry['step']} ---\n{words}\n\n")

    result = train(
        model,
        training_tokens,
        validation_tokens,
        tokenizer,
        config,
        out=out,
        resume=resuming,
        on_evaluation=sample,
    )
    print(
        f"loss on the whole validation split: {result.validation_loss:.4f} nats per {unit}, "
        f"{result.bits_per_byte:.4f} bits per byte"
    )
    print(f"trained for {result.seconds:.0f} s at {result.tokens_per_second:,.0f} tokens/s")
    if (share := result.history[-1].get("model_flops_utilisation")) is not None:
        print(f"that is {share:.0%} of what the device could compute at most")
    if result.skipped_steps:
        print(f"{result.skipped_steps} steps were skipped: loss or gradient were not finite")
    print(f"checkpoint and metrics are in {out}")
    if rank() == 0:
        print(draw_runs({str(out): result.history}, out / "loss.png"))
        if command.sample_tokens:
            print(f"\n{command.sample_tokens} {unit}s written by the model:\n")
            longer = SampleConfig(command.sample_tokens, past_context="slide")
            write(model, tokenizer, "\n", longer)


def tokenized(
    text: str, command: Train
) -> tuple[CharTokenizer | BPETokenizer, np.ndarray, np.ndarray]:
    """The tokenizer that was asked for, and the ids of the training and the validation part.

    The text is cut at the same character whatever the tokenizer, so that bits per byte of two
    runs speak of the same text. Pieces are learned from the training part only.

    Raises:
        ValueError: if --vocab-size does not fit the tokenizer or the corpus.
    """
    cut = len(split_tokens(np.arange(len(text)))[0])
    asked = None if command.model.vocab_size == 1 else command.model.vocab_size
    tokenizer: CharTokenizer | BPETokenizer
    if command.tokenizer == "bpe":
        size = PIECES if asked is None else asked
        tokenizer = BPETokenizer.train(text[:cut], size, special_tokens=())
    else:
        tokenizer = CharTokenizer.train(text)
        if asked not in (None, tokenizer.vocab_size):
            raise ValueError(
                f"vocab_size {asked} does not fit the corpus, which has {tokenizer.vocab_size} "
                "distinct characters; leave --vocab-size out"
            )
    kind = np.min_scalar_type(tokenizer.vocab_size)
    training, validation = (
        np.array(tokenizer.encode(part), dtype=kind) for part in (text[:cut], text[cut:])
    )
    return tokenizer, training, validation


def keep_settings(command: Train, corpus: str, resuming: bool) -> None:
    """Write a run's settings to its folder; when resuming, see that the text is still the same.

    Args:
        command: The settings.
        corpus: Fingerprint of the text.
        resuming: Whether the run was started before.

    Raises:
        ValueError: if it is another text.
    """
    path = command.out / "settings.toml"
    if resuming and read_settings(path).get("corpus_sha256", corpus) != corpus:
        raise ValueError(
            f"the corpus {command.corpus} is no longer the text that {command.out} was started "
            "with; bring the old one back, or start a new run"
        )
    settings = dataclasses.asdict(command)
    for name in ("out", "config", "resume"):  # where and how, not what
        settings.pop(name)
    if command.tokenizer == "characters":
        settings["model"].pop("vocab_size")  # follows from the corpus
    source = Path(command.corpus)
    settings["corpus"] = str(source.absolute()) if source.exists() else command.corpus
    with atomic_file(path) as partial:
        content = {"corpus_sha256": corpus, **settings}
        partial.write_text(to_toml(content), encoding="utf-8")


def samples_in(path: Path, resuming: bool) -> list[int]:
    """A counter of the samples written so far; a new run begins with an empty file."""
    if not resuming:
        path.unlink(missing_ok=True)
    return [0]


def describe(device: torch.device) -> str:
    """The device in words: the card's name, or the number of threads on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return (
        f"{device.type} ({torch.get_num_threads()} threads)"
        if device.type == "cpu"
        else device.type
    )
