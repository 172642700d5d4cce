"""Pictures of what a model holds: attention maps, tables of tokens, paired bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from mini_gpt.support.figures.grids import heatmap
from mini_gpt.support.figures.style import BLACK, BLUE, ORANGE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _shown(word: str) -> str:
    return word.replace(" ", "␣").replace("\n", "⏎")


def draw_attention(
    figure: Figure,
    weights: Float[Tensor, "layers heads queries keys"],
    words: Sequence[str],
) -> None:
    """Draw the map of every head, a row of panels for each layer.

    Args:
        words: The tokens, written at the left edge and at the bottom; may be empty.
    """
    layers, heads = weights.shape[:2]
    grid = figure.subplots(layers, heads, squeeze=False)
    labels = [_shown(word) for word in words]
    for layer in range(layers):
        for head in range(heads):
            axes = grid[layer][head]
            title = f"{layer + 1}.{head + 1}"
            heatmap(
                axes, weights[layer, head], title=title, digits=None, vmin=0, vmax=1
            )
            axes.set_xticks([])
            axes.set_yticks([])
            if labels and head == 0:
                axes.set_yticks(range(len(labels)), labels, fontsize=7)
            if labels and layer == layers - 1:
                axes.tick_params(axis="x", labelbottom=True, labeltop=False)
                axes.set_xticks(range(len(labels)), labels, fontsize=7, rotation=90)
    figure.suptitle("layer.head", fontsize=9, x=0.01, ha="left")


def attention_grid(
    weights: Float[Tensor, "layers heads queries keys"],
    words: Sequence[str],
    *,
    width: float = 6.4,
    height: float = 6.8,
) -> None:
    """Show the map of every head; the words may be empty."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(width, height), layout="constrained")
    draw_attention(figure, weights, words)
    plt.show()


def token_table(
    tokens: Sequence[Sequence[str]],
    shares: Float[Tensor, "rows columns"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
) -> None:
    """Show a table of tokens; the darker a cell, the surer its token.

    Args:
        shares: The probability of each token.
        columns: The tokens of the text, written above.
    """
    import matplotlib.pyplot as plt

    size = 6.4, 0.7 + 0.38 * len(rows)
    _, axes = plt.subplots(figsize=size, layout="constrained")
    names = [_shown(word) for word in columns]
    look = {"digits": None, "cmap": "Blues", "vmin": 0.0, "vmax": 1.4}
    heatmap(axes, shares, rows=list(rows), columns=names, **look)  # type: ignore[arg-type]
    for row, line in enumerate(tokens):
        for column, token in enumerate(line):
            text = axes.text(column, row, _shown(token), ha="center", va="center")
            text.set(color=BLACK, fontsize=9, family="DejaVu Sans Mono")
    axes.tick_params(axis="x", labelsize=9)
    plt.show()


def paired_bars(groups: Mapping[str, Mapping[str, float]], xlabel: str) -> None:
    """Show for each name a bar of each group, to the right of zero or to the left.

    Args:
        groups: The values by name, for each of two groups; the first one's order.
    """
    import matplotlib.pyplot as plt

    names = list(next(iter(groups.values())))
    size = 6.4, 0.8 + 0.34 * len(names)
    _, axes = plt.subplots(figsize=size, layout="constrained")
    looks = zip((BLUE, ORANGE), ("", "///"), (-0.2, 0.2), strict=True)
    for (group, values), (color, hatch, shift) in zip(
        groups.items(), looks, strict=False
    ):
        places = [place + shift for place in range(len(names))]
        look = {"color": color, "hatch": hatch, "edgecolor": "white"}
        lengths = [values[name] for name in names]
        axes.barh(places, lengths, 0.38, label=group, **look)  # type: ignore[arg-type]
    axes.axvline(0, color="#777777", linewidth=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set(xlabel=xlabel, ylim=(len(names) - 0.4, -0.6))
    axes.legend()
    plt.show()


def weight_against_effect(
    weights: Sequence[float], effects: Sequence[float], named: Mapping[int, str]
) -> None:
    """Show a dot for each head: its largest weight, and what removing it changes.

    Args:
        named: What to write beside a dot, by its place in the sequences.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(5.6, 2.9), layout="constrained")
    axes.scatter(weights, effects, color=BLUE, s=28)
    for place, name in named.items():
        x, y = weights[place], effects[place]
        axes.scatter([x], [y], color=VERMILION, marker="D", s=36)
        axes.annotate(name, (x, y), (-8, 6), textcoords="offset points", ha="right")
    axes.set(xlabel="largest weight", ylabel="change of the margin", xlim=(0, 1.05))
    axes.set_ylim(0, 1.15 * max(effects))
    plt.show()
