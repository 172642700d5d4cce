"""`mini-gpt train`: from a text to a model that writes like it."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import tyro

from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.plot import draw_runs
from mini_gpt.commands.sample import write
from mini_gpt.config import PRESETS, GPTConfig
from mini_gpt.data import train_val_split
from mini_gpt.diagnostics import count_parameters
from mini_gpt.generation import generate
from mini_gpt.model import GPT
from mini_gpt.run import train
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.checkpoint import VERSION, other_version
from mini_gpt.support.corpus import corpus_name, load_corpus
from mini_gpt.support.device import resolve_device
from mini_gpt.support.distributed import process_group, rank, world_size
from mini_gpt.support.files import atomic_file
from mini_gpt.support.prompts import encode_prompt
from mini_gpt.support.settings_file import override_settings, read_settings, to_toml
from mini_gpt.tokenizer import BPETokenizer
from mini_gpt.trainer import TrainConfig


@dataclass(frozen=True)
class Shape(GPTConfig):
    """As `GPTConfig`, but the vocabulary is left open until there is a tokenizer."""

    __doc__ = GPTConfig.__doc__  # what --help says of each field
    vocab_size: int | None = None  # type: ignore[assignment]

    def closed(self, vocab_size: int) -> GPTConfig:
        """The shape of a model for a tokenizer of this size."""
        return GPTConfig(**{**dataclasses.asdict(self), "vocab_size": vocab_size})


def _preset(name: str) -> Shape:
    """The shape of a preset, its vocabulary left open."""
    return Shape(**{**PRESETS[name], "vocab_size": None})


# What a laptop trains in about a minute, and what a graphics card trains in a few.
CPU_MODEL = _preset("shakespeare-small")
CPU_TRAINING = TrainConfig(
    steps=1000,
    batch_size=12,
    optimizer="muon",
    learning_rate=2e-2,
    muon_learning_rate=2e-2,
    min_lr=0.0,
    schedule="wsd",
    warmup_steps=30,
    decay_steps=970,
    weight_decay=0.0,
    beta1=0.8,
)
GPU_MODEL = _preset("shakespeare-large")
GPU_TRAINING = TrainConfig(steps=5000, batch_size=64)
BPE_VOCAB_SIZE = 1024  # of a learned vocabulary, where none is given
RUN_VERSION = "run_version"  # what settings.toml calls checkpoint.VERSION


@dataclass(frozen=True)
class Train:
    """Train a GPT on a text, measure it, and let it write."""

    corpus: str = "shakespeare"
    """What to learn from: "shakespeare" (fetched once), a text file, or a folder of
    .txt files.
    """
    out: Path = Path("runs/latest")
    """Folder for the checkpoints, the metrics (JSON lines) and the loss curve (PNG)."""
    tokenizer: Literal["characters", "bpe"] = "characters"
    """What a token is: a character of the corpus, or one of --vocab-size tokens that
    are learned from its training part by byte-pair encoding (1,024 if not said).
    """
    config: Path | None = None
    """Settings from a TOML or YAML file, for instance runs/latest/settings.toml;
    options given here go before what it says.
    """
    resume: Path | None = None
    """Folder of a run to go on with, with the settings that it was started with."""
    sample_every: int = 500
    """Steps between two samples written to samples.txt; 0 writes none."""
    sample_tokens: int = 400
    """Tokens to write when trained."""
    checkpoint_every: int | None = None
    """Steps between two checkpoints; if not said, at every measurement."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints to keep, besides the best one."""
    timeout: float = 600.0
    """Seconds after which a process of a parallel run gives up waiting for the others.
    """
    model: tyro.conf.OmitArgPrefixes[Shape] = field(default=CPU_MODEL)
    """Shape of the model; with characters as tokens, --vocab-size follows from the
    corpus.
    """
    training: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default=CPU_TRAINING)
    """How to train."""


def default_train(arguments: Sequence[str]) -> Train:
    """What `mini-gpt train` does if no option says otherwise: by machine, file, or run.

    Args:
        arguments: The words after the command's name; --config and --resume are looked
            for.
    """
    on_gpu = torch.cuda.is_available()
    train = Train(model=GPU_MODEL, training=GPU_TRAINING) if on_gpu else Train()
    if (file := _value_of("--config", arguments)) is not None:
        train = _with_settings_of(Path(file), train)
    if (run := _value_of("--resume", arguments)) is not None:
        path = Path(run) / "settings.toml"
        if not path.is_file():
            lacking = "it has no settings.toml"
            raise ValueError(f"{run} is not a run of mini-gpt train: {lacking}")
        if (version := read_settings(path).get(RUN_VERSION, 1)) != VERSION:
            raise other_version(Path(run), version)
        train = dataclasses.replace(_with_settings_of(path, train), out=Path(run))
    return train


def _with_settings_of(path: Path, train: Train) -> Train:
    """The settings in a file, and those given where it says nothing."""
    content = read_settings(path)
    content.pop("corpus_sha256", None)
    if (version := content.pop(RUN_VERSION, None)) is not None:
        if version != VERSION:
            raise other_version(path, version)
        # A run's own file is complete, but TOML has no word for None: what is not in it
        # is None, whatever this machine's default.
        train = Train(model=Shape(), training=TrainConfig())
    return override_settings(train, content, str(path))


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
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
        _train_and_report(command, device)


def _train_and_report(command: Train, device: torch.device) -> None:
    """`run_train`, with this process connected to those that train with it."""

    def print(*words: object, **options: Any) -> None:
        if rank() == 0:
            builtins.print(*words, **options)

    out, config, resuming = command.out, command.training, command.resume is not None
    text = load_corpus(command.corpus)
    corpus = _tokenized(text, command)
    tokenizer = corpus.tokenizer
    torch.manual_seed(config.seed)
    model = GPT(command.model.closed(tokenizer.vocab_size))
    if rank() == 0:
        _keep_settings(command, hashlib.sha256(text.encode()).hexdigest(), resuming)
    unit = "character" if command.tokenizer == "characters" else "token"
    print(
        f"corpus {command.corpus}: {len(text):,} characters, "
        f"{len(set(text))} distinct; "
        f"{len(corpus.training_tokens):,} {unit}s to train on, "
        f"{len(corpus.validation_tokens):,} to validate on"
    )
    together = f", {world_size()} processes" if world_size() > 1 else ""
    parameters = f"{count_parameters(model):,} parameters"
    print(f"model: {parameters}, on {describe(device)}{together}", flush=True)
    sampled = _samples_in(out / "samples.txt", resuming)

    def sample(entry: dict[str, Any]) -> None:
        if command.sample_every and entry["step"] // command.sample_every > sampled[0]:
            sampled[0] = entry["step"] // command.sample_every
            longer = SampleConfig(max_new_tokens=200, past_context="slide")
            words = generate(model, tokenizer, ["\n"], longer)[0].text
            with (out / "samples.txt").open("a", encoding="utf-8") as file:
                file.write(f"--- step {entry['step']} ---\n{words}\n\n")

    result = train(
        model,
        corpus.training_tokens,
        corpus.validation_tokens,
        tokenizer,
        config,
        validation_bytes=corpus.validation_bytes,
        out=out,
        resume=resuming,
        checkpoint_every=command.checkpoint_every,
        keep_checkpoints=command.keep_checkpoints,
        on_eval=sample,
    )
    print(
        f"loss on the whole validation split: {result.validation_loss:.4f} nats per "
        f"{unit}, {result.bits_per_byte:.4f} bits per byte"
    )
    speed = f"{result.tokens_per_second:,.0f} tokens/s"
    print(f"trained for {result.seconds:.0f} s at {speed}")
    if (share := result.history[-1].get("model_flops_utilization")) is not None:
        print(f"that is {share:.0%} of what the device could compute at most")
    if result.skipped_steps:
        why = "loss or gradient were not finite"
        print(f"{result.skipped_steps} steps were skipped: {why}")
    print(f"checkpoint and metrics are in {out}")
    if rank() == 0:
        print(draw_runs({str(out): result.history}, out / "loss.png"))
        if command.sample_tokens:
            print(f"\n{command.sample_tokens} {unit}s written by the model:\n")
            longer = SampleConfig(command.sample_tokens, past_context="slide")
            write(model, tokenizer, encode_prompt(tokenizer, "\n"), longer)


class _Corpus(NamedTuple):
    """A text as a run needs it: its tokenizer, both parts as ids, and a count."""

    tokenizer: CharTokenizer | BPETokenizer
    training_tokens: np.ndarray
    validation_tokens: np.ndarray
    validation_bytes: int  # in UTF-8, without the first token: it is not predicted


def _tokenized(text: str, command: Train) -> _Corpus:
    """The tokenizer that was asked for, and the ids of both parts of the text.

    The text is cut at the same character whatever the tokenizer, so that bits per byte
    of two runs speak of the same text. Tokens are learned from the training part only.

    Raises:
        ValueError: if --vocab-size does not fit the tokenizer or the corpus.
    """
    training, validation = train_val_split(text)
    asked = command.model.vocab_size
    tokenizer: CharTokenizer | BPETokenizer
    if command.tokenizer == "bpe":
        size = BPE_VOCAB_SIZE if asked is None else asked
        tokenizer = BPETokenizer.train(training, size, special_tokens=())
    else:
        tokenizer = CharTokenizer.train(text)
        if asked not in (None, tokenizer.vocab_size):
            raise ValueError(
                f"vocab_size {asked} does not fit the corpus, which has "
                f"{tokenizer.vocab_size} distinct characters; leave --vocab-size out"
            )
    training_tokens, _ = encode_part(training, tokenizer)
    return _Corpus(tokenizer, training_tokens, *encode_part(validation, tokenizer))


def encode_part(
    text: str, tokenizer: CharTokenizer | BPETokenizer
) -> tuple[np.ndarray, int]:
    """A text's ids, and how many of its bytes are predicted: not the first token's."""
    dtype = np.min_scalar_type(tokenizer.vocab_size)
    ids = np.array(tokenizer.encode(text), dtype=dtype)
    return ids, len(text.encode()) - len(tokenizer.decode(ids[:1]).encode())


def _keep_settings(command: Train, fingerprint: str, resuming: bool) -> None:
    """Write a run's settings to its folder; when resuming, only for the same text.

    Raises:
        ValueError: if the text has another fingerprint than when the run was started.
    """
    path = command.out / "settings.toml"
    before = read_settings(path).get("corpus_sha256") if resuming else None
    if before not in (None, fingerprint):
        raise ValueError(
            f"the corpus {command.corpus} is no longer the text that {command.out} was "
            "started with; bring the old one back, or start a new run"
        )
    settings = dataclasses.asdict(command)
    for name in ("out", "config", "resume"):  # where and how, not what
        settings.pop(name)
    if command.tokenizer == "characters":
        settings["model"].pop("vocab_size")  # follows from the corpus
    settings["corpus"] = corpus_name(command.corpus)
    with atomic_file(path) as partial:
        content = {RUN_VERSION: VERSION, "corpus_sha256": fingerprint, **settings}
        partial.write_text(to_toml(content), encoding="utf-8")


def _samples_in(path: Path, resuming: bool) -> list[int]:
    """A counter of the samples written so far; a new run begins with an empty file."""
    if not resuming:
        path.unlink(missing_ok=True)
    return [0]


def describe(device: torch.device) -> str:
    """The device in words: the card's name, or the number of threads on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = f" ({torch.get_num_threads()} threads)" if device.type == "cpu" else ""
    return f"{device.type}{threads}"
