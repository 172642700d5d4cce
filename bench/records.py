"""The ledger of the speed-run: run the record, or an entry beside it, and keep what is faster.

    python -m bench records --corpus FILE                   the record as it stands, on this machine
    python -m bench records --corpus FILE --entry MINE.py   an entry and the record, in turns
    python -m bench records --corpus FILE --entry MINE.py --keep "who: what is new"
    python -m bench records --quick --out FOLDER            minuscule sizes, to see that it runs

`MINE.py` defines `RECIPE`, a `mini_gpt.speedrun.Recipe`. The rules:

* Data: tiny Shakespeare, 1,115,394 characters, known by its SHA-256. The first nine tenths are
  trained on, a character each a token; the last tenth is for measuring and for nothing else.
* Target: a mean loss of at most 1.90 nats per character over seeds 1, 2 and 3, each on the whole
  validation split, in windows of 64 characters, after the recipe's last step.
* Model: the package's `GPT` with 4 layers, 4 heads, width 128 and a context of 64. What is done to
  it before training may not know the text, must keep it causal, and may bring it to 850,000
  parameters at most.
* Clock: processor seconds of the steps, one thread: batches, forward, backward, update, averages.
* Everything else is free. An entry is a record if it takes less time than the record in the same
  run, in turns, in the median over the three seeds.
"""

from __future__ import annotations

import hashlib
import json
import runpy
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import harness
from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.data import train_val_split
from mini_gpt.diagnostics import check_causality, count_parameters, random_batch
from mini_gpt.loss import evaluate
from mini_gpt.model import GPT
from mini_gpt.speedrun import RECORD, SHAPE, TARGET, Recipe, run_recipe

SEEDS = (1, 2, 3)
MOST_PARAMETERS = 850_000
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
QUICK_TEXT = "to be, or not to be: that is the question. " * 40
QUICK_SHAPE = replace(SHAPE, context_length=8, layers=2, heads=2, width=16)
FIXED = ("vocab_size", "context_length", "layers", "heads", "width", "hidden_width")


class Track:
    """The data and the size of the model.

    Raises:
        ValueError: if the text is another one than the race's.
    """

    def __init__(self, corpus: Path | None, quick: bool = False) -> None:
        if quick:
            text = QUICK_TEXT
        elif corpus is None:
            raise ValueError("give the text of tiny Shakespeare: --corpus FILE")
        else:
            text = corpus.read_text(encoding="utf-8")
            if hashlib.sha256(text.encode()).hexdigest() != SHA256:
                raise ValueError(
                    f"{corpus} holds {len(text):,} characters that are not tiny Shakespeare; "
                    f"the file of 1,115,394 has the SHA-256 {SHA256}"
                )
        tokenizer = CharTokenizer.train(text)
        tokens = np.array(tokenizer.encode(text), dtype=np.uint16)
        self.training, self.validation = train_val_split(tokens, 0.1)
        size = QUICK_SHAPE if quick else SHAPE
        self.shape = replace(size, vocab_size=tokenizer.vocab_size)
        self.quick = quick

    def shortened(self, recipe: Recipe) -> Recipe:
        """The recipe, or one of a few steps where all is minuscule."""
        few = {"steps": 12, "warmup_steps": 2, "batch_size": 4}
        return recipe.with_training(**few) if self.quick else recipe

    def run(self, recipe: Recipe, seed: int) -> dict[str, Any]:
        """One run by the rules: its loss after the last step, and its processor seconds."""
        recipe = self.shortened(recipe)
        with harness.collector_off():
            model, seconds = run_recipe(recipe, self.training, self.shape, seed)
        loss = evaluate(model, self.validation, context_length=self.shape.context_length)
        return {
            "seed": seed,
            "steps": recipe.training.steps,
            "loss": round(loss, 4),
            "seconds": round(seconds, 2),
            "parameters": count_parameters(model),
        }


def check_entry(recipe: Recipe, shape: GPTConfig = SHAPE) -> None:
    """Hold an entry to the rules that can be looked up before it runs.

    Raises:
        ValueError: naming the rule that it breaks.
        AssertionError: if a position sees a later one.
    """
    config = replace(shape, **recipe.model)
    for field in FIXED:
        if getattr(config, field) != getattr(shape, field):
            raise ValueError(
                f"{field} {getattr(config, field)} must stay {getattr(shape, field)}: "
                "the race is for a model of this size"
            )
    model = GPT(config)
    for change in recipe.prepare:
        change(model)
    count = count_parameters(model)
    if count > MOST_PARAMETERS:
        raise ValueError(f"{count:,} parameters are more than {MOST_PARAMETERS:,}")
    model.eval()
    check_causality(model, random_batch(config, 1, time=config.context_length))


def verdict(
    entry: Sequence[Mapping[str, Any]], record: Sequence[Mapping[str, Any]]
) -> tuple[bool, str]:
    """Whether an entry beats the record, and why, in a sentence."""
    loss = statistics.mean(run["loss"] for run in entry)
    pairs = zip(entry, record, strict=True)
    ratio = statistics.median(one["seconds"] / max(other["seconds"], 1e-9) for one, other in pairs)
    said = f"mean loss {loss:.4f}, {ratio:.3f} of the record's time"
    if loss > TARGET:
        return False, f"{said}: above the target of {TARGET:.2f}"
    if ratio >= 1:
        return False, f"{said}: no faster than the record"
    return True, f"{said}: a record"


def ledger_table(records: Sequence[Mapping[str, Any]]) -> str:
    """A row for each record, the latest last."""
    rows = []
    for number, record in enumerate(records, start=1):
        losses = ", ".join(f"{run['loss']:.3f}" for run in record["runs"])
        seconds = statistics.median(run["seconds"] for run in record["runs"])
        cells = [record["date"], f"{record['steps']:,}", f"{record['loss']:.4f}", losses]
        cells += [f"{seconds:.1f}", f"{record['ratio']:.2f}", record["what"]]
        rows.append([str(number), *cells])
    header = ["record", "date", "steps", "mean loss", "seeds 1, 2, 3", "processor seconds"]
    return harness.table([*header, "of the one before", "who and what"], rows)


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """The ledger as a page: rules, table, machine."""
    rules = (__doc__ or "").partition("The rules:\n\n")[2]
    machine = records[-1]["environment"]
    where = f"{machine['processor']}, torch {machine['torch']}, Python {machine['python']}"
    return (
        f"# The speed-run: records\n\n{rules}\n{ledger_table(records)}\n"
        f"Seconds of the latest: {where}, one thread. Seconds of different days and machines do "
        "not compare; the ratio, taken in turns, does.\n"
    )


def keep(what: str, own: list[dict[str, Any]], record: list[dict[str, Any]], out: Path) -> None:
    """Write a new record behind the others."""
    path = harness.json_path("records", out)
    records = []
    if path.exists():
        records = json.loads(path.read_text(encoding="utf-8"))["records"]
    pairs = zip(own, record, strict=True)
    ratio = statistics.median(one["seconds"] / max(other["seconds"], 1e-9) for one, other in pairs)
    machine = harness.environment()
    records.append(
        {
            "date": machine["date"],
            "what": what,
            "steps": own[0]["steps"],
            "loss": round(statistics.mean(run["loss"] for run in own), 4),
            "ratio": round(ratio, 3),
            "runs": own,
            "environment": machine,
        }
    )
    harness.save("records", {"records": records}, page(records), out)


def main(arguments: list[str] | None = None) -> int:
    """Run the race; returns the exit status, 1 for an entry that is no record."""
    parser = harness.parser(__doc__)
    parser.add_argument("--corpus", type=Path, help="the text of tiny Shakespeare")
    parser.add_argument("--entry", type=Path, help="a Python file that defines RECIPE")
    parser.add_argument("--keep", help="write the entry into the ledger under these words")
    options = parser.parse_args(arguments)
    harness.prepare(options)
    torch.set_num_threads(1)
    try:
        track = Track(options.corpus, options.quick)
        contestants = {"record": RECORD}
        if options.entry is not None:
            contestants["entry"] = runpy.run_path(str(options.entry))["RECIPE"]
            check_entry(contestants["entry"])
    except (AssertionError, KeyError, OSError, ValueError) as fault:
        missing = isinstance(fault, KeyError)
        said = f"{options.entry} defines no RECIPE" if missing else fault
        print(f"bench: {said}", file=sys.stderr)
        return 2
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for seed in SEEDS:
        names = list(contestants)[:: 1 if seed % 2 else -1]  # each begins in turn
        for name in names:
            found[name].append(track.run(contestants[name], seed))
            print(name, found[name][-1], flush=True)
    if options.entry is None:
        mean = statistics.mean(run["loss"] for run in found["record"])
        print(f"the record: mean loss {mean:.4f}, target {TARGET:.2f}")
        return int(mean > TARGET and not options.quick)
    good, said = verdict(found["entry"], found["record"])
    print(said)
    if options.keep and (good or options.quick):
        keep(options.keep, found["entry"], found["record"], options.out)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
