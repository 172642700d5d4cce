"""Drawings of the chapter on the model: all of it, and which token is predicted."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units


def whole(batch: int, time: int, vocab_size: int, width: int, layers: int) -> Picture:
    """The way from ids to logits, with the one table that is used twice."""
    stream = f"({batch}, {time}, {width})"
    sheet = Drawing(
        f"The whole model from bottom to top. Ids of shape ({batch}, {time}) pick rows "
        f"of a table of {vocab_size} tokens by {width} features; positions are added; "
        f"the stream {stream} passes {layers} blocks and a normalization; and the same "
        f"table, used once more, turns it into logits ({batch}, {time}, {vocab_size})."
    )
    x = 130
    table = sheet.box(300, 62, 96, 190, "", color="yellow")
    sheet.text((348, 136), "one table", size=13, bold=True)
    sheet.text((348, 154), f"{vocab_size} × {width}", size=13)
    logits = sheet.box(x - 60, 0, 120, 30, "logits", color="gray", bold=True)
    head = sheet.box(x - 60, 62, 120, 32, "compare", color="yellow")
    decoder = sheet.box(x - 60, 128, 120, 44, f"{layers} blocks,\nnorm", color="orange")
    plus = (x, 206)
    lookup = sheet.box(x - 60, 238, 120, 32, "pick rows", color="yellow")
    ids = sheet.box(x - 60, 302, 120, 30, "ids", color="gray", bold=True)
    positions = sheet.box(-48, 190, 92, 32, "positions", color="green")
    sheet.arrow([ids.top, lookup.bottom])
    sheet.arrow([lookup.top, (x, 217)], color="blue", width=4)
    sheet.arrow([positions.right, (119, 206)])
    sheet.arrow([(x, 195), decoder.bottom], color="blue", width=4)
    sheet.circle(plus, 11, "+")
    sheet.arrow([decoder.top, head.bottom], color="blue", width=4)
    sheet.arrow([head.top, logits.bottom])
    sheet.arrow([(table.x, 78), head.right])
    sheet.line([(table.x + 48, 252), (table.x + 48, 254)])
    sheet.arrow([(table.x + 48, 252), (table.x + 48, 262), (190, 262)])
    sheet.text((x + 68, 317), f"({batch}, {time})", size=12, anchor="start")
    sheet.text((x + 18, 206), stream, size=12, anchor="start", color="blue")
    sheet.text((x + 18, 111), stream, size=12, anchor="start", color="blue")
    shape = f"({batch}, {time}, {vocab_size})"
    sheet.text((x + 68, 15), shape, size=12, anchor="start")
    return sheet.finish()


def next_tokens(ids: Sequence[int], given: Sequence[Units]) -> Picture:
    """Which token each position predicts, and the probability that it was given.

    Args:
        ids: One sequence.
        given: What each position but the last gave to the token after it.
    """
    sheet = Drawing(
        f"The ids {list(ids)} in a row. Above each stands what the model gave to the "
        f"token after it: {[round(value, 3) for value in given]}. An arrow leads "
        "from each prediction to the next id; nothing is known to follow the last."
    )
    wide = 82
    boxes = sheet.row(0, 96, [str(token) for token in ids], width=52, gap=wide - 52)
    for place, box in enumerate(boxes):
        last = place == len(ids) - 1
        text = "?" if last else f"p = {given[place]:.3f}"
        x = box.center[0] - 37
        color = "gray" if last else "orange"
        guess = sheet.box(x, 20, 74, 30, text, color=color, size=13)
        sheet.arrow([box.top, guess.bottom], color="gray")
        if not last:
            following = boxes[place + 1]
            sheet.arrow([(x + 66, 50), (following.x + 8, 94)], color="orange", width=2)
    sheet.text((-14, 110), "ids", size=13, anchor="end", color="gray")
    return sheet.finish()


def depths(layers: int) -> Picture:
    """The head applied to the stream before the first block and after each."""
    sheet = Drawing(
        f"A stream from left to right through {layers} blocks. Before the first block "
        "and after each, a copy goes up through the final normalization and the head "
        f"and gives logits: {layers + 1} sets of them."
    )
    y, gap = 120, 420 / (layers + 1)
    sheet.arrow([(0, y), (440, y)], color="blue", width=5)
    for depth in range(layers + 1):
        x = 20 + depth * gap
        sheet.arrow([(x, y), (x, 78)])
        sheet.box(x - 24, 46, 48, 30, "norm", color="green", size=12)
        sheet.arrow([(x, 46), (x, 32)])
        sheet.box(x - 24, 0, 48, 30, "head", color="yellow", size=12)
        if depth < layers:
            left = x + gap / 2 - 24
            sheet.box(left, y - 15, 48, 30, f"block {depth}", color="orange", size=11)
    return sheet.finish()
