"""Drawings of the chapter on the decoder: feed-forward network, stream, norms."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Point, Units


def _number(value: Units) -> str:
    return f"{value:.3g}".replace("-", "−")


def feed_forward(
    features: Sequence[Units], hidden: Sequence[Units], written: Units
) -> Picture:
    """Two features, four hidden ones before and after the bend, one number written.

    Args:
        features: The two features of one position.
        hidden: What the first map makes of them.
        written: What the second map makes of the bent ones.
    """
    bent = [max(value, 0) for value in hidden]
    sheet = Drawing(
        f"A feed-forward network for one position. The features {list(features)} are "
        f"expanded to {list(hidden)}; the bend makes {bent} of them; the second map "
        f"adds the first two, subtracts the last two and writes {written}."
    )
    asked = ("a + b", "−a − b", "a − b", "b − a")
    left = [
        sheet.box(
            0, 40 + 60 * place, 66, 32, f"{name} = {_number(value)}", color="blue"
        )
        for place, (name, value) in enumerate(zip("ab", features, strict=True))
    ]
    middle = []
    for place, (question, value) in enumerate(zip(asked, hidden, strict=True)):
        y = 44 * place
        row = sheet.box(130, y, 100, 32, f"{question} = {_number(value)}", size=13)
        for box in left:
            sheet.line([box.right, row.left])
        after = sheet.box(268, y, 44, 32, _number(bent[place]), color="orange")
        sheet.arrow([row.right, after.left])
        middle.append(after)
    out = sheet.box(392, 66, 62, 32, _number(written), color="green", bold=True)
    for after, sign in zip(middle, "++−−", strict=True):
        sheet.arrow([after.right, out.left])
        sheet.text((after.right[0] + 9, after.center[1] - 10), sign, size=14, bold=True)
    for x, name in (
        (33, "features"),
        (180, "expand"),
        (290, "bend"),
        (423, "contract"),
    ):
        sheet.text((x, -22), name, size=13, color="gray")
    return sheet.finish()


def two_ways() -> Picture:
    """A part that replaces what comes, beside a part that adds to it."""
    sheet = Drawing(
        "Two ways of stacking three parts, from bottom to top. On the left each part "
        "replaces its input: the only way runs through all parts. On the right a "
        "straight road, the residual stream, passes all parts by; each part reads from "
        "the road and its output is added to the road."
    )
    sheet.text((70, -18), "replace", size=15, bold=True)
    sheet.text((320, -18), "add", size=15, bold=True)
    tops = (190, 110, 30)  # of the parts, from the first to the last
    sheet.text((70, 268), "stream", size=13)
    sheet.text((260, 268), "stream", size=13)
    before: Point = (70, 256)
    for number, top in enumerate(tops, 1):
        part = sheet.box(26, top, 88, 36, f"part {number}", color="orange")
        sheet.arrow([before, part.bottom])
        before = part.top
    sheet.arrow([before, (70, 0)])
    road: Point = (260, 256)
    for number, top in enumerate(tops, 1):
        plus = (260, top - 2)
        sheet.arrow([road, (260, top + 9)], color="blue", width=4)
        part = sheet.box(330, top + 10, 88, 36, f"part {number}", color="orange")
        sheet.arrow([(260, top + 62), (374, top + 62), part.bottom])
        sheet.arrow([part.top, (374, top - 2), (272, top - 2)])
        sheet.circle(plus, 11, "+")
        road = (260, top - 13)
    sheet.arrow([road, (260, 0)], color="blue", width=4)
    sheet.text((250, 150), "the residual", size=12, color="blue", anchor="end")
    sheet.text((250, 165), "stream", size=12, color="blue", anchor="end")
    return sheet.finish()


def normalization(
    features: Sequence[Units], centered: Sequence[Units], scaled: Sequence[Units]
) -> Picture:
    """The features of one position, after subtracting the mean, and after dividing."""
    sheet = Drawing(
        f"Layer normalization of one position: features {list(features)}; their mean "
        f"subtracted, {list(centered)}; divided by the standard deviation, "
        f"{[round(value, 2) for value in scaled]}."
    )
    rows = (
        ("features", features, "plain"),
        ("minus the mean", centered, "blue"),
        ("divided by the spread", scaled, "green"),
    )
    for place, (name, values, color) in enumerate(rows):
        y = 62 * place
        texts = [f"{value:.3g}".replace("-", "−") for value in values]
        boxes = sheet.row(166, y, texts, width=60, height=32, colors=color)
        sheet.text((154, y + 16), name, size=13, anchor="end")
        if place < 2:
            for box in boxes:
                sheet.arrow([box.bottom, (box.center[0], y + 62)])
    return sheet.finish()


def _sublayer(sheet: Drawing, x: Units, top: Units, name: str, first: bool) -> None:
    """One loop beside the stream at x; the norm before the part, or after the sum."""
    if first:
        part = sheet.box(x + 42, top + 14, 92, 34, name, color="orange", size=13)
        norm = sheet.box(x + 42, top + 66, 92, 30, "norm", color="green", size=13)
        sheet.arrow([(x, top + 116), (x + 88, top + 116), norm.bottom])
        sheet.arrow([norm.top, part.bottom])
    else:
        part = sheet.box(x + 42, top + 52, 92, 34, name, color="orange", size=13)
        sheet.arrow([(x, top + 116), (x + 88, top + 116), part.bottom])
    plus = top if first else top + 30
    sheet.arrow([part.top, (x + 88, plus), (x + 11, plus)])
    sheet.arrow([(x, top + 130), (x, plus + 11)], color="blue", width=4)
    sheet.circle((x, plus), 11, "+")
    if not first:
        norm = sheet.box(x - 34, top - 18, 68, 30, "norm", color="green", size=13)
        sheet.arrow([(x, plus - 11), norm.bottom], color="blue", width=4)


def norm_places() -> Picture:
    """Where the normalization stands: before a part, or after the addition."""
    sheet = Drawing(
        "Two sublayers. On the left, pre-norm: a normalized copy of the stream enters "
        "the part, and the part's output is added to the stream, which itself is never "
        "normalized. On the right, post-norm: the part reads the stream, and after the "
        "addition the stream itself is normalized."
    )
    for x, first, title in ((40, True, "pre-norm"), (290, False, "post-norm")):
        sheet.text((x + 50, -58), title, size=15, bold=True)
        _sublayer(sheet, x, 0, "part", first)
        start = -11 if first else -18
        sheet.arrow([(x, start), (x, -44)], color="blue", width=4)
        sheet.text((x, 144), "stream", size=13)
    return sheet.finish()


def block(batch: int, time: int, width: int, hidden_width: int) -> Picture:
    """A decoder block beside the stream, with the shape at each place."""
    shape = f"({batch}, {time}, {width})"
    wide = f"({batch}, {time}, {hidden_width})"
    sheet = Drawing(
        f"A decoder block from bottom to top. The residual stream of shape {shape} "
        "runs straight up. A normalized copy of it goes through attention and is "
        "added; then a normalized copy goes through the feed-forward network, which is "
        f"{wide} inside, and is added."
    )
    x = 84
    parts = (
        (200, "attention", "attention_norm", shape),
        (20, "feed-forward", "feed_forward_norm", wide),
    )
    for top, name, norm_name, inside in parts:
        part = sheet.box(170, top + 14, 136, 42, name, color="orange", bold=True)
        norm = sheet.box(170, top + 78, 136, 32, norm_name, color="green", size=13)
        sheet.arrow([(x, top + 136), (238, top + 136), norm.bottom])
        sheet.arrow([norm.top, part.bottom])
        sheet.arrow([part.top, (238, top - 10), (x + 12, top - 10)])
        sheet.text((316, top + 35), f"{inside} inside", size=12, anchor="start")
        sheet.text((316, top + 94), "each position alone", size=12, anchor="start")
        sheet.arrow([(x, top + 158), (x, top + 2)], color="blue", width=5)
        sheet.circle((x, top - 10), 12, "+")
        sheet.text((x - 16, top + 70), shape, size=12, anchor="end", color="blue")
    sheet.arrow([(x, -2), (x, -34)], color="blue", width=5)
    sheet.text((x, 372), "the stream comes in", size=13, color="blue")
    sheet.text((x, -46), "the stream goes on", size=13, color="blue")
    return sheet.finish()


def stack(layers: int) -> Picture:
    """The decoder: blocks along the stream and one normalization at its end."""
    sheet = Drawing(
        f"The decoder lies on its side: a stream enters at the left, passes {layers} "
        "blocks, each of which adds twice, and leaves at the right through the final "
        "normalization."
    )
    sheet.text((0, 80), "embedding", size=13, anchor="start", color="blue")
    x = 76
    sheet.arrow([(0, 60), (446, 60)], color="blue", width=5)
    for place, name in enumerate(("block 0", "block 1", "…", f"block {layers - 1}")):
        left = x + place * 70
        if name == "…":
            sheet.text((left + 26, 22), name, size=16)
            continue
        sheet.box(left, 6, 62, 30, name, color="orange", size=12)
        sheet.arrow([(left + 12, 60), (left + 12, 36)])
        sheet.arrow([(left + 50, 36), (left + 50, 57)])
        sheet.text((left + 36, 46), "+", size=13)
    sheet.box(362, 44, 50, 32, "norm", color="green", size=13)
    sheet.text((387, 90), "final_norm", size=12, mono=True)
    sheet.text((440, 42), "head", size=13, color="blue")
    return sheet.finish()


def one_mean(time: int, width: int) -> Picture:
    """Which numbers share a mean: those of one position, or those of all positions."""
    sheet = Drawing(
        f"Two tables of {time} positions by {width} features. On the left each row has "
        "a mean of its own, in a color of its own. On the right the whole table shares "
        "one mean, so that an arrow leads from the last position back to the first."
    )
    colors = ("blue", "orange", "green", "purple", "yellow", "red")
    for x, alone in ((0, True), (232, False)):
        title = "over the features" if alone else "over time as well"
        sheet.text((x + width * 15, -16), title, size=13, bold=True)
        rows: list[list[Box]] = []
        for row in range(time):
            color = colors[row % 6] if alone else "red"
            cells = [""] * width
            rows.append(
                sheet.row(x, 30 * row, cells, width=30, height=26, colors=color)
            )
        y, bottom = 13, 30 * (time - 1) + 13
        right = x + width * 30
        if alone:
            for row in range(time):
                text = f"mean {row}"
                sheet.text((right + 6, 30 * row + 13), text, size=12, anchor="start")
        else:
            bend = (right + 40, (y + bottom) / 2)
            sheet.curve((right + 3, bottom), bend, (right + 3, y), color="red", width=2)
            sheet.text((right + 26, bend[1]), "one", size=12, anchor="start")
            sheet.text((right + 26, bend[1] + 15), "mean", size=12, anchor="start")
    return sheet.finish()


def leave_out() -> Picture:
    """A stream that passes the second of three blocks by."""
    sheet = Drawing(
        "A stream from left to right along three blocks. The first and the third read "
        "from it and add to it; the second is dashed and joined to nothing, and the "
        "stream runs on below it."
    )
    sheet.arrow([(0, 66), (360, 66)], color="blue", width=5)
    for number in range(3):
        left, out = 30 + number * 100, number == 1
        color = "gray" if out else "orange"
        sheet.box(left, 6, 76, 34, f"block {number}", color=color, size=13, dashed=out)
        if not out:
            sheet.arrow([(left + 14, 66), (left + 14, 40)])
            sheet.arrow([(left + 62, 40), (left + 62, 63)])
            sheet.text((left + 46, 51), "+", size=13)
    sheet.box(366, 50, 60, 32, "norm", color="green", size=13)
    return sheet.finish()


def side_by_side(seeds: int, factors: Sequence[str]) -> Picture:
    """Many models in one tensor: an axis of models in front of every weight."""
    count = seeds * len(factors)
    sheet = Drawing(
        f"One weight of {count} models as one tensor: {seeds} seeds, each copied for "
        f"{len(factors)} factors of the loss. Each copy gets its own loss, times its "
        "factor, and the sum of all is differentiated once."
    )
    colors = ("blue", "orange", "green", "purple")
    for model in range(count):
        x = model * 46
        color = colors[model // len(factors) % 4]
        sheet.box(x, 0, 40, 54, "", color=color)
        for line in (18, 36):
            sheet.line([(x, line), (x + 40, line)], color=color)
        sheet.arrow([(x + 20, 54), (x + 20, 78)])
        sheet.text((x + 20, 88), "loss", size=12)
        sheet.text((x + 20, 104), factors[model % len(factors)], size=12)
    for seed in range(seeds):
        left = seed * len(factors) * 46
        right = left + len(factors) * 46 - 6
        sheet.brace((left, -6), (right, -6), f"seed {seed}", below=False)
    sheet.brace((0, 116), (count * 46 - 6, 116), "one sum, one backward pass")
    return sheet.finish()
