"""Drawings of the chapter on choosing a token."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Units


def _shown(text: str) -> str:
    """A token with its spaces and line breaks made visible."""
    return text.replace(" ", "␣").replace("\n", "⏎")


def _percent(share: float) -> str:
    return "0" if share == 0 else f"{100 * share:.0f}" if share >= 0.005 else "<1"


def _bars(
    sheet: Drawing,
    x: Units,
    y: Units,
    names: Sequence[str],
    after: Sequence[float],
    before: Sequence[float] | None,
    *,
    width: Units,
    height: Units,
    full: float,
    gap: Units = 4,
) -> None:
    """Bars on a ground at `y`, each with its percentage; dashes where it was before."""
    for place, (name, share) in enumerate(zip(names, after, strict=True)):
        left, tall = x + place * (width + gap), height * share / full
        if share > 0:
            sheet.box(left, y - tall, width, tall, color="blue", round=0)
        top = tall
        if before is not None:
            was = height * before[place] / full
            outline = [(left, y), (left, y - was), (left + width, y - was)]
            sheet.line([*outline, (left + width, y)], color="red", dashed=True)
            top = max(tall, was)
        middle = left + width / 2
        sheet.text((middle, y - top - 8), _percent(share), size=11)
        sheet.text((middle, y + 11), _shown(name), size=12)
    sheet.line([(x - 3, y), (x + len(names) * (width + gap) - gap + 3, y)])


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
            f"{_shown(name)} {_percent(share)}"
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
        _bars(
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
        f"after {name}: {', '.join(_percent(share) for share in shares.tolist())}"
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
        _bars(
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
    _ruler(sheet, 196, y + 4, 236, names, previous or [], dart)
    return sheet.finish()


def _ruler(
    sheet: Drawing,
    x: Units,
    y: Units,
    length: Units,
    names: Sequence[str],
    shares: Sequence[float],
    dart: float,
) -> None:
    """Shares laid end to end, and where the dart hits."""
    at: float = x
    for name, share in zip(names, shares, strict=True):
        if share == 0:
            continue
        hit = at <= x + dart * length < at + share * length
        text = _shown(name) if share * length > 8 * len(name) + 4 else ""
        color = "green" if hit else "blue"
        sheet.box(at, y, share * length, 30, text, color=color, size=13, round=0)
        at += share * length
    sheet.arrow([(x + dart * length, y + 62), (x + dart * length, y + 32)])
    sheet.text((x + dart * length + 8, y + 54), f"{dart:g}", size=13, anchor="start")


def thrown(names: Sequence[str], shares: Sequence[float], dart: float) -> Picture:
    """Shares laid end to end on a ruler of length 1, and a dart."""
    sheet = Drawing(
        "A ruler from 0 to 1, cut into pieces: "
        + ", ".join(f"{_shown(n)} {s:.2f}" for n, s in zip(names, shares, strict=True))
        + f". A dart at {dart:g} hits one of them."
    )
    _ruler(sheet, 0, 0, 440, names, shares, dart)
    sheet.text((0, 46), "0", size=12)
    sheet.text((440, 46), "1", size=12)
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


def loop(prompt: Sequence[str], likeliest: Mapping[str, float], drawn: str) -> Picture:
    """One step of writing: tokens, model, shares, draw, and back."""
    shares = ", ".join(f"{_shown(name)} {s:.2f}" for name, s in likeliest.items())
    sheet = Drawing(
        f"A loop. The tokens {' '.join(map(_shown, prompt))} go into the model, which "
        f"gives a share to each token, the likeliest being {shares}. One is drawn, "
        f"{_shown(drawn)}, and appended to the tokens."
    )
    width = 56
    boxes = sheet.row(
        0,
        0,
        [*map(_shown, prompt), "?"],
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
    _bars(
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
    sheet.text(((draw.top[0] + x) / 2 + 4, y - 12), f"append {_shown(drawn)}", size=12)
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
