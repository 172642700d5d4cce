"""Texts that were written, and trees of those that could be."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units


def texts(cards: Mapping[str, str], *, columns: int = 2, lines: int = 9) -> Picture:
    """Texts side by side, each under its name, cut to the same number of lines."""
    told = " ".join(f"{name}: {' / '.join(t.split())}" for name, t in cards.items())
    sheet = Drawing(f"Texts side by side. {told[:400].replace(' / ', ' ')}")
    width = (460 - 10 * (columns - 1)) / columns
    fits = int((width - 14) / 6.4)
    for place, (name, text) in enumerate(cards.items()):
        x = place % columns * (width + 10)
        y = place // columns * (lines * 16 + 48)
        sheet.box(x, y, width, lines * 16 + 38, color="plain")
        sheet.text((x + 8, y + 14), name, size=13, anchor="start", bold=True)
        wrapped = [
            part
            for line in text.splitlines()
            for part in textwrap.wrap(line, fits) or [""]
        ]
        for number, line in enumerate(wrapped[:lines]):
            end = " ..." if number == lines - 1 and len(wrapped) > lines else ""
            at = x + 8, y + 36 + number * 16
            sheet.text(at, line[: fits - len(end)] + end, size=12, anchor="start")
    return sheet.finish()


def tree(
    first: Mapping[str, float], second: Mapping[str, Mapping[str, float]]
) -> Picture:
    """Two tokens as a tree of choices, with the probability of each pair."""
    pairs = {
        (one, two): first[one] * share
        for one, following in second.items()
        for two, share in following.items()
    }
    best = max(pairs, key=lambda pair: pairs[pair])
    sheet = Drawing(
        "A tree of two choices. "
        + ", ".join(f"{a} {b} has {share:.2f}" for (a, b), share in pairs.items())
        + f". The likeliest pair is {' '.join(best)}."
    )
    y: Units = 0
    greedy = max(first, key=lambda name: first[name])
    root_y = (len(pairs) - 1) * 40 / 2
    root = sheet.box(0, root_y, 60, 30, "start", color="gray")
    for one, following in second.items():
        middle = y + (len(following) - 1) * 40 / 2
        color = "orange" if one == greedy else "plain"
        box = sheet.box(150, middle, 70, 30, one, color=color)
        sheet.arrow([root.right, box.left])
        up = (root.right[1] + box.left[1]) / 2
        sheet.text((105, up - 16 if middle < root_y else up + 16), f"{first[one]:.2f}")
        ahead = max(following, key=lambda name: following[name])
        for two, share in following.items():
            greedily = one == greedy and two == ahead
            tint = "green" if (one, two) == best else "orange" if greedily else "plain"
            end = sheet.box(310, y, 70, 30, two, color=tint)
            sheet.arrow([box.right, end.left])
            side = 10 if end.left[1] > box.right[1] else -9
            at = 300, end.left[1] + side
            sheet.text(at, f"{share:.2f}", size=12, anchor="end")
            bold = (one, two) == best or greedily
            sheet.text(
                (390, end.left[1]),
                f"{pairs[one, two]:.2f}",
                anchor="start",
                bold=bold,
            )
            y += 40
    sheet.text(
        (0, y + 4), "orange: greedy; green: the likeliest pair", size=12, anchor="start"
    )
    return sheet.finish()
