"""What fine-tuning brings, and what it costs: ranks of LoRA, and classes told apart.

    python -m bench finetuning                      all parts, some twenty minutes on one core
    python -m bench finetuning --only ranks --seed 1    a part and a seed, into the file there is
    python -m bench finetuning --only ranks --ranks 8   some ranks (0: all weights), likewise
    python -m bench finetuning --quick --out FOLDER     minuscule sizes, to see that it runs

ranks: the shipped model learns to repeat, reverse, count and speak as somebody, by all of its
weights and by LoRA of several ranks; exact match on unseen commands, and bits per byte of unseen
Shakespeare afterwards. replay: the same with some of the old text among the commands. classes:
who speaks, is the line in its order, is it Shakespeare or the Bible; six ways of telling, two of
them from random weights.
obey: one longer run on all kinds of commands.

Everything is drawn from seeds, on one thread: the same machine gives the same numbers again.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import harness
from mini_gpt.diagnostics import count_parameters
from mini_gpt.finetuning import add_lora, answer_batches, finetune
from mini_gpt.loss import bits_per_byte, evaluate
from mini_gpt.model import GPT
from mini_gpt.optimizer import OptimizerConfig
from mini_gpt.support import finetuning_runs as runs
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.instructions import KINDS, chat_model, exact_match
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.other_texts import king_james
from mini_gpt.tokenizer import BPETokenizer

SEEDS = (0, 1, 2)
RANKS = (1, 8, 32)
MEASURED = 20_000  # tokens of unseen Shakespeare
PARTS = ("ranks", "replay", "classes", "obey")


def started() -> tuple[GPT, GPT, BPETokenizer, str, str]:
    """The shipped model, its copy with the template's tokens, and the two parts of its text."""
    base, tokenizer = from_pretrained("shakespeare")
    assert isinstance(tokenizer, BPETokenizer)
    model, grown = chat_model(base, tokenizer)
    text = load_corpus()
    cut = len(text) - round(0.1 * len(text))
    return base, model, grown, text[:cut], text[cut:]


def forgotten(model: GPT, tokenizer: BPETokenizer, unseen: str, tokens: int) -> float:
    """Bits per byte of a text that no model here has seen."""
    ids = np.array(tokenizer.encode(unseen)[:tokens])
    size = len(tokenizer.decode_bytes(ids[1:].tolist()))
    nats = evaluate(model, ids, context_length=256, batch_size=8)
    return bits_per_byte(nats, len(ids) - 1, size)


def taught(
    start: GPT, tokenizer: BPETokenizer, training: list[Any], seed: int, **how: Any
) -> tuple[GPT, dict[str, Any]]:
    """A copy that has learned some exchanges, and what that took."""
    torch.manual_seed(seed)
    model = copy.deepcopy(start)
    if how["rank"]:
        add_lora(model, how["rank"])
    config = OptimizerConfig(
        steps=how["steps"],
        learning_rate=how["rate"],
        min_lr=0.0,
        warmup_steps=min(10, how["steps"] // 2),
        weight_decay=0.0,
    )
    begun = time.process_time()
    batches = answer_batches(tokenizer, training, how["batch_size"], seed)
    if (old := how.get("old")) is not None:
        batches = runs.mixed(batches, old, seed)
    losses = finetune(model, batches, config)
    return model, {
        "rank": how["rank"],
        "seed": seed,
        "trained": sum(w.numel() for w in model.parameters() if w.requires_grad),
        "loss": sum(losses[-10:]) / len(losses[-10:]),
        "seconds": time.process_time() - begun,
    }


def ranks(seed: int, quick: bool, only: list[int] | None = None) -> list[dict[str, Any]]:
    """All weights, and LoRA of several ranks; the same commands in the same order."""
    _, start, tokenizer, seen, unseen = started()
    tokens, found = 600 if quick else MEASURED, []
    if only is None or 0 in only:
        before = forgotten(start, tokenizer, unseen, tokens)
        found.append({"rank": None, "seed": seed, "bits_per_byte": before})
    training, test = runs.exchanges(seen, tokenizer, runs.TAUGHT, seed)
    for rank in (0, 1) if quick else only or (0, *RANKS):
        rate = runs.RATES["lora" if rank else "full"]
        steps = 2 if quick else runs.STEPS
        how = {"rank": rank, "rate": rate, "steps": steps, "batch_size": runs.BATCH_SIZE}
        model, record = taught(start, tokenizer, training, seed, **how)
        record["exact"] = exact_match(model.eval(), tokenizer, test[: 4 if quick else None])
        record["bits_per_byte"] = forgotten(model, tokenizer, unseen, tokens)
        found.append(record)
        print(record, flush=True)
    return found


def replay(seed: int, quick: bool) -> list[dict[str, Any]]:
    """As ranks, with a batch of the old text after every second batch of commands."""
    _, start, tokenizer, seen, unseen = started()
    training, test = runs.exchanges(seen, tokenizer, runs.TAUGHT, seed)
    old, found = np.array(tokenizer.encode(seen[:1_000_000])), []
    for rank in (1,) if quick else (0, 8):
        rate = runs.RATES["lora" if rank else "full"]
        steps = 3 if quick else runs.STEPS * 3 // 2
        how = {"rank": rank, "rate": rate, "steps": steps, "batch_size": runs.BATCH_SIZE}
        model, record = taught(start, tokenizer, training, seed, old=old, **how)
        record["exact"] = exact_match(model.eval(), tokenizer, test[: 4 if quick else None])
        tokens = 600 if quick else MEASURED
        record["bits_per_byte"] = forgotten(model, tokenizer, unseen, tokens)
        found.append(record)
        print(record, flush=True)
    return found


def classes(seed: int, quick: bool) -> list[dict[str, Any]]:
    """Each task by each way of telling the classes apart."""
    base, _, tokenizer, _, unseen = started()
    found = []
    made_of = {**runs.tasks(unseen), "verse or Bible": runs.verse_or_bible(unseen, king_james())}
    for task, made in made_of.items():
        training, test = runs.split_task(made, seed)
        if quick:
            training, test = training[:8], test[:8]
        steps = 2 if quick else runs.CLASS_STEPS
        record = {"task": task, "seed": seed, "training": len(training), "test": len(test)}
        accuracies = runs.compare(base, tokenizer, training, test, seed, steps)
        found.append({**record, "accuracy": accuracies})
        print(found[-1], flush=True)
    return found


def obey(seed: int, quick: bool) -> list[dict[str, Any]]:
    """One longer run on all kinds, and what it answers to the first commands of the test."""
    _, start, tokenizer, seen, unseen = started()
    training, test = runs.exchanges(seen, tokenizer, KINDS, seed)
    how = {"rank": 16, "rate": 3e-3, "steps": 2 if quick else 1200, "batch_size": 16}
    model, record = taught(start, tokenizer, training, seed, **how)
    record["exact"] = exact_match(model.eval(), tokenizer, test[: 6 if quick else None])
    record["bits_per_byte"] = forgotten(model, tokenizer, unseen, 600 if quick else MEASURED)
    record["parameters"] = count_parameters(model)
    print(record, flush=True)
    return [record]


def main(arguments: list[str]) -> int:
    """Run the parts that were asked for, and keep what they found beside the others."""
    parser = argparse.ArgumentParser("python -m bench finetuning", description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--seed", type=int, choices=SEEDS)
    parser.add_argument("--ranks", type=int, nargs="+", choices=(0, *RANKS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=harness.RESULTS)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    path = harness.json_path("finetuning", asked.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in PARTS if asked.only is None else (asked.only,):
        for seed in SEEDS if asked.seed is None else (asked.seed,):
            if part == "obey" and seed:
                continue
            if part == "ranks":
                found = ranks(seed, asked.quick, asked.ranks)
            else:
                found = {"replay": replay, "classes": classes, "obey": obey}[part](
                    seed, asked.quick
                )
            # Read anew: another part may have ended in the meantime.
            if path.exists():
                record = json.loads(path.read_text(encoding="utf-8"))
            new = {(one["seed"], one.get("rank"), one.get("task")) for one in found}
            kept = [
                one
                for one in record.get(part, [])
                if (one["seed"], one.get("rank"), one.get("task")) not in new
            ]
            kept = sorted(kept + found, key=lambda one: one["seed"])
            record[part] = kept
            path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
