"""`mini-gpt plot`: the loss curves of runs, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mini_gpt.support.console import in_words
from mini_gpt.support.files import atomic_file, parse_json, read_text, shown_name
from mini_gpt.support.run_folder import newest_run

_HUGE = 1e300  # nothing that is measured; a picture's axes cannot hold it
_MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Plot:
    """Compare runs: draw their losses into one picture, and print how each came out."""

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN [RUN ...]]")
    ] = ()
    """Folders that `mini-gpt train` wrote; the newest in runs where none is named."""
    out: Path = Path("losses.png")
    """The picture to write (PNG)."""


def run_plot(command: Plot) -> None:
    """Read the metrics of the runs, print a table, draw the curves."""
    named = command.runs
    if not named:
        if (newest := newest_run()) is None:
            raise ValueError("there is no run in runs; name the folder of at least one")
        named = (newest,)
    runs = {shown_name(run): read_metrics(run) for run in named}
    length = max(map(len, runs))
    print(f"{'run':<{length}}   steps  lowest validation loss  tokens/s")
    for name, entries in runs.items():
        best = min(entry["validation_loss"] for entry in entries)
        last = entries[-1]
        speed = last["tokens_per_second"]
        print(f"{name:<{length}}  {last['step']:>6,}  {best:>22.4f}  {speed:>8,.0f}")
    print(draw_runs(runs, command.out))


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The measurements of a run, in order; from its folder, or its `metrics.jsonl`.

    Raises:
        ValueError: if it is no run, or nothing has been measured in it yet.
    """
    path = run if run.is_file() else run / "metrics.jsonl"
    try:
        text = read_text(path)
    except (OSError, ValueError) as fault:
        raise ValueError(
            f"{run} is not a run of mini-gpt train ({in_words(fault)})"
        ) from None
    *lines, rest = text.split("\n")
    # A process that is killed, or a full disk, can leave half a line at the end.
    lines += [rest] if _is_json(rest) else []
    measured = []
    for number, line in enumerate(lines, start=1):
        place = f"line {number} of {path}"
        entry = parse_json(line, place)
        if not isinstance(entry, dict):
            raise ValueError(f"{place} is no measurement; it is not a run's file")
        if "step" in entry:
            measured.append(_checked(entry, place))
    if not measured:
        raise ValueError(
            f"nothing has been measured in {run} yet; wait for its first measurement"
        )
    return measured


def _is_json(line: str) -> bool:
    """Whether a line is whole."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _checked(entry: dict[str, Any], place: str) -> dict[str, Any]:
    """A measurement, if it has the numbers that are drawn and printed.

    Raises:
        ValueError: naming the one that it lacks.
    """
    for name in ("step", "validation_loss", "training_loss", "tokens_per_second"):
        value: Any = entry.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and abs(value) < _HUGE):
            raise ValueError(
                f"{place} has no number {name}, it has {str(value)[:80]!r}"
            )
    return entry


def draw_runs(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> str:
    """Draw the losses of runs into a picture; says where it is, or why there is none.

    Args:
        runs: The measurements of each run, by its name.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        return "no loss curve is drawn without matplotlib (pip install matplotlib)"
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from mini_gpt.support import figures

    with mpl.rc_context():  # leave the caller's style as it is
        figures.use_style()
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for number, (name, measured) in enumerate(runs.items()):
            steps = [entry["step"] for entry in measured]
            prefix = f"{name}, " if len(runs) > 1 else ""
            marker = _MARKERS[number % len(_MARKERS)]
            (drawn,) = axes.plot(
                steps,
                [entry["validation_loss"] for entry in measured],
                marker=marker,
                label=f"{prefix}validation",
            )
            axes.plot(
                steps,
                [entry["training_loss"] for entry in measured],
                ls="--",
                color=drawn.get_color(),
                label=f"{prefix}training",
            )
        axes.set(
            xlabel="step", ylabel="loss (nats per token)", title="Loss while training"
        )
        axes.legend(fontsize="small")
        with atomic_file(path) as partial:
            figure.savefig(partial, format="png")
    several = len(runs) > 1
    return f"the loss curves are in {path}" if several else f"the loss curve is {path}"
