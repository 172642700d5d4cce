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
    axes: Axes, parts: Sequence[str], row: float, *, bright: Collection[int] = ()
) -> None:
    """Draw a text that was cut into tokens: a box for each, a column for each letter.

    Args:
        parts: The texts of the tokens, in order; a space is shown as `␣`.
        row: Where the boxes stand, upwards.
        bright: Places of the tokens to set off from the others. By default neighbors
            have different colors.
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
                fontsize=9.5,
            )
            left += 1
