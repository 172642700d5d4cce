"""Plots of measurements: intervals, reliability, shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from mini_gpt.support.figures.style import BLACK, BLUE, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mini_gpt.evaluation import Interval, Reliability

MARKERS = "osD^v"


def intervals(
    groups: Mapping[str, Mapping[str, Interval]],
    *,
    xlabel: str,
    marks: Mapping[str, float] | None = None,
    height: float | None = None,
) -> None:
    """Show numbers as dots with their intervals as lines, one row each.

    Args:
        groups: For each kind of dot, named in the legend, its rows by name.
        marks: Dotted lines to compare with, by what is written at their tops.
        height: Of the figure, in inches.
    """
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(name for rows in groups.values() for name in rows))
    tall = height or 0.9 + 0.34 * len(names)
    tall += 0.3 * (len(groups) > 1)
    figure, axes = plt.subplots(figsize=(6.4, tall), layout="constrained")
    for number, (kind, rows) in enumerate(groups.items()):
        shift = 0.2 * (number - (len(groups) - 1) / 2)
        color = PALETTE[number]
        for name, found in rows.items():
            y = names.index(name) + shift
            axes.plot([found.low, found.high], [y, y], color=color, ls="-", lw=2)
        places = [names.index(name) + shift for name in rows]
        means = [found.mean for found in rows.values()]
        axes.plot(means, places, MARKERS[number], color=color, label=kind)
    for label, place in (marks or {}).items():
        axes.axvline(place, color=BLACK, ls=":", lw=1.2)
        axes.text(place, -0.62, label, ha="center", va="bottom", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=xlabel, ylim=(len(names) - 0.5, -0.6))
    if len(groups) > 1:
        figure.legend(loc="outside lower center", ncols=len(groups))
    plt.show()


def reliability(found: Mapping[str, Reliability]) -> None:
    """Show how often each degree of confidence was right; the diagonal is ideal."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(5.2, 4.2), layout="constrained")
    axes.plot([0, 1], [0, 1], color=BLACK, ls=":", lw=1)
    axes.text(0.97, 0.03, "dotted: as sure as right", ha="right", fontsize=9)
    for (name, bins), marker in zip(found.items(), MARKERS, strict=False):
        axes.plot(bins.confidence, bins.accuracy, marker=marker, label=name)
    axes.set(
        xlabel="confidence in the likeliest token",
        ylabel="how often it came",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(loc="upper left")
    plt.show()


def three(panels: Mapping[str, Mapping[str, Interval]], *, ylabel: str) -> None:
    """Show three sets of numbers with intervals side by side on one axis."""
    import matplotlib.pyplot as plt

    _, grid = plt.subplots(
        1, len(panels), figsize=(6.6, 3.4), sharey=True, layout="constrained"
    )
    for axes, (title, rows) in zip(grid, panels.items(), strict=True):
        places = range(len(rows))
        for x, found in zip(places, rows.values(), strict=True):
            axes.plot([x, x], [found.low, found.high], color=BLACK, ls="-", lw=1.5)
        axes.plot(places, [found.mean for found in rows.values()], "o", color=BLUE)
        axes.set_xticks(places, list(rows), rotation=60, fontsize=8.5)
        axes.set(title=title, xlim=(-0.5, len(rows) - 0.5))
    grid[0].set(ylabel=ylabel)
    plt.show()


def falling(
    x: Sequence[int], lines: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str
) -> Axes:
    """Draw shares that fall over x, a line each, on a logarithmic axis."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    for (name, shares), marker in zip(lines.items(), MARKERS, strict=False):
        seen = [share if share > 0 else float("nan") for share in shares]
        axes.plot(x, seen, marker=marker, label=name)
    axes.set_xticks(x)
    axes.set(yscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.legend()
    return axes


def spread(
    samples: Mapping[str, Float[np.ndarray, " draws"]],
    *,
    width: float,
    xlabel: str,
    mark: float | None = None,
) -> None:
    """Draw how often each value occurs, in bins that lie around whole steps.

    Args:
        width: Of a bin, a multiple of the steps in which the values come.
        mark: A value to point at.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(5.8, 2.8), layout="constrained")
    most = max(abs(values).max() for values in samples.values())
    edges = np.arange(-most - width / 2, most + width, width)
    for (name, values), color in zip(samples.items(), PALETTE, strict=False):
        weights = np.full(len(values), 100 / len(values))
        axes.hist(
            values, edges.tolist(), weights=weights, color=color, alpha=0.65, label=name
        )
    if mark is not None:
        axes.axvline(mark, color=BLACK, ls=":", lw=1.5)
        axes.text(mark, axes.get_ylim()[1], "what came", ha="center", va="bottom")
    axes.set(xlabel=xlabel, ylabel="share (%)")
    axes.legend()
    plt.show()
