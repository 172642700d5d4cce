"""What all benchmarks share: fair turns, medians, a record of the machine, JSON and a table.

Contestants take turns in one process, so that whatever else the machine does hits all alike, and
each round begins with another one. A turn repeats its work until it is long enough for the clock;
the result is the median over the rounds. Nothing here asserts how long something takes.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mini_gpt.support import stored_results

RESULTS = Path(__file__).resolve().parent / "results"
# Chapters show what these found, so their JSON is a part of the package and stands nowhere else.
SHOWN = frozenset(
    {
        "evaluation",
        "finetuning",
        "overfitting",
        "popular_account",
        "records",
        "reinforcement",
        "speedrun",
        "speeds",
    }
)


@dataclass(frozen=True)
class Effort:
    """How thoroughly to measure.

    Attributes:
        rounds: Turns of each contestant; the median is over these.
        turn_seconds: Length of a turn, at least, of the fastest run seen in the warm-up.
        warm_up: Runs of each contestant before anything counts.
    """

    rounds: int = 9
    turn_seconds: float = 0.5
    warm_up: int = 3

    def __post_init__(self) -> None:
        if self.rounds < 5:
            raise ValueError(
                f"rounds {self.rounds} must be at least 5, for a median that means something"
            )


QUICK = Effort(rounds=5, turn_seconds=0.0, warm_up=1)


@dataclass(frozen=True)
class Timing:
    """Seconds that one run of a contestant takes, one figure a round.

    Attributes:
        seconds: Mean seconds of a run in each turn.
        repeats: Runs in a turn.
    """

    seconds: list[float]
    repeats: int

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.seconds)


def contest(
    contestants: Mapping[str, Callable[[], object]], effort: Effort | None = None
) -> dict[str, Timing]:
    """Time contestants in turns.

    Args:
        contestants: A name, and what one run of it is. A run must wait for its own end.
        effort: How thoroughly.

    Returns:
        The timing of each contestant.

    Raises:
        ValueError: if there is nobody to time.
    """
    effort = effort or Effort()
    if not contestants:
        raise ValueError("no contestants; give at least one")
    with collector_off():
        repeats = {}
        for name, run in contestants.items():
            fastest = min(seconds_of(run, 1) for _ in range(effort.warm_up))
            repeats[name] = max(1, round(effort.turn_seconds / fastest))
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        names = list(contestants)
        for turn in range(effort.rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                seconds[name].append(seconds_of(contestants[name], repeats[name]))
    return {name: Timing(seconds[name], repeats[name]) for name in names}


def seconds_of(run: Callable[[], object], repeats: int) -> float:
    """Mean seconds of some runs."""
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python's garbage collector from interrupting whoever happens to have the turn."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def processor() -> str:
    """The processor as the system names it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


def environment() -> dict[str, Any]:
    """What a reader needs to know about the machine to make sense of the numbers."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_before": None if load is None else round(load, 2),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its columns lined up, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, None, *rows):
        if row is None:
            cells = [
                f":{'-' * (widths[0] - 1)}",
                *(f"{'-' * (width - 1)}:" for width in widths[1:]),
            ]
        else:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def speed_rows(
    timings: Mapping[str, Timing], amount: float, reference: str = "mini_gpt"
) -> list[list[str]]:
    """For each contestant: name, amount per second, its spread over the rounds, ratio.

    Args:
        timings: As `contest` returns them.
        amount: What one run processes, for instance its tokens.
        reference: Whom the ratio compares: how many times as fast as this contestant it is.
    """
    rows = []
    for name, timing in timings.items():
        slowest, fastest = amount / max(timing.seconds), amount / min(timing.seconds)
        # Turn by turn, since neighboring turns share the machine's mood.
        pairs = zip(timing.seconds, timings[reference].seconds, strict=True)
        ratio = statistics.median(theirs / own for theirs, own in pairs)
        rows.append(
            [
                name,
                f"{amount / timing.median:,.0f}",
                f"{slowest:,.0f} to {fastest:,.0f}",
                f"{ratio:.2f}",
            ]
        )
    return rows


def json_path(name: str, folder: Path) -> Path:
    """Where the JSON of a benchmark is, if its other results go to this folder."""
    in_package = name in SHOWN and folder == RESULTS
    return (stored_results.FOLDER if in_package else folder) / f"{name}.json"


def stored_runs(name: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The runs of a benchmark by their kind, as far as they are there: more go beside them."""
    path = json_path(name, folder)
    if not path.exists():
        return {}
    runs: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return runs


def save(name: str, results: Mapping[str, Any], markdown: str, folder: Path) -> None:
    """Write the results as `name.json` and `name.md`.

    Args:
        name: The benchmark's name.
        results: Ready for JSON.
        markdown: The table and what must be said with it.
        folder: Where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    json_path(name, folder).write_text(text, encoding="utf-8")
    (folder / f"{name}.md").write_text(markdown, encoding="utf-8")


def timings_as_json(timings: Mapping[str, Timing]) -> dict[str, Any]:
    """Timings, rounded to what a clock can tell, with their medians."""
    return {
        name: {
            **asdict(timing),
            "seconds": [float(f"{seconds:.4g}") for seconds in timing.seconds],
            "median": float(f"{timing.median:.4g}"),
        }
        for name, timing in timings.items()
    }


def said_of(machine: Mapping[str, Any], effort: Effort) -> str:
    """One paragraph on where and how the numbers came about."""
    return (
        f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['threads']} threads, torch {machine['torch']}, Python {machine['python']}. "
        f"Medians of {effort.rounds} turns, taken alternately in one process.\n"
    )


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "--quick",
        action="store_true",
        help="minuscule sizes, to see that it runs; the times mean nothing",
    )
    result.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="folder for the JSON and the table (default: bench/results)",
    )
    result.add_argument(
        "--threads", type=int, help="threads that PyTorch may use (default: its own choice)"
    )
    result.add_argument(
        "--rounds", type=int, default=Effort.rounds, help="turns of each contestant"
    )
    return result


def prepare(options: argparse.Namespace) -> Effort:
    """Set the number of threads, and say how thoroughly to measure."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    return QUICK if options.quick else Effort(rounds=options.rounds)
