"""What the rules leave of a distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Units, visible
from mini_gpt.support.drawings.sampling.bars import percent, percent_bars, ruler


def before_and_after(
    names: Sequence[str],
    before: Float[Tensor, " tokens"],
    after: Mapping[str, Float[Tensor, " tokens"]],
    *,
    columns: int = 3,
    was: str = "before",
) -> Picture:
    """Shares in percent under some rules; dashed outlines show what was before."""
    told = "; ".join(
        f"{title}: "
        + ", ".join(
            f"{visible(name)} {percent(share)}"
            for name, share in zip(names, shares.tolist(), strict=True)
        )
        for title, shares in after.items()
    )
    sheet = Drawing(f"Bars of shares in percent, with dashed outlines {was}. {told}.")
    full = max(float(shares.max()) for shares in [before, *after.values()])
    between = 26
    width = min(30, (452 - (columns - 1) * between) / columns / len(names) - 4)
    panel = len(names) * (width + 4) + between
    for place, (title, shares) in enumerate(after.items()):
        x, y = place % columns * panel, place // columns * 138
        sheet.text((x, y - 104), title, size=13, anchor="start", bold=True)
        percent_bars(
            sheet,
            x,
            y,
            names,
            shares.tolist(),
            before.tolist(),
            width=width,
            height=72,
            full=full,
        )
    below = (len(after) - 1) // columns * 138 + 34
    sheet.line([(0, below), (22, below)], color="red", dashed=True)
    sheet.text((28, below), f"{was}, in percent", size=12, anchor="start", color="red")
    return sheet.finish()


def pipeline(names: Sequence[str], steps: Mapping[str, Tensor], dart: float) -> Picture:
    """One distribution on its way through the rules, from model to dart."""
    told = "; ".join(
        f"after {name}: {', '.join(percent(share) for share in shares.tolist())}"
        for name, shares in steps.items()
    )
    sheet = Drawing(
        "The rules as a line of boxes from top to bottom, each with the shares in "
        f"percent that it leaves. {told}. At the end a dart falls at {dart:g}."
    )
    full = max(float(shares.max()) for shares in steps.values())
    earlier: Box | None = None
    previous: list[float] | None = None
    y: Units = 0
    for name, shares in steps.items():
        color = "gray" if earlier is None else "orange"
        box = sheet.box(0, y, 150, 40, name, color=color, size=14)
        if earlier is not None:
            sheet.arrow([earlier.bottom, box.top])
        percent_bars(
            sheet,
            196,
            y + 50,
            names,
            shares.tolist(),
            previous,
            width=36,
            height=52,
            full=full,
        )
        earlier, previous, y = box, shares.tolist(), y + 106
    box = sheet.box(0, y, 150, 40, "dart", color="green", size=14)
    if earlier is not None:
        sheet.arrow([earlier.bottom, box.top])
    ruler(sheet, 196, y + 4, 236, names, previous or [], dart)
    return sheet.finish()


def running_sum(names: Sequence[str], shares: Sequence[float], p: float) -> Picture:
    """What has been reached before each token, and where the share p lies."""
    sheet = Drawing(
        f"Shares from the likeliest on, laid end to end, with a line at {p:g}. A token "
        "stays if it begins left of the line: "
        + ", ".join(f"{n} {s:.2f}" for n, s in zip(names, shares, strict=True))
    )
    at, length = 0.0, 440
    for name, share in zip(names, shares, strict=True):
        kept = at < p - 1e-9
        color = "blue" if kept else "gray"
        left = at * length
        text = name if share * length > 8 * len(name) else ""
        sheet.box(left, 0, share * length, 34, text, color=color, size=14, round=0)
        if share * length > 32:
            sheet.text((left, 46), f"{at:.2f}", size=12)
        at += share
    line = p * length
    sheet.line([(line, -16), (line, 36)], color="red", dashed=True)
    sheet.text((line, -25), f"p = {p:g}", size=13, color="red")
    sheet.text((0, 68), "below each piece: reached before it", size=12, anchor="start")
    return sheet.finish()


def nearest(
    names: Sequence[str], surprisals: Sequence[float], entropy: float, kept: int
) -> Picture:
    """Surprisals on a line, and which are nearest to the entropy."""
    sheet = Drawing(
        f"A line of surprisals with the entropy marked at {entropy:.2f} nats: "
        + ", ".join(f"{n} {s:.2f}" for n, s in zip(names, surprisals, strict=True))
        + f". The {kept} nearest to the entropy are lit."
    )
    scale = 420 / max(surprisals)
    order = sorted(range(len(names)), key=lambda i: abs(surprisals[i] - entropy))
    for place, (name, surprisal) in enumerate(zip(names, surprisals, strict=True)):
        color = "blue" if place in order[:kept] else "gray"
        x = surprisal * scale
        sheet.box(x - 17, -15, 34, 30, name, color=color, size=13)
        sheet.text((x, 26), f"{surprisal:.2f}", size=12)
    sheet.arrow([(entropy * scale, -44), (entropy * scale, -17)], color="red")
    sheet.text((entropy * scale, -52), f"entropy {entropy:.2f}", size=13, color="red")
    sheet.arrow([(0, 44), (440, 44)])
    sheet.text((0, 58), "0: certain", size=12, anchor="start")
    sheet.text((440, 58), "surprisal (nats)", size=12, anchor="end")
    return sheet.finish()


def ties(
    values: Sequence[Units], kept: Bool[Tensor, "rules tokens"], names: Sequence[str]
) -> Picture:
    """Equal scores at the border, and what two rules keep."""
    sheet = Drawing(
        f"Scores {', '.join(f'{v:g}' for v in values)}. "
        + "; ".join(
            f"{name} keeps {sum(row)}"
            for name, row in zip(names, kept.tolist(), strict=True)
        )
    )
    for number, (name, row) in enumerate(zip(names, kept.tolist(), strict=True)):
        y = number * 40
        sheet.text((0, y + 15), name, size=13, anchor="start")
        colors = ["blue" if keep else "gray" for keep in row]
        sheet.row(
            200, y, [f"{v:g}" for v in values], width=44, height=30, colors=colors
        )
        sheet.text((432, y + 15), f"{sum(row)}", size=14, anchor="start", bold=True)
    return sheet.finish()
