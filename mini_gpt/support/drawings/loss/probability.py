"""What a language model says of a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.loss.words import shown
from mini_gpt.support.drawings.picture import Picture, Units


def chain(text: str, chances: Sequence[Fraction]) -> Picture:
    """A text as a row of boxes, each step with its probability, and their product."""
    product = math.prod(chances)
    sheet = Drawing(
        f"The characters of {text!r} in a row. An arrow leads from each to the next, "
        f"with its probability: {', '.join(map(str, chances))}. Their product, "
        f"{product}, is the probability of the text."
    )
    boxes = sheet.row(
        0, 0, [shown(c) for c in text], width=44, height=34, gap=46, mono=True, size=17
    )
    for left, right, chance in zip(boxes, boxes[1:], chances, strict=False):
        middle = (left.right[0] + right.x) / 2
        sheet.arrow([left.right, right.left], color="blue")
        sheet.text((middle, -8), str(chance), size=15, color="blue", bold=True)
    sheet.brace((boxes[0].right[0], 44), (boxes[-1].x, 44), color="blue")
    whole = " × ".join(map(str, chances)) + f" = {product}"
    sheet.text((boxes[2].center[0], 68), whole, size=15)
    return sheet.finish()


def ruler(names: Sequence[str], shares: Sequence[Units], point: Units) -> Picture:
    """A stretch from 0 to 1, cut in shares, and a point that falls into one of them."""
    ends = [float(sum(shares[: place + 1])) for place in range(len(shares))]
    hit = next(place for place, end in enumerate(ends) if point < end)
    sheet = Drawing(
        "A ruler from 0 to 1, cut into one piece for each character: "
        + ", ".join(
            f"{shown(n)} {float(s):.2f}" for n, s in zip(names, shares, strict=True)
        )
        + f". The point {point} falls into the piece of {shown(names[hit])}."
    )
    wide = 420
    for place, (name, share) in enumerate(zip(names, shares, strict=True)):
        left = wide * (ends[place] - float(share))
        color = "orange" if place == hit else "plain"
        label = shown(name)
        sheet.box(
            left, 0, wide * float(share), 36, label, color=color, mono=True, size=16
        )
    for end in [0.0, *ends]:
        sheet.text((wide * end, 50), f"{end:g}", size=12)
    sheet.text((wide * point, -40), f"drawn: {point:g}", size=13, color="orange")
    sheet.arrow([(wide * point, -30), (wide * point, -2)], color="orange", width=2)
    return sheet.finish()


def asked(given: str, came: str) -> Picture:
    """The three questions that a language model answers, about one small text.

    Args:
        given: The text so far.
        came: What it is continued with when the model writes.
    """
    sheet = Drawing(
        f"The model in the middle, given the text {given!r}. Three arrows lead to what "
        "it answers: log_probs, whether each character was expected; probabilities, "
        f"what comes next; and sample, the text written on as {given + came!r}."
    )
    text = sheet.row(0, 76, [shown(c) for c in given], width=22, mono=True)
    model = sheet.box(146, 62, 96, 56, "NGram\nModel", color="orange", bold=True)
    sheet.arrow([text[-1].right, model.left])
    for row, (name, answer) in enumerate(
        (
            ("log_probs", "was each expected?"),
            ("probabilities", "what comes next?"),
            ("sample", f"write on: {shown(given + came)}"),
        )
    ):
        y = 62 * row
        box = sheet.box(290, y, 170, 48, f"{name}\n{answer}", size=13)
        sheet.arrow([model.right, (266, 90), (266, box.left[1]), box.left])
    return sheet.finish()
