"""One palette, legible on phones, without relying on color alone."""

from __future__ import annotations

import sys

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
