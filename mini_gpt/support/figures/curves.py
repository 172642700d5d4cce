"""Curves: over steps, sizes and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from jaxtyping import Shaped
from torch import Tensor

from mini_gpt.support.figures.style import (
    BLACK,
    BLUE,
    PALETTE,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^v"  # lines are told apart by marker and dash as well as by color


def seed_dots(
    axes: Axes,
    series: dict[str, Shaped[Tensor, "seeds columns"]],
    columns: Sequence[str],
) -> None:
    """Draw one dot for each seed: a marker and a color for each series, side by side.

    Args:
        series: What to draw, by the name in the legend.
        columns: A label for each column of the tensors.
    """
    for place, (name, values) in enumerate(series.items()):
        seeds, count = values.shape
        shift = 0.18 * (place - (len(series) - 1) / 2)
        axes.plot(
            [column + shift for column in range(count) for _ in range(seeds)],
            values.detach().T.flatten().tolist(),
            "o^sDvP"[place % 6],
            color=PALETTE[place % len(PALETTE)],
            markersize=5,
            alpha=0.8,
            label=name,
        )
    axes.set_xticks(range(len(columns)), columns)


def lines(
    series: dict[str, Any],
    x: Any = None,
    *,
    size: tuple[float, float] = (5.6, 2.8),
    marker: str = "",
    **settings: Any,
) -> Axes:
    """Draw a line for each series on new axes, with a legend if there are several.

    Args:
        series: Numbers by the name in the legend.
        x: Where they stand; by default 0, 1, 2 and so on.
        size: Width and height of the figure in inches.
        marker: matplotlib's sign for the points, or several, for one line after the
            other; by default none.
        **settings: Passed on to `Axes.set`, for instance `xlabel` and `ylim`.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=size, layout="constrained")
    signs = cycle(marker or [None])
    for (name, values), sign in zip(series.items(), signs, strict=False):
        places = range(len(values)) if x is None else x
        axes.plot(places, values, label=name, marker=sign)
    axes.set(**settings)
    if len(series) > 1:
        axes.legend()
    return axes


def curves(x: Sequence[float], series: dict[str, Any], **settings: Any) -> None:
    """Draw lines through marked points over one x; `xticks` without minor ones."""
    ticks = settings.pop("xticks", None)
    axes = lines(series, x, size=(5.4, 2.7), marker=MARKERS, **settings)
    if ticks is not None:
        axes.minorticks_off()
        axes.set_xticks(ticks, [str(tick) for tick in ticks])


def valley(paths: dict[str, Tensor]) -> None:
    """Draw paths of two weights down the loss (x² + 100 y²) / 2, a panel for each."""
    import matplotlib.pyplot as plt
    import numpy as np

    x, y = np.meshgrid(np.linspace(-5, 3, 80), np.linspace(-2.4, 2.4, 80))
    _, panels = plt.subplots(
        len(paths),
        1,
        figsize=(5.6, 0.5 + 1.4 * len(paths)),
        layout="constrained",
        sharex=True,
        squeeze=False,
    )
    for axes, (name, places) in zip(panels.flat, paths.items(), strict=True):
        levels = [0.5, 2, 8, 20, 45, 100, 200]
        axes.contour(x, y, (x**2 + 100 * y**2) / 2, levels=levels, colors="#bbbbbb")
        axes.plot(*places.T, "o-", color=BLUE, markersize=3.5, lw=1)
        axes.plot(0, 0, "*", color=BLACK, markersize=11)
        axes.set(title=name, xlim=(-5, 3), ylim=(-2.4, 2.4), ylabel="steep, y")
    panels[-1][0].set(xlabel="flat, x")
    plt.show()


def seed_curves(
    panels: dict[str, dict[str, list[list[float]]]], *, window: int, **axes: Any
) -> None:
    """Draw losses over steps in panels side by side: a thin line for each seed.

    Args:
        panels: For each title its kinds by name, and of each a list for every seed.
        window: Steps over which a loss is averaged.
        **axes: Passed on to `Axes.set` of each panel.
    """
    import matplotlib.pyplot as plt
    import numpy as np

    figure, grid = plt.subplots(
        1,
        len(panels),
        figsize=(6.4, 3),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    for panel, (title, kinds) in zip(grid.flat, panels.items(), strict=True):
        for (name, seeds), color, style in zip(
            kinds.items(), PALETTE, ("-", "--", "-.", ":"), strict=False
        ):
            for number, losses in enumerate(seeds):
                smooth = np.convolve(losses, np.ones(window) / window, "valid")
                steps = range(window, len(losses) + 1)
                label = name if number == 0 else None
                panel.plot(steps, smooth, style, color=color, lw=1.2, label=label)
        panel.set(title=title, **axes)
    handles = grid[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(handles[0]))
    plt.show()
