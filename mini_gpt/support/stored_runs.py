"""What longer runs found, stored for the chapters that show them.

`stored/overfitting.json` is what `python -m bench overfitting` writes (one to three
seeds of a kind, on one thread). What `make gpu` measures on a graphics card stays in a
checkout, in bench/results/gpu.json: without that file there is nothing to show.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

from mini_gpt.support.stored_results import stored_result

_SHORTEST = 31  # letters of a line that is long enough to be asked for


class ByHeart(TypedDict):
    """What a model knows of some lines, of which it is given the first 16 characters.

    Attributes:
        lines: How many it was asked for.
        whole: The numbers of those that it completed letter for letter.
        mean: How many characters it got right, on average.
        longest: The number of the line that was right for longest, and for how long.
    """

    lines: int
    whole: list[int]
    mean: float
    longest: tuple[int, int]


class Run(TypedDict):
    """One run: losses at every 100th step, in nats per character.

    Attributes:
        minutes: Of one core, in steps.
        by_heart: Of the lines that it was trained on (or, "all the text", saw once).
        unseen: Of lines of the validation text.
    """

    seed: int
    training: list[float]
    validation: list[float]
    minutes: float
    by_heart: ByHeart
    unseen: ByHeart


def overfitting() -> dict[str, Any]:
    """The record of the runs on 50,000 characters: its "runs" are `Run`s by kind."""
    return stored_result("overfitting")


def long_lines(text: str) -> list[str]:
    """The different lines of a text that are long enough, in order; not its ends."""
    lines = dict.fromkeys(text.split("\n")[1:-1])
    return [line for line in lines if len(line) >= _SHORTEST]


def card_record(folder: Path | None = None) -> dict[str, Any] | None:
    """What a graphics card was measured to do, if it was.

    Args:
        folder: Where `make gpu` writes; None: bench/results of this checkout.
    """
    folder = folder or Path(__file__).resolve().parents[2] / "bench" / "results"
    path = folder / "gpu.json"
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def card_lines(record: dict[str, Any], *parts: str) -> list[str]:
    """A line for each result of these parts: milliseconds, tokens a second, bound."""
    machine = record["environment"]
    bounds = {(row["part"], row["name"]): row["share"] for row in record["roofline"]}
    lines = [f"{machine['card']}, torch {machine['torch']}, {machine['date']}"]
    for part in parts:
        for found in record["parts"].get(part, []):
            speed, rows = found["tokens_per_second"], found.get("rows")
            place = part if rows is None else f"{part} {rows}"
            # A step writes a token in each row; a training step's time is measured.
            milliseconds = found.get("ms") or 1000 * rows / speed
            line = f"{place:<10} {found['name']:<30}{milliseconds:>9.2f} ms"
            line += f"{speed:>12,.0f} tokens/s"
            share = bounds.get((place, found["name"]))
            lines.append(line if share is None else f"{line}{share:>6.0%} of its bound")
    return lines


Points = dict[str, tuple[float, float]]


def card_roofline(record: dict[str, Any]) -> tuple[float, float, Points] | None:
    """The roof that a card was measured to have, and where our steps are below it.

    A weight is read once in each product, for two calculations for each token that the
    step works on, and takes two bytes: as many calculations for each byte as tokens.

    Returns:
        Calculations a second of large products, bytes a second from and to memory, and
        by its name each way of working: calculations for a byte, and in a second. None
        if the card itself was not measured.
    """
    card = {found["name"]: found for found in record["parts"].get("card", [])}
    if not {"product", "memory"} <= card.keys():
        return None
    points = {}
    for found in record["parts"].get("writing", []):
        if "bytes_a_step" in found:  # as many as the calculations for one token
            name = found["name"].removeprefix("mini_gpt, ")
            speed = found["tokens_per_second"] * found["bytes_a_step"]
            points[f"writing {found['rows']}, {name}"] = float(found["rows"]), speed
    for found in record["parts"].get("step", []):
        tokens = found["tokens_per_second"] * found["ms"] / 1000
        points[f"training, {found['name']}"] = tokens, 1e12 * found["teraflops"]
    memory = 1e9 * card["memory"]["gigabytes_per_second"]
    return 1e12 * card["product"]["teraflops"], memory, points
