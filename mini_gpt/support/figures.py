"""The look of the book's figures: one palette, legible on phones, without relying on
color alone.

matplotlib is imported on first use; it belongs to the `notebooks` extra, not to the
core.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Shaped
from numpy import ndenumerate
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, which people with any common color vision can tell apart.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#1a1a1a",
)
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
PAPER = (
    "#fdfdfb"  # figures are cards of their own: the same in a light and in a dark page
)


def use_style() -> None:
    """Set matplotlib's defaults for a chapter. Call once, before the first figure."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 3.2),
            "figure.dpi": 100,
            "savefig.dpi": 180,
            "figure.facecolor": PAPER,
            "savefig.facecolor": PAPER,
            "axes.facecolor": PAPER,
            "axes.edgecolor": "#777777",
            "axes.labelcolor": BLACK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.prop_cycle": cycler(
                color=PALETTE,
                linestyle=["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1))],
            ),
            "axes.grid": False,
            "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
            "font.size": 10,
            "text.color": BLACK,
            "xtick.color": "#444444",
            "ytick.color": "#444444",
            "image.cmap": "cividis",
            "legend.frameon": False,
            "lines.linewidth": 2,
        }
    )
    # In a notebook, figures are stored as sharp PNGs; elsewhere there is no IPython to
    # tell.
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("png", facecolor=PAPER, dpi=180)


def heatmap(
    axes: Axes,
    matrix: Shaped[Tensor, "rows columns"],
    *,
    rows: list[str] | None = None,
    columns: list[str] | None = None,
    title: str = "",
    digits: int | None = 2,
    **imshow: Any,
) -> None:
    """Draw a matrix as a grid of colored cells with their numbers in them.

    Args:
        axes: The matplotlib axes to draw on.
        matrix: What to show, rows from top to bottom.
        rows: A label for each row.
        columns: A label for each column, written on top.
        title: Title of the axes.
        digits: Decimals of the numbers in the cells; None writes no numbers.
        **imshow: Passed on to `Axes.imshow`, for instance `vmin`, `vmax`, `cmap`.
    """
    values = matrix.detach().float().cpu().numpy()
    image = axes.imshow(values, aspect="auto", **imshow)
    axes.set_title(title)
    axes.set_xticks(range(values.shape[1]), columns or [""] * values.shape[1])
    axes.set_yticks(range(values.shape[0]), rows or [""] * values.shape[0])
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    if digits is None:
        return
    for (row, column), value in ndenumerate(values):
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        color = "white" if dark else BLACK
        axes.text(
            column,
            row,
            f"{value:.{digits}f}",
            ha="center",
            va="center",
            color=color,
            fontsize=9,
        )


def token_row(
    axes: Axes,
    parts: Sequence[str],
    row: float,
    *,
    bright: Collection[int] = (),
    size: float = 9.5,
) -> None:
    """Draw a text that was cut into tokens: a box for each, a column for each letter.

    Args:
        parts: The texts of the tokens, in order; a space is shown as `␣`.
        row: Where the boxes stand, upwards.
        bright: Places of the tokens to set off from the others. By default neighbors
            have different colors.
        size: Of the letters, in points.
    """
    from matplotlib.patches import Rectangle

    left = 0
    for place, part in enumerate(parts):
        color = (SKY, YELLOW, PAPER)[place % 3]
        if bright:
            color = YELLOW if place in bright else PAPER
        corner = left + 0.06, row - 0.3
        box = Rectangle(corner, len(part) - 0.12, 0.6, facecolor=color, alpha=0.55)
        box.set(edgecolor=BLACK, linewidth=0.8)
        axes.add_patch(box)
        for letter in part.replace(" ", "␣"):
            axes.text(
                left + 0.5,
                row,
                letter,
                ha="center",
                va="center",
                family="DejaVu Sans Mono",
                fontsize=size,
            )
            left += 1


def count_table(
    axes: Axes, counts: Shaped[Tensor, "rows columns"], labels: Sequence[str]
) -> None:
    """Draw a large table of counts as a heat map, its numbers in small print.

    Args:
        axes: The matplotlib axes to draw on, about a third of an inch for each cell.
        counts: How often the row's label was followed by the column's. Counts are
            written in thousands; those below 500 are left empty.
        labels: One label for each row, and for the column of the same place.
    """
    thousands = counts.float().cpu() / 1000
    axes.imshow(thousands.sqrt().numpy(), cmap="Blues")
    for (row, column), number in ndenumerate(thousands.numpy()):
        value = float(number)
        if value >= 0.5:
            color = "white" if value > 0.3 * float(thousands.max()) else BLACK
            text = axes.text(column, row, f"{value:.0f}", ha="center", va="center")
            text.set(color=color, fontsize=7)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set(ylabel="this character ...", title="... is followed by this one")


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


def curve(x: Sequence[float], y: Sequence[float], *, xlabel: str, ylabel: str) -> None:
    """Show one curve through points that are marked."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 2.8))
    axes.plot(x, y, "o-", color=BLUE, markersize=4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.tight_layout()
    plt.show()


def token_rows(*rows: Sequence[str], newest: Sequence[str] = ()) -> None:
    """Show texts that were cut into tokens, a row for each text or way of cutting.

    Args:
        newest: For each row, the token that is set off from the others; without it
            neighbors have different colors.
    """
    import matplotlib.pyplot as plt

    length = max(sum(map(len, row)) for row in rows)
    width = min(6.4, 0.4 + 0.165 * length)
    figure, axes = plt.subplots(figsize=(width, 0.1 + 0.42 * len(rows)))
    for number, parts in enumerate(rows):
        bright: set[int] = set()
        if newest:
            same = {place for place, part in enumerate(parts) if part == newest[number]}
            bright = same or {-1}
        token_row(axes, parts, -number, bright=bright, size=12)
    axes.set(xlim=(0, length), ylim=(0.5 - len(rows), 0.5))
    axes.axis("off")
    figure.tight_layout(pad=0.3)
    plt.show()


def heatmaps(
    panels: dict[str, Tensor],
    rows: list[str],
    columns: list[list[str]],
    *,
    width: float,
    height: float,
    digits: int | None = 2,
    across: int | None = None,
    own_scale: bool = False,
    **imshow: Any,
) -> None:
    """Draw matrices side by side, each under its name.

    Args:
        panels: The matrices; minus infinity is left uncolored and written as such.
        rows: A label for each row, the same for all.
        columns: Labels of the columns, for each matrix or once for all.
        width: Width of the figure, in inches.
        height: Height of the figure, in inches.
        digits: Decimals of the numbers in the cells.
        across: Matrices beside each other; by default all of them.
        own_scale: Whether each has its own scale of colors, and not one for all.
        **imshow: Passed on to `Axes.imshow`.
    """
    import matplotlib.pyplot as plt

    each = columns * len(panels) if len(columns) == 1 else columns
    if not own_scale:
        finite = [matrix[matrix.isfinite()] for matrix in panels.values()]
        imshow.setdefault("vmin", min(numbers.min().item() for numbers in finite))
        imshow.setdefault("vmax", max(numbers.max().item() for numbers in finite))
    across = across or len(panels)
    grid = plt.subplots(
        -(-len(panels) // across),
        across,
        figsize=(width, height),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )[1]
    for axes, names, (title, matrix) in zip(
        grid.flat, each, panels.items(), strict=True
    ):
        shown = matrix.masked_fill(matrix == -float("inf"), float("nan"))
        heatmap(
            axes, shown, rows=rows, columns=names, title=title, digits=digits, **imshow
        )
        for text in axes.texts:
            if text.get_text() == "nan":
                text.set(text="−∞", color=BLACK)
        if max(map(len, names)) > 5:
            axes.tick_params(axis="x", rotation=60)


MARKERS = "osD^v"  # lines are told apart by marker and dash as well as by color


def curves(x: Sequence[float], lines: dict[str, Sequence[float]], **axes: Any) -> None:
    """Draw lines over one x, each with its own marker and a legend.

    Args:
        x: Where the points stand.
        lines: Heights of the points, by the name of the line.
        **axes: Passed on to `Axes.set`; `xticks` without minor ticks.
    """
    import matplotlib.pyplot as plt

    _, panel = plt.subplots(figsize=(5.4, 2.7), layout="constrained")
    for (name, y), marker in zip(lines.items(), MARKERS, strict=False):
        panel.plot(x, y, marker=marker, label=name)
    ticks = axes.pop("xticks", None)
    panel.set(**axes)
    if ticks is not None:
        panel.minorticks_off()
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.legend()


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


def lines(
    series: dict[str, Any],
    x: Any = None,
    *,
    size: tuple[float, float] = (5.6, 2.8),
    marker: str | None = None,
    **settings: Any,
) -> Axes:
    """Draw a line for each series on new axes, with a legend if there are several.

    Args:
        series: Numbers by the name in the legend.
        x: Where they stand; by default 0, 1, 2 and so on.
        size: Width and height of the figure in inches.
        marker: matplotlib's sign for each point; None draws none.
        **settings: Passed on to `Axes.set`, for instance `xlabel` and `ylim`.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=size, layout="constrained")
    for name, values in series.items():
        places = range(len(values)) if x is None else x
        axes.plot(places, values, label=name, marker=marker)
    axes.set(**settings)
    if len(series) > 1:
        axes.legend()
    return axes


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
            kinds.items(), PALETTE, ("-", "--", "-."), strict=False
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


def found(faults: dict[str, list[bool]], questions: list[str]) -> None:
    """Show which question finds which fault: a row for each fault, dark where found."""
    import matplotlib.pyplot as plt

    size = 6.4, 0.8 + 0.36 * len(faults)
    _, axes = plt.subplots(figsize=size, layout="constrained")
    table = Tensor([[float(one) for one in row] for row in faults.values()])
    heatmap(
        axes,
        table,
        rows=list(faults),
        columns=questions,
        digits=None,
        cmap="Blues",
        vmin=0,
        vmax=1.2,
    )
    for row, column in table.nonzero().tolist():
        axes.text(column, row, "found", ha="center", va="center", color="white")
    for row in range(1, len(faults)):
        axes.axhline(row - 0.5, color="#777777", linewidth=0.5)
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
