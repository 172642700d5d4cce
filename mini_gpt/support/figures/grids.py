"""Matrices as grids of colored cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Shaped
from numpy import ndenumerate
from torch import Tensor

from mini_gpt.support.figures.style import (
    BLACK,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
