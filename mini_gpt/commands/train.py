"""`mini-gpt train`: from a text to a model that writes like it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch

from mini_gpt.commands.plot import draw_runs
from mini_gpt.commands.sample import write
from mini_gpt.commands.train_corpus import Corpus, Source, open_source
from mini_gpt.commands.train_options import (
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
from mini_gpt.support.checkpoint import newest_model, newest_tokenizer
from mini_gpt.support.corpus import corpus_name
from mini_gpt.support.device import resolve_device
from mini_gpt.support.distributed import process_group, rank, world_size
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.run_folder import (
    MODEL,
    SETTINGS,
    check_run_folder,
    new_run_folder,
)
from mini_gpt.support.settings_file import read_settings
from mini_gpt.support.sharding import is_sharded
from mini_gpt.support.state_file import VERSION
from mini_gpt.support.threads import fitting_threads
from mini_gpt.support.validation import whole_number


def run_train(command: Train) -> None:
    """Fetch or read the corpus, train, report, draw the loss curve, and sample."""
    if command.sample_every < 0 or command.sample_tokens < 0:
        raise ValueError("sample_every and sample_tokens must be at least 0")
    if command.resume is not None and command.out != command.resume:
        raise ValueError("--resume goes on in the run's own folder; leave --out out")
    if command.resume is not None and command.overwrite:
        raise ValueError("give only one of --resume and --overwrite")
    if command.go_on and command.overwrite:
        raise ValueError("give only one of --go-on and --overwrite")
    if command.validation_tokens is not None:
        whole_number("validation_tokens", command.validation_tokens, at_least=1)
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
    source = open_source(command.corpus)
    command = dataclasses.replace(command, tokenizer=source.kind(command))
    settings = _settings(command, source)
    before = read_settings(out / SETTINGS) if resuming else settings
    if before["corpus_sha256"] != settings["corpus_sha256"]:
        raise ValueError(
            f"the corpus {command.corpus} is no longer the text that {out} was "
            "started with; bring the old one back, or start a new run"
        )
    torch.manual_seed(config.seed)
    model, corpus = _prepared(source, command)
    del source  # and with it a text that has been encoded
    for line in corpus.summary:
        say(line)
    if changes := _changes(before, settings):
        say(f"other settings from here on: {', '.join(changes)}")
    threads = command.threads
    if threads is None and device.type != "cpu":
        threads = torch.get_num_threads()
    rows = config.batch_size // config.accumulation_steps
    with fitting_threads(model, rows * model.config.context_length, threads) as count:
        # Kept, so that the run can go on to the last bit: see `fitting_threads`.
        settings["threads"] = count
        together = f", {world_size()} processes" if world_size() > 1 else ""
        if config.shard:
            alone = ", not sharded: torchrun starts several processes"
            together = f"{together} that share it" if together else alone
        parameters = f"{count_parameters(model):,} parameters"
        say(f"model: {parameters}, on {describe(device)}{together}")
        result = _trained(command, model, corpus, settings)
        _report(result, out, corpus)
        if rank() == 0:
            if command.sample_tokens:
                say(f"\n{command.sample_tokens} {corpus.unit}s written by the model:\n")
                longer = SampleConfig(command.sample_tokens, past_context="slide")

                def sample() -> None:
                    best = _writer(model, out / MODEL)
                    write(best, corpus.tokenizer, corpus.start, longer)

                never_fatal(sample)
            say(next_steps(out, config.steps))


def _writer(model: GPT, saved: Path) -> GPT:
    """A model that this process writes with alone: of a sharded one, a saved copy.

    It writes in main memory, while the others wait.
    """
    return from_pretrained(saved)[0] if is_sharded(model) else model


def _trained(
    command: Train, model: GPT, corpus: Corpus, settings: dict[str, Any]
) -> TrainResult:
    """Train, and tell of each look."""
    out, config, tokenizer = command.out, command.training, corpus.tokenizer
    assert out is not None

    def sample(step: int) -> None:
        every = command.sample_every
        measured_before = (step - 1) // config.eval_every * config.eval_every
        if every and step // every > measured_before // every:
            longer = SampleConfig(max_new_tokens=200, past_context="slide")
            writer = _writer(model, newest_model(out))
            _, growing = generate_rows(writer, tokenizer, [corpus.start], longer)
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


def _report(result: TrainResult, out: Path, corpus: Corpus) -> None:
    """Say what came of a run, and draw its losses."""
    unit = corpus.unit
    say(
        f"loss on {corpus.measured}: {result.validation_loss:.4f} nats per "
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


def _prepared(source: Source, command: Train) -> tuple[GPT, Corpus]:
    """The model to train, and the corpus in its tokens.

    Raises:
        ValueError: if tokenizer, shape, corpus and the model to start from do not fit.
    """
    weights: dict[str, torch.Tensor] | None = None
    tokenizer = None if command.resume is None else newest_tokenizer(command.resume)
    if tokenizer is None and command.initialize_from is not None:
        folder = initial_model(command.initialize_from)
        initial, tokenizer = from_pretrained(folder, dtype=torch.float32)
        weights = initial.state_dict()
    corpus = source.corpus(command, tokenizer).bounded(command.validation_tokens)
    tokenizer = corpus.tokenizer
    shape = command.model.closed(command.model.vocab_size or tokenizer.vocab_size)
    if weights is not None:
        has, asked = (dataclasses.asdict(each) for each in (initial.config, shape))
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
    return model, corpus


def _settings(command: Train, source: Source) -> dict[str, Any]:
    """What a run's settings.toml holds: all that starts it again."""
    settings = dataclasses.asdict(command)
    how = "out", "config", "resume", "go_on", "overwrite", "preset"  # not what
    for name in how:
        settings.pop(name)
    if command.tokenizer == "characters" and command.initialize_from is None:
        settings["model"].pop("vocab_size")  # follows from the corpus
    settings["corpus"] = corpus_name(command.corpus)
    if command.initialize_from and Path(command.initialize_from).is_dir():
        settings["initialize_from"] = os.path.abspath(command.initialize_from)
    return {RUN_VERSION: VERSION, "corpus_sha256": source.digest, **settings}


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
