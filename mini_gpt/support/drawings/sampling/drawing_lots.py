"""Darts, thrown one by one or drawn ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, visible
from mini_gpt.support.drawings.sampling.bars import percent_bars, ruler


def thrown(names: Sequence[str], shares: Sequence[float], dart: float) -> Picture:
    """Shares laid end to end on a ruler of length 1, and a dart."""
    sheet = Drawing(
        "A ruler from 0 to 1, cut into pieces: "
        + ", ".join(f"{visible(n)} {s:.2f}" for n, s in zip(names, shares, strict=True))
        + f". A dart at {dart:g} hits one of them."
    )
    ruler(sheet, 0, 0, 440, names, shares, dart)
    sheet.text((0, 46), "0", size=12)
    sheet.text((440, 46), "1", size=12)
    return sheet.finish()


def ahead(rows: Mapping[str, Sequence[float]], step: int) -> Picture:
    """Darts drawn before the first score: one row a text, one column a step."""
    sheet = Drawing(
        "A table of darts drawn ahead, one row for each text and one column for each "
        f"step. Step {step} uses one column. "
        + "; ".join(
            f"{name}: {', '.join(f'{d:.2f}' for d in row)}"
            for name, row in rows.items()
        )
    )
    for number, (name, row) in enumerate(rows.items()):
        y = number * 34
        sheet.text((70, y + 15), name, size=13, anchor="end")
        colors = ["green" if place == step else "plain" for place in range(len(row))]
        numbers = [f"{dart:.2f}" for dart in row]
        sheet.row(80, y, numbers, width=54, height=30, colors=colors, size=13)
    count = len(next(iter(rows.values())))
    for place in range(count):
        sheet.text((107 + place * 54, -12), f"step {place}", size=12)
    x = 107 + step * 54
    bottom = len(rows) * 34
    sheet.arrow([(x, bottom), (x, bottom + 28)], color="green")
    sheet.text(
        (x, bottom + 40), "thrown at the scores of this step", size=13, color="green"
    )
    return sheet.finish()


def loop(prompt: Sequence[str], likeliest: Mapping[str, float], drawn: str) -> Picture:
    """One step of writing: tokens, model, shares, draw, and back."""
    shares = ", ".join(f"{visible(name)} {s:.2f}" for name, s in likeliest.items())
    sheet = Drawing(
        f"A loop. The tokens {' '.join(map(visible, prompt))} go into the model, which "
        f"gives a share to each token, the likeliest being {shares}. One is drawn, "
        f"{visible(drawn)}, and appended to the tokens."
    )
    width = 56
    boxes = sheet.row(
        0,
        0,
        [*map(visible, prompt), "?"],
        width=width,
        height=30,
        size=13,
        mono=True,
        colors=["gray"] * len(prompt) + ["green"],
    )
    model = sheet.box(0, 78, 120, 44, "model", color="orange", bold=True)
    start = boxes[0].x + 60
    sheet.arrow([(start, 30), (start, 78)])
    sheet.arrow([model.right, (164, 100)])
    left: Units = 176
    percent_bars(
        sheet,
        left,
        128,
        list(likeliest),
        list(likeliest.values()),
        None,
        width=34,
        height=44,
        full=max(likeliest.values()),
        gap=6,
    )
    sheet.text(
        (left, 158), "shares of the likeliest, in percent", size=12, anchor="start"
    )
    draw = sheet.box(left + 232, 78, 48, 44, "draw", color="green", bold=True, size=13)
    sheet.arrow([(left + 206, 100), draw.left])
    x, y = boxes[-1].right
    sheet.arrow([draw.top, (draw.top[0], y), (x + 2, y)])
    sheet.text(((draw.top[0] + x) / 2 + 4, y - 12), f"append {visible(drawn)}", size=12)
    return sheet.finish()
