"""Less time and less memory for the same weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from mini_gpt.support.drawings.attention.numbers import numbers
from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


def running_sums(
    scores: Float[Tensor, " keys"], values: Float[Tensor, " keys"], block: int = 2
) -> Picture:
    """One query reads its keys in blocks and keeps three running numbers."""
    sheet = Drawing(
        "One query reads its keys in blocks. After each block it keeps the greatest "
        "score so far, the sum of the exponentials and the weighted sum of the values; "
        "the output is the last quotient."
    )
    names = ["greatest score", "sum of weights", "sum of weight × value"]
    for row, name in enumerate(names):
        sheet.text((0, 95 + 30 * row), name, size=12, anchor="start")
    largest, total, mixed = -math.inf, 0.0, 0.0
    x: float = 145
    wide = 94
    for start in range(0, len(scores), block):
        part, of = scores[start : start + block], values[start : start + block]
        new = max(largest, part.max().item())
        shrink = math.exp(largest - new)
        weights = (part - new).exp()
        total = total * shrink + weights.sum().item()
        mixed = mixed * shrink + (weights * of).sum().item()
        largest = new
        last = start + len(part) - 1
        title = f"keys {start}, {last}" if last > start else f"key {start}"
        top = sheet.box(
            x, 0, wide, 44, f"{title}\nscores {numbers(part)}", size=12, color="blue"
        )
        kept = [f"{number:.3g}" for number in (largest, total, mixed)]
        for row, text in enumerate(kept):
            box = sheet.box(
                x,
                82 + 30 * row,
                wide,
                26,
                text,
                size=13,
                color="orange" if row else "gray",
            )
            if x > 145:
                sheet.arrow([(x - 12, box.center[1]), box.left])
        sheet.arrow([top.bottom, (top.center[0], 82)])
        x += wide + 12
    sheet.text(
        (x - 12, 186), f"output  {mixed:.3g} / {total:.3g} = {mixed / total:.2f}",
        size=13, anchor="end", bold=True,
    )  # fmt: skip
    return sheet.finish()


def ladder(rungs: Sequence[tuple[str, str]]) -> Picture:
    """Versions from the slowest to the package's, with what each one changes."""
    named = "; ".join(f"{name}: {what}" for name, what in rungs)
    sheet = Drawing(f"The ladder of equal versions, from top to bottom. {named}.")
    previous = None
    for place, (name, what) in enumerate(rungs):
        last = place == len(rungs) - 1
        color = "orange" if last else "plain"
        box = sheet.box(0, place * 48, 205, 28, name, mono=True, size=13, color=color)
        sheet.text((218, box.center[1]), what, size=13, anchor="start")
        if previous is not None:
            sheet.arrow([previous.bottom, box.top], "equal")
        previous = box
    return sheet.finish()


def twice_the_text(short: int, long: int) -> Picture:
    """The scores of a text and of one twice as long, counted."""
    sheet = Drawing(
        f"Two triangles of scores below the diagonal: {short} positions have "
        f"{short * (short + 1) // 2} scores that are seen, of {short**2}; {long} "
        f"positions have {long * (long + 1) // 2} of {long**2}."
    )
    x: float = 0
    cell = 20
    for size in (short, long):
        for row in range(size):
            colors = ["blue" if column <= row else "gray" for column in range(size)]
            sheet.row(
                x, row * cell, [""] * size, width=cell, height=cell, colors=colors
            )
        seen = size * (size + 1) // 2
        middle = x + size * cell / 2
        sheet.text((middle, -14), f"{size} positions", size=13)
        text = f"{seen} of {size**2} seen"
        sheet.text((middle, size * cell + 14), text, size=13)
        x += size * cell + 60
    return sheet.finish()
