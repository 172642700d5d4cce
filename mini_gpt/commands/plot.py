"""`mini-gpt plot`: the loss curves of runs, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mini_gpt.support.files import atomic_file, read_text, shown_name

_MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Plot:
    """Compare runs: draw their losses into one picture, and print how each came out."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders that `mini-gpt train` wrote."""
    out: Path = Path("losses.png")
    """The picture to write (PNG)."""


def run_plot(command: Plot) -> None:
    """Read the metrics of the runs, print a table, draw the curves."""
    if not command.runs:
        example = "mini-gpt plot runs/latest"
        raise ValueError(f"name at least one run, for instance: {example}")
    runs = {shown_name(run): _read_metrics(run) for run in command.runs}
    length = max(map(len, runs))
    print(f"{'run':<{length}}   steps  lowest validation loss  tokens/s")
    for name, entries in runs.items():
        best = min(entry["validation_loss"] for entry in entries)
        last = entries[-1]
        speed = last["tokens_per_second"]
        print(f"{name:<{length}}  {last['step']:>6,}  {best:>22.4f}  {speed:>8,.0f}")
    print(draw_runs(runs, command.out))


def _read_metrics(run: Path) -> list[dict[str, Any]]:
    """The measurements of a run, in order; from its folder, or its `metrics.jsonl`.

    Raises:
        ValueError: if it is no run, or nothing has been measured in it yet.
    """
    path = run if run.is_file() else run / "metrics.jsonl"
    try:
        lines = read_text(path).splitlines()
        entries = [json.loads(line) for line in lines]
        measured = [entry for entry in entries if "step" in entry]
    except (OSError, ValueError, TypeError) as fault:
        raise ValueError(f"{run} is not a run of mini-gpt train ({fault})") from None
    if not measured:
        raise ValueError(
            f"nothing has been measured in {run} yet; wait for its first measurement"
        )
    return measured


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
