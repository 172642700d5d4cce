"""Probabilities from counts, the longer contexts blended with shorter ones."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.loss.words import shown
from mini_gpt.support.drawings.picture import Picture, Units


def blend(rows: Sequence[tuple[str, str, Fraction, Fraction, Fraction]]) -> Picture:
    """Estimates from the longest context down to none, each blended with the next.

    Args:
        rows: For each length, longest first: the context, its own estimate in words,
            that estimate, the weight that it keeps, and the blend with all below.
    """
    sheet = Drawing(
        "From top to bottom the contexts grow shorter. Each has its own estimate and "
        "passes the rest of the weight to the blend below it: "
        + "; ".join(
            f"{context} estimates {own} with weight {weight}, blended {mixed}"
            for context, _, own, weight, mixed in rows
        )
    )
    for place, (context, words, own, weight, mixed) in enumerate(rows):
        y = 88 * place
        sheet.box(0, y, 132, 46, f"{context}\n{words}", size=12, color="blue")
        sheet.arrow(
            [(132, y + 23), (222, y + 23)], f"{own} × {weight}", color="blue", width=2
        )
        sheet.circle((236, y + 23), 13, "+")
        sheet.arrow([(249, y + 23), (300, y + 23)])
        sheet.box(300, y, 110, 46, f"blended\n{mixed}", size=13, color="orange")
        if place:
            sheet.arrow([(355, y), (355, y - 20), (236, y - 20), (236, y - 51)])
            rest = 1 - rows[place - 1][3]
            sheet.text((300, y - 29), f"× {rest}", size=13)
    return sheet.finish()


def discount(names: Sequence[str], counts: Sequence[int], taken: Units) -> Picture:
    """Counts of which a fixed amount is cut off and handed to the shorter context."""
    sheet = Drawing(
        f"Counts as columns; from each that is not zero {taken} is cut off. What was "
        "cut off, together, goes to the shorter context."
    )
    unit = 26
    for place, (name, count) in enumerate(zip(names, counts, strict=True)):
        x = 62 * place
        if count:
            kept = unit * (count - taken)
            sheet.box(x, -kept, 46, kept, color="blue", round=0)
            top = -unit * count
            sheet.box(
                x, top, 46, unit * taken, f"{taken:g}", color="orange", size=12, round=0
            )
        sheet.text((x + 23, 14), shown(name), mono=True)
    right = 62 * len(names) - 16
    sheet.line([(-4, 0), (right, 0)])
    cut = taken * sum(count > 0 for count in counts)
    text = f"{cut:g} of {sum(counts)}\nto the shorter\ncontext"
    box = sheet.box(right + 48, -78, 110, 64, text, color="orange", size=13)
    sheet.arrow([(right + 8, -46), box.left], color="orange", width=2)
    return sheet.finish()


def after(context: str, counted: Sequence[tuple[str, int]]) -> Picture:
    """How often each character followed a context, the most frequent first."""
    sheet = Drawing(
        f"Bars: what followed {context!r}, and how often: "
        + ", ".join(f"{shown(name)} {count}" for name, count in counted)
    )
    sheet.row(0, -28, [shown(c) for c in context], width=24, mono=True)
    sheet.arrow([(24 * len(context), -14), (24 * len(context) + 34, -14)])
    names, counts = zip(*counted, strict=True)
    sheet.bars(
        24 * len(context) + 44,
        0,
        counts,
        [shown(name) for name in names],
        width=28,
        height=70,
        numbers="{:.0f}",
    )
    return sheet.finish()


def sorted_runs(text: str, alphabet: Sequence[str]) -> Picture:
    """The runs of two in a text as sorted numbers, those of one context together."""
    pairs: dict[str, int] = {}
    for place in range(len(text) - 1):
        pair = text[place : place + 2]
        pairs[pair] = pairs.get(pair, 0) + 1
    size = len(alphabet)
    runs = sorted(
        (size * alphabet.index(p[0]) + alphabet.index(p[1]), p) for p in pairs
    )
    listed = [(number, pair) for number, pair in runs if pair[0] in "eot"]
    sheet = Drawing(
        "Part of the sorted runs of two: each pair, the number it is written as, and "
        "its count. Pairs that begin with the same character stand together, with the "
        "sum of their counts and how many they are: "
        + ", ".join(f"{shown(p)} is {n}, {pairs[p]} times" for n, p in listed)
    )
    for place, (number, pair) in enumerate(listed):
        x = 96 + 52 * place
        color = {"e": "green", "o": "orange", "t": "blue"}[pair[0]]
        sheet.text((x + 26, -14), shown(pair), mono=True)
        sheet.row(x, 0, [str(number)], width=52, colors=color)
        sheet.row(x, 28, [str(pairs[pair])], width=52)
    for y, label in ((-14, "pair"), (14, "number"), (42, "count")):
        sheet.text((84, y), label, anchor="end")
    for context in "eot":
        group = [k for k, (_, pair) in enumerate(listed) if pair[0] == context]
        total = sum(pairs[listed[k][1]] for k in group)
        ends = (98 + 52 * group[0], 62), (94 + 52 * (group[-1] + 1), 62)
        sheet.brace(*ends, f"N {total}, K {len(group)}")
    first = alphabet.index("o"), alphabet.index("r")
    sum_of = f"{size} × {first[0]} + {first[1]} = {size * first[0] + first[1]}"
    sheet.text((96, 104), f"“or” is {sum_of}", size=13, anchor="start", color="orange")
    return sheet.finish()
