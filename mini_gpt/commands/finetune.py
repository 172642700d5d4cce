"""`mini-gpt finetune`: a model that has learned to obey, from commands and answers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from mini_gpt.finetuning import add_lora, answer_batches, finetune, merge_lora
from mini_gpt.model import GPT
from mini_gpt.optimizer import OptimizerConfig
from mini_gpt.support.adapter_file import save_adapter
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.device import resolve_device
from mini_gpt.support.files import parse_json, read_text
from mini_gpt.support.hub import SHIPPED_NAME
from mini_gpt.support.instructions import (
    KINDS,
    Exchange,
    chat_model,
    common_words,
    exact_match,
    first_lines,
    make_exchanges,
    prompt_ids,
)
from mini_gpt.support.model_folder import from_pretrained, save_pretrained
from mini_gpt.support.threads import fitting_threads
from mini_gpt.tokenizer import BPETokenizer

ADAPTER, CHECKPOINT = "adapter.safetensors", "checkpoint"
GENERATED, TEST = 6000, 120  # exchanges to learn from where no file is given, to test
RATES = {"lora": 3e-3, "full": 1e-3}


@dataclass(frozen=True)
class Finetune:
    """Teach a model to answer commands, for `mini-gpt chat`."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")] = (
        SHIPPED_NAME
    )
    """What to start from: shakespeare, the model that comes with the package, or the
    folder of a model whose tokens are learned ones (`mini-gpt train --tokenizer bpe`).
    """
    data: Path | None = None
    """Commands and their answers: a file with a JSON object {"command": "...",
    "answer": "..."} on each line. If not given, they are generated: repeat, reverse,
    sort, count, capitals, and speak as somebody.
    """
    out: Path = Path("chat")
    """New folder for the model, and beside it the adapter where --method is lora."""
    method: Literal["lora", "full"] = "lora"
    """Train low-rank maps beside the linear maps, or all weights."""
    rank: int = 8
    """Rank of the low-rank maps."""
    steps: int = 600
    """Steps of training."""
    batch_size: int = 16
    """Commands in each step."""
    learning_rate: float | None = None
    """Highest learning rate; if not given, 0.003 for lora and 0.001 for full."""
    seed: int = 0
    """Seed of the commands, their order and the low-rank maps."""
    device: str = "auto"
    """"cpu", "cuda", "mps", or "auto" for the best one there is."""


def run_finetune(command: Finetune) -> None:
    """Read or generate exchanges, train, report on unseen ones, and save."""
    if command.batch_size < 1:
        raise ValueError(f"--batch-size {command.batch_size} must be at least 1")
    if command.out.exists() and (
        not command.out.is_dir() or any(command.out.iterdir())
    ):
        raise FileExistsError(f"{command.out} is there already; choose another --out")
    config = OptimizerConfig(
        steps=command.steps,
        learning_rate=command.learning_rate or RATES[command.method],
        min_lr=0.0,
        warmup_steps=min(10, command.steps // 2),
        weight_decay=0.0,
    )
    device = resolve_device(command.device)
    base, tokenizer = from_pretrained(_inner(command.model), device, torch.float32)
    if not isinstance(tokenizer, BPETokenizer):
        raise ValueError(
            f"the tokens of {command.model} are characters, which have no special "
            "tokens for the template; start from a model with --tokenizer bpe"
        )
    torch.manual_seed(command.seed)
    model, tokenizer = chat_model(base, tokenizer)
    training, test = _exchanges(command, tokenizer)
    check_lengths(model, tokenizer, [*training, *test])
    if command.method == "lora":
        # Of a copy with more tokens, so that the base can be compared at the end.
        add_lora(model, command.rank)
    weights = [w for w in model.parameters() if w.requires_grad]
    print(f"{len(training):,} commands to learn from, {len(test)} others to test on")
    print(
        f"{command.method}: {sum(w.numel() for w in weights):,} of "
        f"{sum(w.numel() for w in model.parameters()):,} weights are trained",
        flush=True,
    )
    batch_size = min(command.batch_size, len(training))
    batches = answer_batches(tokenizer, training, batch_size, command.seed)
    with fitting_threads(model, batch_size * model.config.context_length):
        losses = finetune(model, batches, config)
    print(f"loss: {losses[0]:.3f} in the first step, {losses[-1]:.3f} in the last")
    for kind, share in exact_match(model.eval(), tokenizer, test).items():
        print(f"right answers to unseen commands, {kind}: {share:.0%}")
    command.out.mkdir(parents=True, exist_ok=True)
    if command.method == "lora":
        path = command.out / ADAPTER
        save_adapter(model, base, path, base_name=command.model)
        print(f"the adapter is {path} ({path.stat().st_size:,} bytes)")
        model = copy.deepcopy(model)
        merge_lora(model)
    save_pretrained(model, tokenizer, command.out / CHECKPOINT)
    print(f"talk to the model with: mini-gpt chat {command.out}")


def _inner(name: str) -> str:
    """The model of a run, or what was named."""
    inner = Path(name) / CHECKPOINT
    return str(inner) if inner.is_dir() else name


def _exchanges(
    command: Finetune, tokenizer: BPETokenizer
) -> tuple[list[Exchange], list[Exchange]]:
    """What to learn from, and what to test on; no command is in both."""
    if command.data is not None:
        return split(read_exchanges(command.data))
    text = load_corpus()
    words = common_words(text, tokenizer, 100)
    lines = {name: said for name, said in first_lines(text).items() if len(said) >= 20}
    names = sorted(lines)
    tested = {name: lines[name] for name in names[::5]}  # never spoken for in training
    spoken = {name: lines[name] for name in names if name not in tested}
    seed = 2 * command.seed
    test = make_exchanges(KINDS, words, TEST, seed + 1, lines=tested)
    avoid = {one.command for one in test}
    training = make_exchanges(KINDS, words, GENERATED, seed, avoid=avoid, lines=spoken)
    return training, test


def split(exchanges: Sequence[Exchange]) -> tuple[list[Exchange], list[Exchange]]:
    """Keep every tenth different command, at least one, for the test.

    Raises:
        ValueError: if there are fewer than two different commands.
    """
    different = list(dict.fromkeys(one.command for one in exchanges))
    if len(different) < 2:
        raise ValueError("give at least two different commands, one of them for a test")
    kept = set(different[9::10] or different[-1:])
    return (
        [one for one in exchanges if one.command not in kept],
        [one for one in exchanges if one.command in kept],
    )


def read_exchanges(path: Path) -> list[Exchange]:
    """The commands and answers in a file: a JSON object on each line.

    Raises:
        ValueError: naming the line that is no such object.
        OSError: if the file cannot be read.
    """
    found = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"line {number} of {path}"
        entry = parse_json(line, place)
        entry = entry if isinstance(entry, dict) else {}
        said = [str(entry.get(name) or "").strip() for name in ("command", "answer")]
        if not all(said):
            raise ValueError(
                f'{place} must be an object with the texts "command" and "answer"'
            )
        found.append(Exchange("from the file", said[0], said[1]))
    return found


def check_lengths(
    model: GPT, tokenizer: BPETokenizer, exchanges: Sequence[Exchange]
) -> None:
    """Refuse an exchange that does not fit the model's context."""
    context = model.config.context_length
    for one in exchanges:
        length = len(prompt_ids(tokenizer, one.command))
        length += len(tokenizer.encode(f" {one.answer}"))
        if length > context:
            raise ValueError(
                f"the command {one.command[:40]!r} and its answer have {length} "
                f"tokens; the model takes {context}; shorten them"
            )
