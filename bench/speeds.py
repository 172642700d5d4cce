"""What `mini-gpt plan` knows: the speed of each training step of ours that was measured.

    python -m bench speeds     from bench/results into mini_gpt/support/stored/speeds.json

Nothing is measured here. The steps are those of `training_step.json` (processors), of `gpu.json`
(the card of `make gpu`), and of `cards.json`: cards that were measured by hand before there was a
`make gpu`. What `gpu.json` has of a card goes before what was measured by hand.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import harness
from bench.gpu.common import GPT2, SMALL
from mini_gpt.config import GPTConfig
from mini_gpt.support.speed_records import Speed

# What the parts of gpu.json train, and with how many sequences.
CARD_STEPS = {"step": (GPT2, 32), "small": (SMALL, 64)}


def collected(folder: Path = harness.RESULTS) -> dict[str, Any]:
    """The record, from what other benchmarks wrote into a folder."""
    rows = [*of_card(folder), *of_processor(folder)]
    known = {row.device for row in rows}
    rows[:0] = [row for row in by_hand(folder) if row.device not in known]
    return {"speeds": [asdict(row) for row in rows]}


def of_card(folder: Path) -> list[Speed]:
    """The steps of the card that `make gpu` measured; none where it has not."""
    path = folder / "gpu.json"
    if not path.exists():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    machine, rows = record["environment"], []
    for part, (shape, batch_size) in CARD_STEPS.items():
        for found in record["parts"].get(part, []):
            name = found["name"].removeprefix("mini_gpt, ")
            if name in ("adamw", "muon"):
                rows.append(
                    Speed(
                        device=machine["card"],
                        card=True,
                        torch=machine["torch"],
                        date=machine["date"],
                        source="make gpu",
                        **sizes(shape),
                        batch_size=batch_size,
                        optimizer=name,
                        precision="bfloat16",
                        compiled=True,
                        tokens_per_second=round(found["tokens_per_second"]),
                        peak_gigabytes=found.get("peak_gigabytes"),
                    )
                )
    return rows


def of_processor(folder: Path) -> list[Speed]:
    """The steps of the processor that `python -m bench training_step` measured."""
    path = folder / "training_step.json"
    if not path.exists():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    machine, rows = record["environment"], []
    for found in record["results"]:
        shape = found["shape"]
        sized = {name: shape[name] for name in ("layers", "heads", "width")}
        sized |= {"vocab_size": shape["vocabulary"], "context_length": shape["context"]}
        for name, precision in (("mini_gpt", "float32"), ("mini_gpt in bfloat16", "bfloat16")):
            if name in found["timings"]:
                seconds = found["timings"][name]["median"]
                rows.append(
                    Speed(
                        device=f"{machine['processor']}, {machine['threads']} threads",
                        card=False,
                        torch=machine["torch"],
                        date=machine["date"],
                        source="python -m bench training_step",
                        **sized,
                        batch_size=shape["batch"],
                        optimizer="adamw",
                        precision=precision,
                        compiled=False,
                        tokens_per_second=round(found["tokens_per_step"] / seconds),
                    )
                )
    return rows


def by_hand(folder: Path) -> list[Speed]:
    """The steps that were written down by hand, each with its source."""
    path = folder / "cards.json"
    if not path.exists():
        return []
    return [Speed(**row) for row in json.loads(path.read_text(encoding="utf-8"))["speeds"]]


def sizes(shape: GPTConfig) -> dict[str, int]:
    """What of a shape decides how long a step takes."""
    names = ("layers", "heads", "width", "vocab_size", "context_length")
    return {name: getattr(shape, name) for name in names}


def table(record: dict[str, Any]) -> str:
    """One row for each speed."""
    header = ["device", "torch", "date", "layers × width", "batch × context", "how", "tokens/s"]
    rows = []
    for row in record["speeds"]:
        how = f"{row['optimizer']}, {row['precision']}{', compiled' * row['compiled']}"
        size, batch = (
            f"{row['layers']} × {row['width']}",
            f"{row['batch_size']} × {row['context_length']}",
        )
        speed = f"{row['tokens_per_second']:,}"
        rows.append([row["device"], row["torch"], row["date"], size, batch, how, speed])
    return f"# Speeds that `mini-gpt plan` knows\n\n{harness.table(header, rows)}"


def main(arguments: list[str] | None = None) -> int:
    """Collect the speeds, print and store them."""
    options = harness.parser(__doc__).parse_args(arguments)
    record = collected()
    harness.save("speeds", record, table(record), options.out)
    print(table(record))
    return 0
