"""From a published small recipe to ours, one change after the other, with three seeds.

    python -m bench speedrun --corpus FILE                 all of it, half an hour on one core
    python -m bench speedrun --corpus FILE --only ladder   these runs only, into what there is
    python -m bench speedrun --quick --out FOLDER          minuscule sizes, to see that it runs

`ladder` goes from the published recipe to the record's and one rung further; each has one change
more than the one before. `taken back` undoes one choice of the last rung at a time and `added` adds
one idea. All have 170 steps. What an idea does to a model is the chapter's own: its cells are read
from its notebook. `race` runs the last rung as an entry against the record, and `clock` times a
step in several ways; both in turns.

The rules are those of the race (`bench/records.py`): whole validation split, processor seconds of
the steps alone, one thread.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bench import harness
from bench.records import SEEDS, Track, verdict
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import flops_per_token
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT
from mini_gpt.speedrun import PUBLISHED, RECORD, TARGET, Recipe
from mini_gpt.trainer import Stepper

IDEAS = ("normalize_queries_and_keys", "square_relu", "zero_outputs", "add_value_tables")
BOOK = Path(__file__).resolve().parent.parent / "book"
STEPS = 170  # of all runs that are compared
LAST = "RMS, no clipping"  # the last rung of the ladder
TURN = 10  # steps in a turn of the clock
Kinds = dict[str, dict[str, Recipe]]


def chapter_ideas(notebook: Path | None = None) -> dict[str, Callable[..., None]]:
    """What the chapter does to a new model for each idea, from its own cells.

    Raises:
        RuntimeError: if the chapter has no such function any more.
    """
    notebook = notebook or next(BOOK.glob("*_speedrun.ipynb"))
    namespace: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
    wanted = tuple(f"def {name}(" for name in IDEAS)
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and any(line in source for line in wanted):
            exec(compile(source, notebook.name, "exec"), namespace)
    missing = [name for name in IDEAS if name not in namespace]
    if missing:
        raise RuntimeError(f"{notebook.name} defines no {', '.join(missing)}")
    return {name: namespace[name] for name in IDEAS}


def kinds() -> Kinds:
    """All runs, by kind and name."""
    faster = {"muon_learning_rate": 6e-2, "max_grad_norm": 100.0, "decay_steps": 120}
    fast = RECORD.with_model(normalization="rms").with_training(steps=STEPS, **faster)
    steps = {"steps": STEPS, "warmup_steps": RECORD.training.warmup_steps}
    straight = {"schedule": "wsd", "decay_steps": 2000, "min_lr": 0.0}
    short = {"learning_rate": 8e-2, "beta1": 0.8, "weight_decay": 0.0}
    published = PUBLISHED.with_training(**steps)
    rotary = published.with_model(position="rotary")
    rate = rotary.with_training(learning_rate=6e-3, **straight)
    muon = rate.with_training(optimizer="muon", muon_learning_rate=4e-2)
    biases = muon.with_model(bias=True)
    ladder = {
        "published": published,
        "rotary positions": rotary,
        "a higher rate, to 0": rate,
        "Muon for the matrices": muon,
        "biases": biases,
        "rates, shorter memory": biases.with_training(**short),
        LAST: fast,
    }
    adamw = {"optimizer": "adamw", "learning_rate": 6e-3, "beta1": 0.9, "max_grad_norm": 1.0}
    taken = {
        "learned positions": fast.with_model(position="learned"),
        "AdamW, clipped": fast.with_training(**adamw),
        "no biases": fast.with_model(bias=False),
        "a constant rate": fast.with_training(decay_steps=1),
    }
    idea = chapter_ideas()
    constant = fast.with_training(decay_steps=1)
    added = {
        "normalized queries and keys": replace(fast, prepare=(idea["normalize_queries_and_keys"],)),
        "squared ReLU": replace(fast, prepare=(idea["square_relu"],)),
        "outputs that begin at zero": replace(fast, prepare=(idea["zero_outputs"],)),
        "value tables": replace(fast, prepare=(idea["add_value_tables"],)),
        "average of weights": replace(fast, average=0.9),
        "average, constant rate": replace(constant, average=0.95),
    }
    return {"ladder": ladder, "taken back": taken, "added": added}


def race(track: Track) -> dict[str, list[dict[str, Any]]]:
    """The last rung, with five steps more, as an entry against the record: in turns."""
    entry = kinds()["ladder"][LAST].with_training(steps=STEPS + 5)
    contestants = {"the record": RECORD, LAST: entry}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for seed in SEEDS:
        for name in list(contestants)[:: 1 if seed % 2 else -1]:
            found[name].append(track.run(contestants[name], seed))
    return found


def clock(track: Track, rounds: int) -> dict[str, Any]:
    """A step of the record in several ways, in turns: processor seconds, a figure a round."""
    recipe = track.shortened(RECORD)
    settings = replace(recipe.training, steps=100_000, warmup_steps=0)
    shape = replace(track.shape, **recipe.model)
    rms = replace(shape, normalization="rms")

    def stepper(shape: GPTConfig = shape, **changes: Any) -> Stepper:
        torch.manual_seed(1)
        model = GPT(shape)
        return Stepper(model, track.training, replace(settings, **changes))

    apart = stepper()
    whole = apart.predict

    def outside(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return next_token_loss(whole(ids), targets, reduction="sum")

    apart.predict = outside
    contestants = {
        "as it is": stepper(),
        "loss outside the model": apart,
        "AdamW in place of Muon": stepper(optimizer="adamw"),
        "RMS normalization": stepper(rms),
    }
    if not track.quick:
        contestants["compiled"] = stepper(compile=True)
    for one in contestants.values():
        one.step()  # compiles, if it does
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    with harness.collector_off():
        for turn in range(rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                start = time.process_time()
                for _ in range(TURN):
                    contestants[name].step()
                seconds[name].append(round((time.process_time() - start) / TURN, 5))
    return {"steps": {name: {"seconds": found} for name, found in seconds.items()}}


def table(results: dict[str, Any]) -> str:
    """A row for each kind of run: steps, losses, FLOPs, seconds."""
    parts = []
    for kind, runs_of in results["runs"].items():
        rows = []
        for name, runs in runs_of.items():
            mean = statistics.mean(run["loss"] for run in runs)
            seconds = statistics.median(run["seconds"] for run in runs)
            losses = ", ".join(f"{run['loss']:.3f}" for run in runs)
            cells = [f"{runs[0]['steps']:,}", f"{mean:.4f}", losses]
            rows.append([name, *cells, f"{runs[0]['flops'] / 1e12:.2f}", f"{seconds:.1f}"])
        header = [kind, "steps", "mean loss", "each seed", "10^12 FLOPs", "processor seconds"]
        parts.append(harness.table(header, rows))
    if "race" in results:
        record, entry = results["race"].values()
        parts.append(f"{LAST}, {entry[0]['steps']} steps: {verdict(entry, record)[1]}.\n")
    if "clock" in results:
        steps = results["clock"]["steps"]
        base = steps["as it is"]["seconds"]
        rows = []
        for name, found in steps.items():
            ratios = [a / b for a, b in zip(found["seconds"], base, strict=True)]
            median = 1000 * statistics.median(found["seconds"])
            cells = [f"{median:.1f}", f"{statistics.median(ratios):.2f}"]
            rows.append([name, *cells])
        parts.append(harness.table(["a step", "processor milliseconds", "of it as it is"], rows))
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = harness.parser(__doc__)
    parser.add_argument("--corpus", type=Path, help="the text of tiny Shakespeare")
    parser.add_argument(
        "--only", nargs="+", help="ladder, taken back, added, race, clock, or names"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="one run of each")
    options = parser.parse_args(arguments)
    effort = harness.prepare(options)
    torch.set_num_threads(1)
    try:
        track = Track(options.corpus, options.quick)
    except (OSError, ValueError) as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 2
    path = harness.json_path("speedrun", options.out)
    results: dict[str, Any] = {"environment": {}, "target": TARGET, "runs": {}}
    if path.exists():
        results = json.loads(path.read_text(encoding="utf-8"))
    results["environment"] = harness.environment()
    save = partial(harness.save, "speedrun", folder=options.out)
    for kind, recipes in kinds().items():
        for name, recipe in recipes.items():
            if options.only and not {kind, name} & set(options.only):
                continue
            for seed in options.seeds:
                run = track.run(recipe, seed)
                shape = replace(track.shape, **recipe.model)
                tokens = run["steps"] * track.shortened(recipe).training.batch_size
                run["flops"] = tokens * shape.context_length * flops_per_token(shape)
                rows = results["runs"].setdefault(kind, {})
                kept = [one for one in rows.get(name, []) if one["seed"] != seed]
                kept = [one for one in kept if one["steps"] == run["steps"]]
                rows[name] = sorted([*kept, run], key=lambda one: one["seed"])
                # In the order in which they stand above, whatever was run first.
                results["runs"][kind] = {n: rows[n] for n in recipes if n in rows}
                print(kind, name, run, flush=True)
                save(results=results, markdown=table(results))
    if not options.only or "race" in options.only:
        results["race"] = race(track)
    if not options.only or "clock" in options.only:
        results["clock"] = clock(track, effort.rounds)
    save(results=results, markdown=table(results))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
