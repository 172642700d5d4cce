"""The look of the book's figures, and the plots that several chapters share.

matplotlib is imported on first use; it belongs to the `notebooks` extra, not to the
core.
"""

from mini_gpt.support.figures.charts import (
    bar_groups,
    bars,
    histograms,
    horizontal_bars,
    shares,
    side_by_side,
)
from mini_gpt.support.figures.curves import (
    curves,
    lines,
    seed_curves,
    seed_dots,
    valley,
)
from mini_gpt.support.figures.grids import count_table, found, heatmap, heatmaps
from mini_gpt.support.figures.roofs import roofline
from mini_gpt.support.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    PAPER,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    use_style,
)
from mini_gpt.support.figures.token_boxes import token_row, token_rows

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "ORANGE",
    "PALETTE",
    "PAPER",
    "PURPLE",
    "SKY",
    "VERMILION",
    "YELLOW",
    "bar_groups",
    "bars",
    "count_table",
    "curves",
    "found",
    "heatmap",
    "heatmaps",
    "histograms",
    "horizontal_bars",
    "lines",
    "roofline",
    "seed_curves",
    "seed_dots",
    "shares",
    "side_by_side",
    "token_row",
    "token_rows",
    "use_style",
    "valley",
]
