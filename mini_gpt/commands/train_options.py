"""The options of `mini-gpt train`, and what they are where none is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import tyro

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import PRESETS, GPTConfig
from mini_gpt.support.hub import local_folder
from mini_gpt.support.model_folder import load_config, read_tokenizer_of
from mini_gpt.support.recipes import GPT2_TRAINING, accumulation_for
from mini_gpt.support.run_folder import MODEL, SETTINGS, newest_run
from mini_gpt.support.settings_file import override_settings, read_settings
from mini_gpt.support.state_file import VERSION, other_version
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
# Its kind, steps and dropout are those of the best run on one card so far; its rates
# are those of the smaller model, made smaller. What overfits is left behind: the best
# model of a run is kept.
GPU_TRAINING = dataclasses.replace(
    CPU_TRAINING,
    steps=3000,
    batch_size=64,
    learning_rate=1e-2,
    warmup_steps=100,
    decay_steps=2900,
    weight_decay=0.1,
    beta1=0.9,
)
# Shape and training by name. GPT-2's table is padded, for speed: no token has the rows.
RECIPES: dict[str, tuple[Shape, TrainConfig]] = {
    "gpt2": (
        dataclasses.replace(_preset("gpt2"), pad_vocab_to_multiple=64),
        GPT2_TRAINING,
    ),
    "shakespeare-small": (CPU_MODEL, CPU_TRAINING),
    "shakespeare-large": (GPU_MODEL, GPU_TRAINING),
}
BPE_VOCAB_SIZE = 1024  # of a learned vocabulary, where none is given
RUN_VERSION = "run_version"  # what settings.toml calls checkpoint.VERSION


Kind = Literal["characters", "bpe"]  # what a token is

# What `mini-gpt train --help` shows; --help-all shows all.
ESSENTIALS = (
    "corpus",
    "out",
    "resume",
    "initialize_from",
    "tokenizer",
    "vocab_size",
    "context_length",
    "layers",
    "width",
    "steps",
    "batch_size",
    "learning_rate",
)


@dataclass(frozen=True)
class Train:
    """Train a GPT on a text, measure it, and let it write."""

    corpus: str = "shakespeare"
    """What to learn from: "shakespeare" (fetched once), a text file, a folder of .txt
    files, or a folder of tokens (mini-gpt prepare). In a file, <|endoftext|> parts
    documents.
    """
    out: Path | None = None
    """Folder for the checkpoints, the metrics (JSON lines) and the loss curve (PNG). If
    not given, a new one in runs, named by the time.
    """
    overwrite: bool = False
    """Delete the run that --out holds, and start a new one."""
    tokenizer: Kind | None = None
    """What a token is: a character of the corpus (so if not said), or one of
    --vocab-size tokens that are learned from its training part by byte-pair encoding
    (1,024 if not said). Of several documents, each then ends with a token of its own,
    and a sample with it. A folder of tokens has its own.
    """
    config: Path | None = None
    """Settings from a TOML or YAML file, for instance the settings.toml of a run;
    options given here go before what it says.
    """
    resume: Path | None = None
    """Folder of a run to go on with, with the settings that it was started with; the
    newest in runs where none is named.
    """
    go_on: bool = False
    """Go on with the run that --out holds, and start it where there is none: for jobs
    that are started again by the same words.
    """
    preset: Literal["gpt2", "shakespeare-small", "shakespeare-large"] | None = None
    """A model and its training by name. "gpt2": 124 million parameters and a published
    way to train them, for a folder of GPT-2's tokens on a card. The other two are what
    is done where nothing is said, without and with a card.
    """
    initialize_from: str | None = None
    """Start from the weights of a trained model: a run, the folder of a model, or a
    name, for instance "openai-community/gpt2". Its shape and its tokenizer are used.
    """
    validation_tokens: int | None = None
    """Most tokens of the validation split that are measured at the end of a run, from
    its beginning; if not said, all, which of a very large corpus takes long.
    """
    sample_every: int = 500
    """Steps between two samples written to samples.txt; 0 writes none."""
    sample_tokens: int = 400
    """Tokens to write when trained."""
    checkpoint_every: int | None = None
    """Steps between two checkpoints, besides those at each lowest validation loss so
    far; if not said, at every measurement.
    """
    keep_checkpoints: int = 2
    """How many of the newest checkpoints to keep, besides the best one."""
    timeout: float = 600.0
    """Seconds after which a process of a parallel run gives up waiting for the others.
    """
    threads: int | None = None
    """Threads of the processor. If not said, as many as are fastest for this model with
    what else is running, and the same number when the run goes on.
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
        arguments: The words after the command's name; --config, --resume and
            --initialize-from are looked for.
    """
    on_gpu = torch.cuda.is_available()
    train = Train(model=GPU_MODEL, training=GPU_TRAINING) if on_gpu else Train()
    if (preset := _value_of("--preset", arguments)) in RECIPES:  # others are refused
        if _value_of("--resume", arguments) is not None:
            raise ValueError(
                "--resume goes on with the run's own settings, not with a "
                "preset's; leave --preset out"
            )
        model, training = RECIPES[preset]
        parts = accumulation_for(training)
        training = dataclasses.replace(training, accumulation_steps=parts)
        train = dataclasses.replace(train, model=model, training=training)
    if (name := _value_of("--initialize-from", arguments)) is not None:
        train = _with_shape_of(name, train)
        if _value_of("--dropout", arguments) is not None:
            train = _one_dropout(train)
    if (file := _value_of("--config", arguments)) is not None:
        train = _with_settings_of(Path(file), train)
        if RUN_VERSION in read_settings(Path(file)):  # chosen there and then, not here
            train = dataclasses.replace(train, threads=None)
    run, out = (_value_of(option, arguments) for option in ("--resume", "--out"))
    if run is None and "--go-on" in arguments:
        if out is None:
            raise ValueError("--go-on needs --out: the folder that a run may be in")
        if (Path(out) / SETTINGS).is_file():
            run, train = out, dataclasses.replace(train, resume=Path(out))
    if run is not None:
        path = Path(run) / SETTINGS
        if not path.is_file():
            lacking = f"it has no {SETTINGS}"
            raise ValueError(f"{run} is not a run of mini-gpt train: {lacking}")
        if (version := read_settings(path).get(RUN_VERSION, 1)) != VERSION:
            raise other_version(Path(run), version)
        kept = _with_settings_of(path, train)
        train = dataclasses.replace(kept, out=Path(run), resume=train.resume)
    return train


def name_newest_run(arguments: Sequence[str]) -> list[str]:
    """The words of the command line, the newest run named where --resume names none.

    Raises:
        ValueError: if there is no run to go on with.
    """
    words = list(arguments)
    for place, word in enumerate(words):
        if word == "--resume" and "".join(words[place + 1 : place + 2])[:1] in (
            "",
            "-",
        ):
            if (run := newest_run()) is None:
                raise ValueError(
                    "there is no run in runs to go on with; name its folder"
                )
            words.insert(place + 1, str(run))
    return words


def initial_model(name: str) -> Path:
    """The folder of a model that training can start from: in a run, or as it is named.

    Raises:
        ValueError: if there is none.
        OSError: if it cannot be fetched.
    """
    folder = local_folder(name)
    return folder / MODEL if (folder / MODEL).is_dir() else folder


def _with_shape_of(name: str, train: Train) -> Train:
    """The shape and the kind of tokenizer of a trained model."""
    folder = initial_model(name)
    shape = dataclasses.asdict(load_config(folder))
    characters = isinstance(read_tokenizer_of(folder), CharTokenizer)
    kind: Kind = "characters" if characters else "bpe"
    return dataclasses.replace(train, model=Shape(**shape), tokenizer=kind)


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
    if isinstance(content.get("model"), dict) and "dropout" in content["model"]:
        train = _one_dropout(train)
    return override_settings(train, content, str(path))


def _one_dropout(train: Train) -> Train:
    """The dropouts of single places left open, since the one for all is said anew."""
    shape = dataclasses.replace(
        train.model, embedding_dropout=None, attention_dropout=None
    )
    return dataclasses.replace(train, model=shape)


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """The value that the command line gives an option, if it does."""
    for place, word in enumerate(arguments):
        if word == option:
            return next(iter(arguments[place + 1 :]), None)
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
    return None
