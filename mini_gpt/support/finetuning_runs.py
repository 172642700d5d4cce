"""The experiments of the chapter on fine-tuning, and what longer runs of them found.

`stored/finetuning.json` is what `python -m bench finetuning` writes, on one thread.
"""

from __future__ import annotations

import copy
import itertools
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mini_gpt.data import BatchLoader
from mini_gpt.finetuning import (
    Classifier,
    add_lora,
    class_loss,
    finetune,
    text_batch,
)
from mini_gpt.model import GPT
from mini_gpt.optimizer import OptimizerConfig
from mini_gpt.support.bag_of_words import Labeled, bag_of_words
from mini_gpt.support.instructions import (
    Exchange,
    common_words,
    first_lines,
    make_exchanges,
)
from mini_gpt.support.stored_results import stored_result
from mini_gpt.tokenizer import BPETokenizer

TAUGHT = ("repeat", "reverse", "count", "speak")
SWEPT = (None, 0, 1, 8, 32)  # ranks: before the training, all weights, and LoRA
RATES = {"full": 1e-3, "lora": 3e-3}
STEPS, BATCH_SIZE, CLASS_STEPS = 200, 16, 60
WAYS = ("head", "lora", "full", "head, twin", "full, twin")


def stored() -> dict[str, Any]:
    """What the longer runs found: "ranks", "replay", "classes", "obey"."""
    return stored_result("finetuning")


def by_rank(
    records: Sequence[dict[str, Any]], name: str, ranks: Sequence[int | None]
) -> Float[Tensor, "seeds ranks"]:
    """A number that was measured, for each seed and rank: 0 means all weights, None
    before the training. Seeds of which a rank of `SWEPT` is missing are left out.
    """
    found = {(one["seed"], one["rank"]): one for one in records}
    seeds = [
        seed
        for seed in sorted({one["seed"] for one in records})
        if all((seed, rank) in found for rank in SWEPT)
    ]
    rows = [[found[seed, rank].get(name) for rank in ranks] for seed in seeds]
    return torch.tensor(rows)


def mean_exact(
    records: Sequence[dict[str, Any]], ranks: Sequence[int]
) -> Float[Tensor, "seeds ranks"]:
    """The share of right answers, the mean over the kinds, for each seed and rank."""
    kinds = len(TAUGHT)
    means = [{**x, "mean": sum(x.get("exact", {}).values()) / kinds} for x in records]
    return by_rank(means, "mean", ranks)


def accuracies(
    records: Sequence[dict[str, Any]], ways: Sequence[str]
) -> dict[str, Float[Tensor, "seeds ways"]]:
    """How many texts each way gets right, for each task and seed.

    Seeds of which a task is missing are left out.
    """
    found = {(one["task"], one["seed"]): one["accuracy"] for one in records}
    names = dict.fromkeys(task for task, _ in found)
    seeds = sorted({seed for _, seed in found})
    whole = [seed for seed in seeds if all((task, seed) in found for task in names)]
    return {
        task: torch.tensor([[found[task, seed][way] for way in ways] for seed in whole])
        for task in names
    }


def _span(values: Float[Tensor, " seeds"], form: str) -> str:
    """The smallest and the largest of some values, or one where they look alike."""
    low, high = form.format(values.min()), form.format(values.max())
    return low if low == high else f"{low} to {high}"


def rank_table(record: dict[str, Any]) -> str:
    """The chapter's table of ranks, all seeds of a row in one cell."""
    records = record["ranks"]
    before = by_rank(records, "bits_per_byte", [None])[:, 0]
    rows = [
        f"| trained (seeds: {len(before)}) | exact match | bits per byte |",
        "|---|---|---|",
        f"| nothing | 0% | {_span(before, '{:.2f}')} |",
    ]
    for rank, name in (
        *((n, f"LoRA, rank {n}") for n in (1, 8, 32)),
        (0, "all weights"),
    ):
        exact = _span(100 * mean_exact(records, [rank])[:, 0], "{:.0f}%")
        lost = _span(by_rank(records, "bits_per_byte", [rank])[:, 0], "{:.2f}")
        rows.append(f"| {name} | {exact} | {lost} |")
    for rank, name in ((8, "LoRA, rank 8"), (0, "all weights")):
        some = [one for one in record["replay"] if one["rank"] == rank]
        right = [sum(one["exact"].values()) / len(TAUGHT) for one in some]
        exact = _span(100 * torch.tensor(right), "{:.0f}%")
        lost = _span(torch.tensor([one["bits_per_byte"] for one in some]), "{:.2f}")
        rows.append(f"| {name}, old text among the new | {exact} | {lost} |")
    return "\n".join(rows)


def class_table(record: dict[str, Any]) -> str:
    """The chapter's table of ways to tell classes apart, all seeds in one cell."""
    names = {
        "bag of words": "bag of words",
        "head": "head alone",
        "lora": "LoRA, rank 8",
        "full": "all weights",
        "head, twin": "twin, head alone",
        "full, twin": "twin, all weights",
    }
    found = accuracies(record["classes"], list(names))
    tasks = list(found)
    rows = [
        f"| seeds: {len(found[tasks[0]])} | {' | '.join(tasks)} |",
        "|---" * (1 + len(tasks)) + "|",
    ]
    for place, name in enumerate(names.values()):
        cells = [_span(100 * found[task][:, place], "{:.0f}%") for task in tasks]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def exchanges(
    text: str, tokenizer: BPETokenizer, kinds: Sequence[str], seed: int
) -> tuple[list[Exchange], list[Exchange]]:
    """Commands to learn from, and 30 of each kind to test on, none of them in both.

    Whoever is spoken for in the test is never spoken for in training.
    """
    words = common_words(text, tokenizer, 100)
    lines = {name: x for name, x in first_lines(text).items() if len(x) >= 20}
    names = sorted(lines)
    tested = {name: lines[name] for name in names[::5]}
    spoken = {name: lines[name] for name in names if name not in tested}
    count = 30 * len(kinds)
    test = make_exchanges(kinds, words, count, 2 * seed + 1, lines=tested)
    avoid = {one.command for one in test}
    training = make_exchanges(kinds, words, 4000, 2 * seed, avoid=avoid, lines=spoken)
    return training, test


def mixed(
    batches: Iterator[tuple[Tensor, Tensor]], old: Int[np.ndarray, " tokens"], seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Two batches of commands, then one of the text that was learned before; again."""
    windows = BatchLoader(old, batch_size=4, context_length=64, seed=seed)
    while True:
        yield next(batches)
        yield next(batches)
        yield next(windows)


def stretches(text: str, length: int = 10) -> list[str]:
    """A text cut into parts of so many words, in small letters, without signs."""
    words = re.findall(r"[a-z']+", re.sub(r"\[[^\]]*\]", " ", text).lower())
    ends = range(length, len(words) + 1, length)
    return [" " + " ".join(words[end - length : end]) for end in ends]


def speeches(text: str, name: str) -> list[str]:
    """What somebody says in a play, cut into parts of ten words."""
    found = re.findall(rf"(?<=\n){name}\.\n((?:.+\n)+)", text)
    return [part for speech in found for part in stretches(speech)]


def tasks(unseen: str) -> dict[str, list[Labeled]]:
    """Texts with two classes: who speaks, and whether words are in their order."""
    draw = random.Random(0)
    speakers = [(x, 0) for x in speeches(unseen, "THERSITES")]
    speakers += [(x, 1) for x in speeches(unseen, "ULYSSES")]
    lines = draw.sample(stretches(re.sub(r"(?m)^[A-Z ]+\.$", "", unseen)), 700)
    ordered = [(x, 0) for x in lines[:350]]
    for line in lines[350:]:
        words = line.split()
        mixed = draw.sample(words, len(words))
        ordered.append((" " + " ".join(mixed), 1))
    return {"who speaks": speakers, "in order": ordered}


def verse_or_bible(unseen: str, bible: str) -> list[Labeled]:
    """Texts with two classes: Shakespeare that no model has seen, and King James."""
    draw = random.Random(1)
    plays = stretches(re.sub(r"(?m)^[A-Z ]+\.$", "", unseen))
    verses = stretches(bible)
    return [(x, 0) for x in draw.sample(plays, 350)] + [
        (x, 1) for x in draw.sample(verses, 350)
    ]


def split_task(
    made: Sequence[Labeled], seed: int, training: int = 256, test: int = 160
) -> tuple[list[Labeled], list[Labeled]]:
    """So many texts to learn from and others to test on, drawn from a seed."""
    mixed = random.Random(seed).sample(made, len(made))
    return mixed[:training], mixed[training : training + test]


def classify(
    model: GPT,
    tokenizer: BPETokenizer,
    training: Sequence[Labeled],
    test: Sequence[Labeled],
    config: OptimizerConfig,
    seed: int,
) -> float:
    """Train a head, and what is not frozen below it; the share that is right then."""
    torch.manual_seed(seed)
    classifier = Classifier(model, 2)
    texts, labels = zip(*training, strict=True)
    ids, lengths = text_batch(tokenizer, texts)
    marks, draw = torch.tensor(labels), random.Random(seed)

    def batches() -> Any:
        for _ in itertools.count():
            rows = torch.tensor(draw.sample(range(len(ids)), min(32, len(ids))))
            yield ids[rows], lengths[rows], marks[rows]

    finetune(classifier, batches(), config, class_loss)
    texts, labels = zip(*test, strict=True)
    with torch.no_grad():
        found = classifier.eval()(*text_batch(tokenizer, texts)).argmax(1)
    return float((found == torch.tensor(labels)).float().mean())


def compare(
    base: GPT,
    tokenizer: BPETokenizer,
    training: Sequence[Labeled],
    test: Sequence[Labeled],
    seed: int,
    steps: int = CLASS_STEPS,
    ways: Sequence[str] = WAYS,
) -> dict[str, float]:
    """A task in several ways; the twin has the model's shape and random weights."""
    rates = {"head": 3e-2, "full": 3e-4, "lora": 3e-3}
    found = {"bag of words": bag_of_words(training, test)}
    for name in ways:
        kind = name.partition(",")[0]
        torch.manual_seed(seed)
        model = GPT(base.config) if "twin" in name else copy.deepcopy(base)
        if kind == "head":
            model.requires_grad_(False)
        elif kind == "lora":
            add_lora(model, 8)
        config = OptimizerConfig(
            steps=steps,
            learning_rate=rates[kind],
            min_lr=0.0,
            warmup_steps=min(10, steps // 2),
            weight_decay=0.0,
        )
        work = tokenizer, training, test, config, seed
        found[name] = classify(model, *work)
    return found
