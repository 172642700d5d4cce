"""`mini-gpt train`: from a text to a model that writes like it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.plot import draw_runs
from mini_gpt.commands.sample import write
from mini_gpt.commands.train_options import (
    BPE_VOCAB_SIZE,
    RUN_VERSION,
    Train,
    initial_model,
)
from mini_gpt.commands.train_report import (
    add_sample,
    indented,
    measured_so_far,
    never_fatal,
    next_steps,
    progress_line,
    say,
)
from mini_gpt.diagnostics import count_parameters
from mini_gpt.generation import generate_rows
from mini_gpt.model import GPT
from mini_gpt.run import TrainResult, train
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.checkpoint import newest_tokenizer
from mini_gpt.support.corpus import corpus_name, load_documents
from mini_gpt.support.device import resolve_device
from mini_gpt.support.distributed import process_group, rank, world_size
from mini_gpt.support.documents import DocumentSplit, encode_split, split_documents
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.prompts import start_tokens
from mini_gpt.support.run_folder import SETTINGS, check_run_folder, new_run_folder
from mini_gpt.support.settings_file import read_settings
from mini_gpt.support.state_file import VERSION
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.threads import fitting_threads
from mini_gpt.support.validation import whole_number
from mini_gpt.tokenizer import BPETokenizer


def run_train(command: Train) -> None:
    """Fetch or read the corpus, train, report, draw the loss curve, and sample."""
    if command.sample_every < 0 or command.sample_tokens < 0:
        raise ValueError("sample_every and sample_tokens must be at least 0")
    if command.resume is not None and command.out != command.resume:
        raise ValueError("--resume goes on in the run's own folder; leave --out out")
    if command.resume is not None and command.overwrite:
        raise ValueError("give only one of --resume and --overwrite")
    if command.threads is not None:
        whole_number("threads", command.threads, at_least=1)
    if command.out is None:
        command = dataclasses.replace(command, out=new_run_folder())
    device = resolve_device(command.training.device)
    with process_group(device, command.timeout):
        _train_and_report(command, device)


def _train_and_report(command: Train, device: torch.device) -> None:
    """`run_train`, with this process connected to those that train with it."""
    out, config, resuming = command.out, command.training, command.resume is not None
    assert out is not None
    if rank() == 0:  # before the work that a refusal would waste
        check_run_folder(out, resume=resuming, overwrite=command.overwrite)
    documents = load_documents(command.corpus)
    settings = _settings(command, documents)
    before = read_settings(out / SETTINGS) if resuming else settings
    if before["corpus_sha256"] != settings["corpus_sha256"]:
        raise ValueError(
            f"the corpus {command.corpus} is no longer the text that {out} was "
            "started with; bring the old one back, or start a new run"
        )
    torch.manual_seed(config.seed)
    split = split_documents(documents)
    model, corpus = _prepared(split, command)
    unit = "character" if command.tokenizer == "characters" else "token"
    say(
        f"corpus {command.corpus}: {sum(map(len, documents)):,} characters, "
        f"{len(set().union(*documents))} distinct; "
        f"{len(corpus.training_tokens):,} {unit}s to train on, "
        f"{len(corpus.validation_tokens):,} to validate on"
    )
    if len(documents) > 1:
        others = f"{len(split.validation):,} to validate on"
        shared = ", one of them cut in two" if split.inside else ""
        say(f"documents: {len(split.training):,} to train on, {others}{shared}")
    if changes := _changes(before, settings):
        say(f"other settings from here on: {', '.join(changes)}")
    start = start_tokens(corpus.tokenizer, documents[0])
    threads = command.threads
    if threads is None and device.type != "cpu":
        threads = torch.get_num_threads()
    rows = config.batch_size // config.accumulation_steps
    with fitting_threads(model, rows * model.config.context_length, threads) as count:
        # Kept, so that the run can go on to the last bit: see `fitting_threads`.
        settings["threads"] = count
        together = f", {world_size()} processes" if world_size() > 1 else ""
        parameters = f"{count_parameters(model):,} parameters"
        say(f"model: {parameters}, on {describe(device)}{together}")
        result = _trained(command, model, corpus, start, settings)
        _report(result, out, unit)
        if rank() == 0:
            if command.sample_tokens:
                say(f"\n{command.sample_tokens} {unit}s written by the model:\n")
                longer = SampleConfig(command.sample_tokens, past_context="slide")
                never_fatal(lambda: write(model, corpus.tokenizer, start, longer))
            say(next_steps(out, config.steps))


class _Corpus(NamedTuple):
    """A text as a run needs it: its tokenizer, both parts as ids, and a count."""

    tokenizer: CharTokenizer | BPETokenizer
    training_tokens: np.ndarray
    validation_tokens: np.ndarray
    validation_bytes: int  # in UTF-8, without the first token: it is not predicted


def _trained(
    command: Train,
    model: GPT,
    corpus: _Corpus,
    start: list[int],
    settings: dict[str, Any],
) -> TrainResult:
    """Train, and tell of each look; samples begin with the tokens of `start`."""
    out, config, tokenizer = command.out, command.training, corpus.tokenizer
    assert out is not None

    def sample(step: int) -> None:
        every = command.sample_every
        measured_before = (step - 1) // config.eval_every * config.eval_every
        if every and step // every > measured_before // every:
            longer = SampleConfig(max_new_tokens=200, past_context="slide")
            _, growing = generate_rows(model, tokenizer, [start], longer)
            words = "".join(part for _, part in growing)
            add_sample(out / "samples.txt", step, words)
            if step < config.steps or not command.sample_tokens:  # else more follows
                say(indented(words))

    def tell(entry: dict[str, Any]) -> None:
        say(progress_line(entry, measured_so_far(out, entry), config.steps))
        never_fatal(lambda: sample(entry["step"]))

    return train(
        model,
        corpus.training_tokens,
        corpus.validation_tokens,
        tokenizer,
        config,
        validation_bytes=corpus.validation_bytes,
        out=out,
        resume=command.resume is not None,
        overwrite=command.overwrite,
        settings=settings,
        checkpoint_every=command.checkpoint_every,
        keep_checkpoints=command.keep_checkpoints,
        on_eval=tell,
    )


def _report(result: TrainResult, out: Path, unit: str) -> None:
    """Say what came of a run, and draw its losses."""
    say(
        f"loss on the whole validation split: {result.validation_loss:.4f} nats per "
        f"{unit}, {result.bits_per_byte:.4f} bits per byte, after step "
        f"{result.best_step:,}"
    )
    last = result.history[-1]["step"]
    if result.best_step != last:
        say(
            f"that is the best model, and the one that is kept; the last one has "
            f"{result.last_validation_loss:.4f} nats per {unit}, and is in "
            f"{out / 'checkpoints' / f'step-{last}' / 'model'}"
        )
    speed = f"{result.tokens_per_second:,.0f} tokens/s"
    say(f"trained for {result.seconds:.0f} s at {speed}")
    if (share := result.history[-1].get("model_flops_utilization")) is not None:
        say(f"that is {share:.0%} of what the device could compute at most")
    if result.skipped_steps:
        why = "loss or gradient were not finite"
        say(f"{result.skipped_steps} steps were skipped: {why}")
    say(f"checkpoint and metrics are in {out}")
    if rank() == 0:
        say(draw_runs({str(out): result.history}, out / "loss.png"))


def _prepared(split: DocumentSplit, command: Train) -> tuple[GPT, _Corpus]:
    """The model to train, and the text as it needs it.

    The text is cut at the same place whatever the tokenizer, so that bits per byte of
    two runs speak of the same text.

    Raises:
        ValueError: if tokenizer, shape, corpus and the model to start from do not fit.
    """
    weights: dict[str, torch.Tensor] | None = None
    tokenizer = None if command.resume is None else newest_tokenizer(command.resume)
    if tokenizer is None and command.initialize_from is not None:
        folder = initial_model(command.initialize_from)
        source, tokenizer = from_pretrained(folder, dtype=torch.float32)
        weights = source.state_dict()
    if tokenizer is None:
        tokenizer = _trained_tokenizer(split, command)
    elif isinstance(tokenizer, CharTokenizer) != (command.tokenizer == "characters"):
        raise ValueError(f"--tokenizer {command.tokenizer} is not that of the model")
    shape = command.model.closed(command.model.vocab_size or tokenizer.vocab_size)
    if weights is not None:
        has, asked = (dataclasses.asdict(each) for each in (source.config, shape))
        # Dropout belongs to training, not to the weights.
        names = [name for name in has if not name.endswith("dropout")]
        if others := [name for name in names if has[name] != asked[name]]:
            said = ", ".join(f"{name} {asked[name]} ({has[name]})" for name in others)
            raise ValueError(
                f"the model in {folder} is of another shape: {said}; leave these out"
            )
    model = GPT(shape)
    if weights is not None:
        model.load_state_dict(weights)
    training, validation = encode_split(split, tokenizer)
    predicted = count_text_bytes(tokenizer, validation[1:])
    return model, _Corpus(tokenizer, training, validation, predicted)


def _trained_tokenizer(
    split: DocumentSplit, command: Train
) -> CharTokenizer | BPETokenizer:
    """The tokenizer that was asked for; tokens are learned from the training part only.

    Learned tokens come with one that ends a document, where there are several. Of a
    single document nobody sees the end, and a model would never learn what the token
    means. Characters have none: an empty line stands between documents.

    Raises:
        ValueError: if --vocab-size does not fit the tokenizer or the corpus.
    """
    asked = command.model.vocab_size
    if command.tokenizer == "bpe":
        size = BPE_VOCAB_SIZE if asked is None else asked
        several = len(split.training) + len(split.validation) - split.inside > 1
        special = (END_OF_TEXT,) if several else ()
        text = "\n\n".join(split.training)
        return BPETokenizer.train(text, size, special_tokens=special)
    tokenizer = CharTokenizer.train("\n\n".join((*split.training, *split.validation)))
    if asked not in (None, tokenizer.vocab_size):
        raise ValueError(
            f"vocab_size {asked} does not fit the corpus, which has "
            f"{tokenizer.vocab_size} distinct characters; leave --vocab-size out"
        )
    return tokenizer


def _settings(command: Train, documents: list[str]) -> dict[str, Any]:
    """What a run's settings.toml holds: all that starts it again."""
    settings = dataclasses.asdict(command)
    for name in ("out", "config", "resume", "overwrite"):  # where and how, not what
        settings.pop(name)
    if command.tokenizer == "characters" and command.initialize_from is None:
        settings["model"].pop("vocab_size")  # follows from the corpus
    settings["corpus"] = corpus_name(command.corpus)
    if command.initialize_from and Path(command.initialize_from).is_dir():
        settings["initialize_from"] = os.path.abspath(command.initialize_from)
    # The marker stands in no document, so that their borders count too.
    digest = hashlib.sha256(END_OF_TEXT.join(documents).encode()).hexdigest()
    return {RUN_VERSION: VERSION, "corpus_sha256": digest, **settings}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is set otherwise than before, in words; TOML leaves out what is None."""
    words = []
    for name, value in after.items():
        if isinstance(value, dict):
            words += _changes(before.get(name, {}), value)
        elif (old := before.get(name)) != value:
            words.append(f"{name} {value} (it was {old})")
    return words


def describe(device: torch.device) -> str:
    """The device in words: the card's name, or the number of threads on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    threads = torch.get_num_threads()
    return f"cpu ({threads} thread{'s' * (threads > 1)})"
