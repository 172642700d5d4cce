"""A model's parts: how they are heard, changed, and left."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Units


def names() -> Picture:
    """One block as a road with two loops, each part under the name it is heard by."""
    sheet = Drawing(
        "One block with the names of its activations. The stream comes in, attention "
        "norm reads it, query, key and value follow, weights and values give mixed, "
        "the output map gives what attention adds to the stream; then the same with "
        "the feed-forward norm, expand, activation and contract."
    )
    sheet.text((60, 8), "the stream", size=13, bold=True)
    start = sheet.box(10, 22, 100, 28, "decoder.input", color="gray", size=12)

    def loop(y: Units, parts: Sequence[tuple[str, str]], height: Units) -> Box:
        """Boxes down a column at the right, from the road and back to it."""
        boxes = [
            sheet.box(190, y + 46 * n, 190, 28, text, color=color, size=12, mono=True)
            for n, (text, color) in enumerate(parts)
        ]
        for above, below in pairwise(boxes):
            sheet.arrow([above.bottom, below.top])
        sheet.arrow([(60, y + 14), (190, y + 14)])
        plus = sheet.circle((60, y + height), 13, "+", color="green")
        last = boxes[-1]
        sheet.arrow([(last.x, y + height), (73, y + height)])
        return plus

    first = loop(
        70,
        [
            ("attention_norm", "plain"),
            ("query  key  value", "orange"),
            ("weights", "orange"),
            ("mixed", "plain"),
            ("output: sum of heads", "blue"),
        ],
        4 * 46 + 14,
    )
    sheet.line([start.bottom, first.top])
    second = loop(
        310,
        [
            ("feed_forward_norm", "plain"),
            ("expand", "plain"),
            ("activation", "plain"),
            ("contract", "blue"),
        ],
        3 * 46 + 14,
    )
    sheet.line([first.bottom, second.top])
    end = sheet.box(0, 500, 120, 28, "decoder.blocks.0", color="gray", size=12)
    sheet.arrow([second.bottom, end.top])
    sheet.brace((384, 116), (384, 190), "follow", color="orange")
    return sheet.finish()


def side_by_side() -> Picture:
    """What a head adds: its own numbers times its own columns of the output map."""
    sheet = Drawing(
        "Four heads stand side by side in mixed. Each meets its own columns of the "
        "output map and gives a vector as wide as the stream; the four vectors and "
        "the bias add up to what attention writes."
    )
    colors = ["blue", "orange", "green", "purple"]
    sheet.text((0, 14), "mixed", size=13, anchor="start")
    sheet.text((0, 66), "output map", size=13, anchor="start")
    sheet.text((0, 120), "heads", size=13, anchor="start")
    ends = []
    for head, color in enumerate(colors):
        x = 100 + 82 * head
        above = sheet.box(x, 0, 70, 28, f"head {head + 1}", color=color, size=13)
        middle = sheet.box(x, 50, 70, 32, "columns", color=color, size=13)
        below = sheet.box(x + 10, 106, 50, 28, "added", color=color, size=12)
        sheet.arrow([above.bottom, middle.top])
        sheet.arrow([middle.bottom, below.top])
        ends.append(below)
    total = sheet.box(135, 172, 250, 28, "sum + bias: what attention writes", size=13)
    for place, box in enumerate(ends):
        start, end = box.bottom, total.x + 50 + 50 * place
        low = start[1] + 14
        sheet.arrow([start, (start[0], low), (end, low), (end, total.y)])
    return sheet.finish()


def hooks() -> Picture:
    """A hook that listens, and one that puts something else in."""
    sheet = Drawing(
        "Two hooks on a part. On the left the output goes on as it is and a copy is "
        "kept. On the right the hook takes the output and returns another, which "
        "goes on in its place."
    )
    for x, title, kept in ((0, "it listens", True), (235, "it changes", False)):
        sheet.text((x + 100, 0), title, size=14, bold=True)
        part = sheet.box(x + 10, 18, 80, 32, "part", color="blue")
        after = sheet.box(x + 10, 132, 80, 32, "next part")
        hook = sheet.box(x + 130, 74, 70, 32, "hook", color="orange")
        if kept:
            sheet.arrow([part.bottom, after.top])
            sheet.arrow([(x + 50, 90), hook.left], color="orange")
            sheet.arrow([hook.bottom, (x + 165, 136)], color="orange")
            sheet.text((x + 165, 148), "a copy", size=13)
        else:
            sheet.arrow([(x + 90, 34), (x + 165, 34), hook.top], color="orange")
            sheet.arrow([hook.bottom, (x + 165, 148), (x + 90, 148)], color="orange")
            sheet.line([(x + 42, 84), (x + 58, 100)], color="gray")
            sheet.line([(x + 58, 84), (x + 42, 100)], color="gray")
    return sheet.finish()


def silenced() -> Picture:
    """One of four heads set to zero before the output map, the others as they were."""
    sheet = Drawing(
        "The heads side by side in mixed, before and after the hook: the fourth is "
        "set to zero, the other three go on to the output map as they were."
    )
    names = ["head 1", "head 2", "head 3", "head 4"]
    sheet.text((0, 14), "mixed", size=13, anchor="start")
    above = sheet.row(80, 0, names, width=76, height=28, size=13, colors="blue")
    hook = sheet.box(200, 52, 64, 28, "hook", color="orange", size=13)
    below = sheet.row(
        80, 104, [*names[:3], "0"], width=76, height=28, size=13,
        colors=["blue", "blue", "blue", "gray"],
    )  # fmt: skip
    sheet.arrow([(232, above[0].y + 28), hook.top], color="orange")
    sheet.arrow([hook.bottom, (232, below[0].y)], color="orange")
    sheet.arrow([(232, 132), (232, 158)])
    sheet.text((232, 168), "to the output map", size=13)
    return sheet.finish()


def left_behind() -> Picture:
    """Three runs on a time line: a hook that stays changes all that follow."""
    sheet = Drawing(
        "A time line of three runs. A hook is hung on before the second run and never "
        "taken off, so the third run is changed as well, although nobody asked for it."
    )
    runs = ("run 1", "run 2", "run 3")
    boxes = sheet.row(
        0, 0, runs, width=110, gap=30, height=34, colors=["blue", "orange", "orange"]
    )
    for before, here in pairwise(boxes):
        sheet.arrow([before.right, here.left])
    for box, text in zip(
        boxes, ("as it is", "changed, as asked", "changed, unasked"), strict=True
    ):
        sheet.text((box.center[0], 48), text, size=12)
    sheet.brace((128, 66), (390, 66), "the hook is on the model", color="orange")
    return sheet.finish()
