"""What has been fed to whom, and what the time consists of."""

from __future__ import annotations

from collections.abc import Mapping

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units


def sessions(prompt: int, guesses: int, kept: int) -> Picture:
    """What the two sessions have been fed before, in and after one round.

    Args:
        prompt: Tokens before the round.
        guesses: How many tokens the draft guesses.
        kept: How many of them are kept.
    """
    sheet = Drawing(
        f"Positions in the caches. Before a round all {prompt} tokens but the last "
        "have been fed. The draft is fed the last one and its guesses but the final; "
        f"the target is fed the last one and all {guesses} guesses. Then both are "
        f"cropped to the {prompt + kept} tokens that stay, and the target's own token "
        "is fed next time."
    )
    wide, left = 28, 100
    letters = [str(place + 1) for place in range(prompt + guesses)]
    old = ["gray"] * (prompt - 1)
    stay = old + ["green"] * (1 + kept)
    lines = [
        ("text before", letters[:prompt], ["gray"] * prompt),
        ("draft is fed", letters[:-1], old + ["orange"] * guesses),
        ("target is fed", letters, old + ["blue"] * (guesses + 1)),
        ("after crop", letters[: len(stay)], stay),
    ]
    for row, (name, texts, colors) in enumerate(lines):
        sheet.text((0, row * 42 + 13), name, size=13, anchor="start")
        sheet.row(left, row * 42, texts, width=wide, height=26, colors=colors, size=13)
    x = left + wide * len(stay) + 6
    sheet.text((x, 139), "next: the own token", size=12, anchor="start")
    return sheet.finish()


def costs(rows: Mapping[str, Mapping[str, float]]) -> Picture:
    """What the time of each way of writing consists of, as bars of milliseconds."""
    totals = {name: sum(parts.values()) for name, parts in rows.items()}
    listed = ", ".join(f"{name} {total:.2f}" for name, total in totals.items())
    sheet = Drawing(f"Bars of milliseconds, by what the time goes into: {listed}.")
    full = max(totals.values())
    looks = {"target": "blue", "draft": "orange", "choice": "green"}
    for row, (name, parts) in enumerate(rows.items()):
        y = row * 58
        sheet.text((0, y - 10), f"{name}: {totals[name]:.2f} ms", size=13,
                   anchor="start")  # fmt: skip
        x: Units = 0
        for part, cost in parts.items():
            wide = 440 * cost / full
            sheet.box(x, y, wide, 24, color=looks[part], round=0)
            if wide > 60:
                sheet.text((x + wide / 2, y + 12), f"{cost:.2f}", size=12)
            x += wide
    y = len(rows) * 58 - 8
    for place, (part, color) in enumerate(looks.items()):
        sheet.box(place * 120, y, 16, 14, color=color, round=0)
        sheet.text((place * 120 + 22, y + 7), part, size=13, anchor="start")
    return sheet.finish()
