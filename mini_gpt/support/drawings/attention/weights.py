"""From scores to weights, and what a word receives of each word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from mini_gpt.support.drawings.attention.numbers import numbers
from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


def reading(
    words: Sequence[str], weights: Float[Tensor, " words"], reader: str
) -> Picture:
    """What a word receives of each word: the wider the line, the larger the share."""
    shares = [f"{weight:.2f} of {w}" for w, weight in zip(words, weights, strict=True)]
    sheet = Drawing(
        f"What {reader} receives: {', '.join(shares)}; the width of each line from a "
        "word shows its share."
    )
    width, gap = 72, 18
    whole = len(words) * (width + gap) - gap
    receives = sheet.box(
        whole / 2 - 90, 0, 180, 34, f"what {reader} receives", color="orange", size=13
    )
    boxes = sheet.row(0, 132, words, width=width, gap=gap, height=30, size=13)
    for place, (box, weight) in enumerate(zip(boxes, weights.tolist(), strict=True)):
        x, y = box.top
        end = receives.x + 30 + place * (receives.width - 60) / max(1, len(words) - 1)
        if weight > 0:
            ends = [(x, y - 18), (end, receives.y + receives.height)]
            sheet.arrow(ends, color="blue", width=0.8 + 7 * weight)
        sheet.text((x, y - 9), f"{weight:.2f}", size=13, bold=weight == max(weights))
    return sheet.finish()


def softmax_steps(words: Sequence[str], scores: Float[Tensor, " words"]) -> Picture:
    """Scores, their exponentials and the shares of the sum, as three groups of bars."""
    exponentials = scores.exp()
    shares = scores.softmax(-1)
    listed = ", ".join(
        f"{word} {score:g}, {exponential:.1f}, {share:.2f}"
        for word, score, exponential, share in zip(
            words, scores.tolist(), exponentials.tolist(), shares.tolist(), strict=True
        )
    )
    sheet = Drawing(
        "Softmax in three groups of bars. Score, exponential and share of each word: "
        f"{listed}."
    )
    groups = [
        ("1. scores", scores, "{:.1f}", 21, "gray"),
        ("2. exponentials", exponentials, "{:.1f}", 21, "blue"),
        ("3. shares of their sum", shares, "{:.2f}", 26, "orange"),
    ]
    x: float = 0
    for title, values, form, width, color in groups:
        sheet.text((x, -112), title, size=13, anchor="start")
        sheet.bars(
            x, 0, values.tolist(), words, width=width, gap=5, numbers=form, color=color
        )
        x += len(words) * (width + 5) + 14
    return sheet.finish()


def weights_as_bars(rows: Mapping[str, Float[Tensor, " keys"]]) -> Picture:
    """Rows of weights as bars on the same scale, one group below the other."""
    written = "; ".join(
        f"{name}: {numbers(row, '{:.2f}')}" for name, row in rows.items()
    )
    sheet = Drawing(f"Attention weights as bars on one scale. {written}.")
    for place, (name, row) in enumerate(rows.items()):
        ground = place * 132
        sheet.text((0, ground - 98), name, size=13, anchor="start")
        labels = [f"key {key}" for key in range(len(row))]
        sheet.bars(4, ground, row.tolist(), labels, width=44, gap=18, height=66, top=1)
    return sheet.finish()


def sum_of_products() -> Picture:
    """A score as a sum of products, each of variance 1."""
    sheet = Drawing(
        "A score is a sum of as many products as the head is wide. Each product has "
        "variance 1; the sum has the head width as its variance, and its square root "
        "as its spread."
    )
    texts = ["q₀ · k₀", "q₁ · k₁", "q₂ · k₂", "…", "last one"]
    boxes = sheet.row(0, 0, texts, width=74, gap=18, height=30, colors="blue", size=13)
    for left, right in pairwise(boxes):
        sheet.text(((left.right[0] + right.x) / 2, 15), "+", size=14)
    for box in boxes:
        x, y = box.bottom
        sheet.text((x, y + 14), "" if box is boxes[3] else "variance 1", size=12)
    sheet.brace(
        (0, 62), (442, 62), "score: variance = head width, spread = √head width"
    )
    return sheet.finish()
