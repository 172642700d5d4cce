"""Texts that were cut into tokens, as boxes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from mini_gpt.support.figures.style import (
    BLACK,
    PAPER,
    SKY,
    YELLOW,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
