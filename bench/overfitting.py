"""What a small model learns by heart from 50,000 characters, and what four remedies bring.

    python -m bench overfitting                         all runs, some minutes on one core
    python -m bench overfitting --only "as it was"      these kinds only, into the results there are
    python -m bench overfitting --quick --out FOLDER    minuscule sizes, to see that it runs

Kinds of run that differ in the one thing that their name says: the plain run on 50,000 characters,
dropout, and a large weight decay, three seeds of each; and the whole text instead of the 50,000
characters, one seed. (Stopping at the best is read off the plain run.) A fifth, one seed, is the
demo: the whole text and its larger model. All have the demo's settings and are measured on the same
characters of validation text. In the end each model is given the beginning of every line of the
50,000 characters, and of lines that it has never seen, and goes on with the likeliest character:
how many of the lines does it complete letter for letter?

Everything is drawn from seeds, on one thread: the same machine gives the same numbers again.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from bench import harness
from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.train_options import CPU_TRAINING
from mini_gpt.config import GPTConfig
from mini_gpt.data import train_val_split
from mini_gpt.diagnostics import count_parameters
from mini_gpt.generation import InferenceSession, generate
from mini_gpt.loss import evaluate
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.stored_runs import long_lines
from mini_gpt.trainer import Stepper

SHAPE: dict[str, Any] = {
    "context_length": 64,
    "layers": 3,
    "heads": 4,
    "width": 96,
    "position": "rotary",
}
CONFIG = replace(CPU_TRAINING, device="cpu", precision="float32")  # that of `make demo`
QUICK_SHAPE = {**SHAPE, "context_length": 32, "layers": 1, "heads": 2, "width": 8}
FIRST, CHARACTERS = 1_000_000, 50_000  # of the training part
MEASURED = 8_192  # characters of the validation part
GIVEN = 16  # characters of a line
SEEDS = (1, 2, 3)
KINDS: dict[str, dict[str, Any]] = {
    "as it was": {},
    "dropout 0.2": {"shape": {"dropout": 0.2}},
    "weight decay 1.0": {"config": {"weight_decay": 1.0}},
    "all the text": {"whole": True, "seeds": (1,)},
    "make demo": {"whole": True, "shape": {"layers": 4, "width": 128}, "seeds": (1,)},
}


def completed(model: GPT, tokenizer: CharTokenizer, lines: list[str]) -> list[int]:
    """How many characters of each line, after those that are given, the model gets right.

    It is given the first ones and takes the likeliest character each time, from what it has
    written itself, as far as its context goes.
    """
    ids = [tokenizer.encode(line)[: model.config.context_length] for line in lines]
    written = [row[:GIVEN] for row in ids]
    session, new = InferenceSession(model), [row[:GIVEN] for row in ids]
    for _ in range(max(map(len, ids)) - GIVEN):
        likeliest = session.feed(new)[:, 0].argmax(-1).tolist()
        new = [[id] for id in likeliest]
        for row, id in zip(written, likeliest, strict=True):
            row.append(id)
    right = []
    for row, expected in zip(written, ids, strict=True):
        same = [one == other for one, other in zip(row, expected, strict=False)]
        right.append((same.index(False) if False in same else len(expected)) - GIVEN)
    return right


def by_heart(model: GPT, tokenizer: CharTokenizer, lines: list[str]) -> dict[str, Any]:
    """Which lines are completed to their ends, by number, and the longest that is right."""
    right: list[int] = []
    ended = [line + "\n" for line in lines]
    for first in range(0, len(ended), 100):
        right += completed(model, tokenizer, ended[first : first + 100])
    ends = [min(len(line), model.config.context_length) - GIVEN for line in ended]
    pairs = enumerate(zip(right, ends, strict=True))
    longest = max(range(len(lines)), key=lambda number: right[number])
    return {
        "lines": len(lines),
        "whole": [number for number, (found, end) in pairs if found == end],
        "mean": round(statistics.mean(right), 2),
        "longest": [longest, right[longest]],
    }


def train_one(kind: str, seed: int, data: dict[str, Any], quick: bool = False) -> dict[str, Any]:
    """A run: its losses at every hundredth step, its minutes, and what it knows by heart."""
    changes = KINDS[kind]
    shape = (QUICK_SHAPE if quick else SHAPE) | changes.get("shape", {})
    short: dict[str, Any] = {"steps": 20, "warmup_steps": 2, "decay_steps": 18} if quick else {}
    config = replace(CONFIG, seed=seed, **short, **changes.get("config", {}))
    tokenizer, few = data["tokenizer"], data["few"]
    torch.manual_seed(seed)
    model = GPT(GPTConfig(tokenizer.vocab_size, **shape))
    stepper = Stepper(model, data["training"] if changes.get("whole") else few, config)
    result: dict[str, Any] = {"seed": seed, "training": [], "validation": []}
    seconds, every = 0.0, 10 if quick else 100
    while stepper.steps_done < config.steps:
        began, total = time.process_time(), 0.0
        for _ in range(every):
            total += stepper.step().item()
        seconds += time.process_time() - began
        window: dict[str, Any] = {"context_length": model.config.context_length, "batch_size": 64}
        loss = evaluate(model, data["measured"], **window)
        result["training"].append(round(total / every, 3))
        result["validation"].append(round(loss, 3))
    result["minutes"] = round(seconds / 60, 2)
    if changes.get("whole"):  # the others would recite
        words = SampleConfig(max_new_tokens=80, seed=seed)
        result["sample"] = generate(model, tokenizer, ["\n"], words)[0].text
    result["by_heart"] = by_heart(model, tokenizer, data["lines"])
    result["unseen"] = by_heart(model, tokenizer, data["unseen"])
    return result


def prepare(quick: bool) -> dict[str, Any]:
    """The text in all its parts."""
    text = load_corpus("shakespeare")
    tokenizer = CharTokenizer.train(text)
    tokens = np.array(tokenizer.encode(text), dtype=np.uint8)
    training, validation = train_val_split(tokens)
    few = training[FIRST : FIRST + CHARACTERS]
    lines = long_lines(tokenizer.decode(few.tolist()))
    unseen = long_lines(tokenizer.decode(validation[:CHARACTERS].tolist()))
    return {
        "tokenizer": tokenizer,
        "training": training,
        "few": few,
        "measured": validation[: MEASURED + 1],
        "lines": lines[:20] if quick else lines,
        "unseen": unseen[:20] if quick else unseen,
    }


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    rows = []
    for kind, runs in results["runs"].items():
        best = [min(run["validation"]) for run in runs]
        last = [run["validation"][-1] for run in runs]
        training = [run["training"][-1] for run in runs]
        known = [len(run["by_heart"]["whole"]) for run in runs]
        rows.append(
            [
                kind,
                *(", ".join(f"{loss:.2f}" for loss in some) for some in (training, last, best)),
                ", ".join(map(str, known)),
                f"{statistics.mean(run['minutes'] for run in runs):.1f}",
            ]
        )
    header = ["run", "training, at the end", "validation, at the end", "at best"]
    header += ["lines by heart", "minutes"]
    return (
        "# Overfitting\n\n"
        f"{results['parameters']:,} parameters, {results['characters']:,} characters, "
        f"{results['lines']} long lines in them; nats per character; "
        "a number for each seed. `python -m bench overfitting`\n\n"
        f"{harness.table(header, rows)}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run all kinds, and write what came of them."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="SEED")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads or 1)
    data, path = prepare(options.quick), harness.json_path("overfitting", options.out)
    wanted = options.seeds[:1] if options.quick else options.seeds
    runs: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in KINDS}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))["runs"]
        runs |= {kind: {run["seed"]: run for run in some} for kind, some in before.items()}
    for kind in options.only:
        for seed in KINDS[kind].get("seeds", wanted):
            runs[kind][seed] = train_one(kind, seed, data, options.quick)
            print(f"{kind}: {json.dumps(runs[kind][seed])}", flush=True)
            save(runs, data, options)
    print((options.out / "overfitting.md").read_text(encoding="utf-8"))
    return 0


def save(runs: dict[str, dict[int, dict[str, Any]]], data: dict[str, Any], options: Any) -> None:
    """Write the runs so far, by kind and seed."""
    shape = QUICK_SHAPE if options.quick else SHAPE
    vocab_size = data["tokenizer"].vocab_size
    demo = GPTConfig(vocab_size, **shape | KINDS["make demo"]["shape"])
    results = {
        "environment": harness.environment(),
        "shape": {"vocab_size": vocab_size, **shape},
        "parameters": count_parameters(GPT(GPTConfig(vocab_size, **shape))),
        "demo_parameters": count_parameters(GPT(demo)),
        "config": asdict(CONFIG),
        "first": FIRST,
        "characters": CHARACTERS,
        "measured": MEASURED,
        "lines": len(data["lines"]),
        "runs": {
            kind: [some[seed] for seed in sorted(some)] for kind, some in runs.items() if some
        },
    }
    harness.save("overfitting", results, table(results), options.out)


if __name__ == "__main__":
    sys.exit(main())
