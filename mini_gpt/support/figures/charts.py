"""Bars, shares and distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mini_gpt.support.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    PAPER,
    PURPLE,
    SKY,
)

MARKERS = "osD^v"  # lines are told apart by marker and dash as well as by color


def bars(
    labels: Sequence[str], values: Sequence[float], *, ylabel: str, log: bool = False
) -> None:
    """Show a row of bars, each with its label below: characters, words or numbers."""
    import matplotlib.pyplot as plt

    shown = [label.replace(" ", "␣").replace("\n", "⏎") for label in labels]
    figure, axes = plt.subplots(figsize=(6.4, 2.8))
    places = range(len(shown))
    axes.bar(places, values, color=SKY, edgecolor=BLACK, linewidth=0.5, log=log)
    axes.set_xticks(places, shown, family="DejaVu Sans Mono")
    axes.tick_params(axis="x", labelsize=8 if len(shown) > 20 else 11)
    axes.set(ylabel=ylabel, xlim=(-0.7, len(shown) - 0.3))
    figure.tight_layout()
    plt.show()


def horizontal_bars(values: dict[str, float], *, xlabel: str) -> None:
    """Show a bar for each name, from top to bottom, on a logarithmic axis."""
    import matplotlib.pyplot as plt

    size = 6.2, 0.8 + 0.16 * len(values)
    _, axes = plt.subplots(figsize=size, layout="constrained")
    places = range(len(values))
    axes.barh(places, list(values.values()), color=SKY, edgecolor=BLACK, linewidth=0.5)
    axes.set_yticks(places, list(values), fontsize=8)
    axes.set(xscale="log", xlabel=xlabel, ylim=(len(values) - 0.4, -0.6))
    plt.show()


def bar_groups(
    labels: list[str], groups: dict[str, Any], *, ylabel: str, digits: int = 1
) -> None:
    """Show bars side by side for each label, one of each group, numbers above."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(6.2, 2.8), layout="constrained")
    width = 0.8 / len(groups)
    for number, (name, values) in enumerate(groups.items()):
        places = [place + number * width for place in range(len(labels))]
        look = {"color": PALETTE[number], "hatch": ("", "///", "...")[number % 3]}
        shown = axes.bar(places, list(values), width, label=name, edgecolor="white")
        for bar in shown:
            bar.set(**look)
        axes.bar_label(shown, [f"{v:,.{digits}f}" for v in values], fontsize=8)
    middle = width * (len(groups) - 1) / 2
    axes.set_xticks([place + middle for place in range(len(labels))], labels)
    axes.set(ylabel=ylabel)
    axes.legend()
    plt.show()


def shares(rows: dict[str, dict[str, int]], *, xlabel: str) -> None:
    """Show what parts make up each row, as stacked bars of 100 percent.

    Args:
        rows: The size of each part, by row and by part; parts too small to be seen at
            all are left out.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3), layout="constrained")
    parts = [*next(iter(rows.values()))]
    looks = [(ORANGE, "..."), (PURPLE, "xx"), (BLUE, ""), (SKY, "///"), (GREEN, "oo")]
    seen = [
        p for p in parts if max(r[p] / sum(r.values()) for r in rows.values()) > 0.002
    ]
    for y, (row, sizes) in enumerate(rows.items()):
        left = 0.0
        for part, (color, hatch) in zip(seen, looks, strict=False):
            share = 100 * sizes[part] / sum(sizes.values())
            label = part.split(" (")[0] if row == next(iter(rows)) else None
            bar: dict[str, Any] = {"color": color, "hatch": hatch, "edgecolor": "white"}
            axes.barh(y, share, left=left, label=label, **bar)
            if share > 4:
                text = axes.text(left + share / 2, y, f"{share:.0f}%")
                text.set(ha="center", va="center")
                text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "pad": 1.5})
            left += share
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel=xlabel)
    spacing = {"fontsize": 9, "handlelength": 1.6, "columnspacing": 1}
    figure.legend(loc="outside upper center", ncols=len(seen), **spacing)
    plt.show()


def histograms(
    samples: dict[str, Tensor], *, xlabel: str, bounds: tuple[float, float]
) -> None:
    """Draw how often each value occurs, one line a sample, on one axis.

    Args:
        samples: The values, by the name of the sample.
        xlabel: What the values are.
        bounds: Ends of the axis; values beyond them are left out.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(5.4, 2.7), layout="constrained")
    low, high = bounds
    for name, values in samples.items():
        counts = values.detach().float().histc(120, low, high)
        step = (high - low) / 120
        middles = [low + (place + 0.5) * step for place in range(120)]
        axes.plot(middles, (counts / values.numel() / step).tolist(), label=name)
    axes.set(xlabel=xlabel, ylabel="density", ylim=(0, None))
    axes.legend()


def side_by_side(
    x: Sequence[float], panels: dict[str, dict[str, list[float]]], xlabel: str
) -> None:
    """Draw groups of lines in panels side by side, with logarithmic axes.

    Args:
        x: Where the points stand.
        panels: For each title its lines, by name; equal names look alike.
        xlabel: What x is.
    """
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        1, len(panels), figsize=(6.4, 3.4), layout="constrained"
    )
    for axes, (title, lines) in zip(grid, panels.items(), strict=True):
        for (name, y), marker in zip(lines.items(), MARKERS, strict=False):
            axes.plot(x, y, marker=marker, label=name)
        axes.set(xscale="log", yscale="log", title=title, xlabel=xlabel)
        axes.minorticks_off()
        axes.set_xticks(x, [str(place) for place in x], rotation=45)
    handles = max(
        (axes.get_legend_handles_labels() for axes in grid), key=lambda p: len(p[0])
    )
    figure.legend(*handles, loc="outside lower center", ncols=len(handles[0]))
