"""Several rows of text at a time."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.generation.legend import legend
from mini_gpt.support.drawings.picture import Picture


def rows_in_time(
    rows: Sequence[Sequence[str]], given: Sequence[int], ends: Sequence[int]
) -> Picture:
    """Rows against time: which words were given, which drawn, and where a row ended.

    Args:
        rows: The words of each row.
        given: How many of them are its prompt.
        ends: How many words each row has when it stops.
    """
    told = "; ".join(
        f"row {row} is given {has} and draws {end - has}"
        for row, (has, end) in enumerate(zip(given, ends, strict=True), start=1)
    )
    first, last = min(given), max(ends)
    sheet = Drawing(f"Rows of words against time: {told}. The first {first} columns "
                    "are one pass, each further column is a pass.")  # fmt: skip
    wide = min(62, 400 // last)
    for line, (words, has, end) in enumerate(zip(rows, given, ends, strict=True)):
        y = 38 * line
        sheet.text((-8, y + 15), f"row {line + 1}", size=13, anchor="end")
        colors = ["orange"] * has + ["blue"] * (end - has)
        sheet.row(
            0, y, words[:end], width=wide, height=30, colors=colors, size=11, mono=True
        )
        if end < last:
            x = wide * end + 8
            sheet.text((x, y + 15), "stopped", size=11, anchor="start")
    sheet.line([(wide * first, -8), (wide * first, 38 * len(rows) + 2)], dashed=True)
    sheet.brace((2, -8), (wide * first - 4, -8), "one pass", below=False)
    name = "a pass for each column"
    sheet.brace((wide * first + 4, -8), (wide * last, -8), name, below=False)
    entries = [("orange", "given: prompt"), ("blue", "drawn")]
    legend(sheet, 38 * len(rows) + 20, entries)
    return sheet.finish()


def seeds(count: int, firsts: Sequence[int]) -> Picture:
    """The seed of each row, for calls whose configurations begin at these seeds."""
    told = "; ".join(
        f"seed {first}: rows {list(range(first, first + count))}" for first in firsts
    )
    sheet = Drawing(f"The seed of each row, counted on from the call's seed. {told}.")
    for line, first in enumerate(firsts):
        y = 40 * line
        sheet.text((-8, y + 15), f"seed={first}", size=13, anchor="end", mono=True)
        for row in range(count):
            seed = first + row
            twice = sum(f <= seed < f + count for f in firsts) > 1
            color = "red" if twice else "green"
            sheet.box(44 * seed, y, 40, 30, str(seed), color=color)
    entries = [("green", "drawn once"), ("red", "drawn twice")]
    legend(sheet, 40 * len(firsts) + 12, entries)
    return sheet.finish()
