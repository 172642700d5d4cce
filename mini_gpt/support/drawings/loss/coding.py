"""A text as a message that is as long as its surprisal."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.loss.words import shown
from mini_gpt.support.drawings.picture import Picture, Units


def intervals(
    steps: Sequence[tuple[str, Sequence[str], Sequence[Fraction]]],
) -> Picture:
    """An interval that shrinks: each row shows the part that the row above chose.

    Args:
        steps: For each character: itself, all that could come, and their shares.
    """
    sheet = Drawing(
        "Rows of an interval. In each, every possible character has a part as wide as "
        "its probability; the part of the one that came is drawn to full width in the "
        "next row: " + ", ".join(shown(step[0]) for step in steps) + "."
    )
    low, width, wide = Fraction(0), Fraction(1), 430
    for row, (came, names, shares) in enumerate(steps):
        y, left = 92 * row, Fraction(0)
        for name, share in zip(names, shares, strict=True):
            x, span = float(wide * left), float(wide * share)
            color = "orange" if name == came else "plain"
            label = shown(name) if span > 14 else ""
            sheet.box(x, y, span, 32, label, color=color, mono=True, size=15)
            if name == came:
                sheet.line([(x, y + 32), (0, y + 92)], color="orange", dashed=True)
                ends = [(x + span, y + 32), (wide, y + 92)]
                sheet.line(ends, color="orange", dashed=True)
                chosen = left, share
            left += share
        sheet.text((4, y + 44), f"{float(low):.4f}", size=12, anchor="start")
        end = f"{float(low + width):.4f}"
        sheet.text((wide - 4, y + 44), end, size=12, anchor="end")
        low, width = low + width * chosen[0], width * chosen[1]
    y = 92 * len(steps)
    text = f"what is left is {width} = {float(width):.4f} wide"
    sheet.box(0, y, wide, 32, text, color="orange", size=14)
    sheet.text((4, y + 44), f"{float(low):.4f}", size=12, anchor="start")
    sheet.text((wide - 4, y + 44), f"{float(low + width):.4f}", size=12, anchor="end")
    return sheet.finish()


def message(bits: int, surprisal: Units, plain: int) -> Picture:
    """The length of a coded text beside its surprisal and its length as bytes."""
    sheet = Drawing(
        f"Three bars to one scale: {plain} bits as plain bytes, {surprisal:.1f} bits "
        f"of surprisal, and the message of {bits} bits, longer than the surprisal by "
        "an end mark only."
    )
    wide = 310 / plain
    for row, (name, long, color) in enumerate(
        (
            ("bytes", plain, "plain"),
            ("surprisal", surprisal, "blue"),
            ("message", bits, "orange"),
        )
    ):
        y = 34 * row
        sheet.box(0, y, wide * long, 24, color=color, round=0)
        sheet.text((-8, y + 12), name, anchor="end")
        sheet.text((wide * long + 8, y + 12), f"{long:,.0f}", anchor="start", size=13)
    return sheet.finish()
