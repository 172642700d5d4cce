"""What `bench speedrun` and `bench records` found, as their chapter shows it."""

from __future__ import annotations

import statistics
from typing import Any

from mini_gpt.support.stored_results import stored_result

_LAST = "RMS, no clipping"  # the rung that others are compared with
Runs = dict[str, list[dict[str, Any]]]


def runs(kind: str) -> Runs:
    """The runs of "ladder", "taken back" or "added" by name, one for each seed."""
    found: Runs = stored_result("speedrun")["runs"][kind]
    return found


def clock() -> dict[str, float]:
    """How long a step takes in several ways, over the record's step, in turns."""
    steps = stored_result("speedrun")["clock"]["steps"]
    base = steps["as it is"]["seconds"]
    return {
        name: statistics.median(
            own / other for own, other in zip(found["seconds"], base, strict=True)
        )
        for name, found in steps.items()
    }


def race_seconds() -> tuple[list[float], list[float]]:
    """Processor seconds of the last rung and of the record, in turns, seed by seed."""
    record, entry = stored_result("speedrun")["race"].values()
    own, other = ([run["seconds"] for run in rows] for rows in (entry, record))
    return own, other


def race() -> tuple[float, float, float]:
    """The last rung against the record: both mean losses, the median ratio of times."""
    record, entry = stored_result("speedrun")["race"].values()
    lower, own = (
        statistics.mean(run["loss"] for run in rows) for rows in (entry, record)
    )
    ratios = (a / b for a, b in zip(*race_seconds(), strict=True))
    return lower, own, statistics.median(ratios)


def records() -> list[dict[str, Any]]:
    """The ledger, the first record first."""
    found: list[dict[str, Any]] = stored_result("records")["records"]
    return found


def draw(*kinds: str) -> None:
    """Draw the losses of all runs of some kinds: a row for each name, a dot a seed."""
    import matplotlib.pyplot as plt

    from mini_gpt.support.figures.style import BLACK, BLUE, GREEN, ORANGE

    looks = {"ladder": (BLACK, "D"), "taken back": (ORANGE, "o"), "added": (BLUE, "s")}
    rows = [(kind, name, seeds) for kind in kinds for name, seeds in runs(kind).items()]
    if "ladder" not in kinds:  # what the others are compared with
        rows.insert(0, ("ladder", _LAST, runs("ladder")[_LAST]))
    size = 6.2, 0.7 + 0.26 * len(rows)
    _, axes = plt.subplots(figsize=size, layout="constrained")
    names = []
    for place, (kind, name, seeds) in enumerate(rows):
        color, marker = looks[kind]
        losses = [run["loss"] for run in seeds]
        axes.plot(losses, [place] * len(losses), marker, color=color, ms=5, alpha=0.8)
        names.append(name if kind == "ladder" else f"{kind}: {name}")
    axes.axvline(stored_result("speedrun")["target"], color=GREEN, ls="--", lw=1)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set(xlabel="loss, nats; dashed: the target", ylim=(len(rows) - 0.5, -0.5))
    plt.show()
