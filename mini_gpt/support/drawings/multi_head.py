"""Drawings of the chapter on multi-head attention."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units

COLORS = ("blue", "green", "purple", "orange", "yellow", "red")


def split_attend_merge(time: int, heads: int, head_width: int) -> Picture:
    """One sequence: its features cut into heads, and put side by side again."""
    width = heads * head_width
    sheet = Drawing(
        f"One sequence of {time} positions with {width} features each. The features "
        f"are cut into {heads} parts of {head_width}; each part keeps all {time} "
        "positions and is attended to by its own head; then the parts stand side by "
        "side again."
    )
    cell, apart = 15, 30
    whole = width * cell
    parts = whole + (heads - 1) * apart
    left = (parts - whole) / 2

    def grid(x: Units, y: Units, columns: int, color: str) -> None:
        for row in range(time):
            sheet.row(
                x, y + row * cell, [""] * columns, width=cell, height=cell, colors=color
            )

    for y, text in (
        (0, f"(2, {time}, {width})"),
        (300, f"(2, {time}, {width}) again"),
    ):
        sheet.text((parts / 2, y - 12), text, size=13, bold=True)
        for head in range(heads):
            grid(left + head * head_width * cell, y, head_width, COLORS[head])
    middle = 150
    shape = f"(2, {heads}, {time}, {head_width})"
    sheet.text((parts + 14, middle + 37), shape, size=13, anchor="start", bold=True)
    for head in range(heads):
        x = head * (head_width * cell + apart)
        grid(x, middle, head_width, COLORS[head])
        center = x + head_width * cell / 2
        start = left + (head + 0.5) * head_width * cell
        sheet.arrow([(start, time * cell + 4), (center, middle - 28)])
        sheet.text((center, middle - 16), f"head {head}", size=13)
        sheet.text((center, middle + time * cell + 14), "attends", size=12)
        low = middle + time * cell + 24
        sheet.arrow([(center, low), (start, 280)])
    sheet.text((parts + 14, 100), "split", size=13, anchor="start")
    sheet.text((parts + 14, 264), "merge", size=13, anchor="start")
    return sheet.finish()


def sum_of_heads(heads: int) -> Picture:
    """The output projection as a sum of what each head writes by its own columns."""
    sheet = Drawing(
        f"What {heads} heads found, side by side, meets the columns of the output map. "
        "Each head has columns of its own; the results are added, so the output is the "
        "sum of what each head writes."
    )
    step = 130
    center = (heads * step - 20) / 2
    total = sheet.circle((center, 150), 15, "+", color="orange")
    for head in range(heads):
        color = COLORS[head]
        found = sheet.box(
            head * step, 0, 110, 30, f"head {head}: 4", color=color, size=13
        )
        columns = sheet.box(
            head * step, 60, 110, 40, f"columns {4 * head}–{4 * head + 3}\nof the map",
            color=color, size=13,
        )  # fmt: skip
        sheet.arrow([found.bottom, columns.top])
        end = center + (head - (heads - 1) / 2) * 14, 137 + 2 * abs(head - 1)
        sheet.arrow([columns.bottom, end], "12" if head == 0 else "")
    written = sheet.box(
        center - 85, 196, 170, 30, "written: 12", color="orange", size=13
    )
    sheet.arrow([total.bottom, written.top])
    return sheet.finish()


def module() -> Picture:
    """The way through the module, with the shape at every step."""
    sheet = Drawing(
        "The module from top to bottom: a stream of shape 2, 5, 12; one linear map to "
        "2, 5, 36; cut into queries, keys and values of 2, 3, 5, 4 each; attention of "
        "every head; 2, 3, 5, 4 put side by side to 2, 5, 12; the output map; 2, 5, 12."
    )
    steps = [
        ("stream", "(2, 5, 12)", "plain"),
        ("query_key_value: one linear map", "(2, 5, 36)", "yellow"),
        ("cut into query, key, value and heads", "3 × (2, 3, 5, 4)", "blue"),
        ("causal_attention, each head by itself", "(2, 3, 5, 4)", "orange"),
        ("heads side by side", "(2, 5, 12)", "blue"),
        ("output: one linear map", "(2, 5, 12)", "yellow"),
    ]
    previous = None
    for place, (name, shape, color) in enumerate(steps):
        box = sheet.box(0, place * 50, 290, 30, name, color=color, size=13)
        sheet.text((304, box.center[1]), shape, size=13, anchor="start", mono=True)
        if previous is not None:
            sheet.arrow([previous.bottom, box.top])
        previous = box
    return sheet.finish()


def rows(parts: Sequence[tuple[str, int]], head_width: int) -> Picture:
    """The rows of the joint map from top to bottom: what they make, for which head."""
    told = ", ".join(
        f"from row {place * head_width} the {kind} of head {head}"
        for place, (kind, head) in enumerate(parts)
    )
    sheet = Drawing(f"The rows of the joint map, from top to bottom: {told}.")
    colors = {"query": "blue", "key": "green", "value": "purple"}
    for place, (kind, head) in enumerate(parts):
        y = place * 26
        first = place * head_width
        sheet.box(90, y, 170, 26, f"{kind}, head {head}", color=colors[kind], size=13)
        text = f"rows {first}–{first + head_width - 1}"
        sheet.text((80, y + 13), text, size=12, anchor="end", color="gray")
    return sheet.finish()


def groups(heads: int, kv_heads: int) -> Picture:
    """Which heads of queries use which head of keys and values."""
    each = heads // kv_heads
    told = "; ".join(
        f"key and value head {one} serves query heads {one * each} to "
        f"{(one + 1) * each - 1}"
        for one in range(kv_heads)
    )
    sheet = Drawing(f"Shared heads: {told}.")
    above = sheet.row(
        0, 0, [f"query {n}" for n in range(heads)], width=66, gap=8, height=30, size=13,
        colors=["blue" if n // each % 2 == 0 else "orange" for n in range(heads)],
    )  # fmt: skip
    for one in range(kv_heads):
        group = above[one * each : (one + 1) * each]
        middle = (group[0].x + group[-1].x + 66) / 2
        color = "blue" if one % 2 == 0 else "orange"
        box = sheet.box(
            middle - 65, 80, 130, 30, f"key, value {one}", color=color, size=13
        )
        for place, query in enumerate(group):
            end = middle + (place - (each - 1) / 2) * 30, box.y
            sheet.arrow([query.bottom, end], color=color)
    return sheet.finish()


def backwards(digits: Sequence[int]) -> Picture:
    """The task: some digits, then the same in reverse order, each to be found again."""
    count = len(digits)
    sheet = Drawing(
        f"The start, the digits {' '.join(map(str, digits))}, and the same digits in "
        "reverse order. A curve leads from each digit to the position that has to name "
        "it as the next one."
    )
    texts = ["S", *map(str, digits), *map(str, reversed(digits))]
    wide = 33
    colors = ["gray"] + ["blue"] * count + ["orange"] * count
    boxes = sheet.row(0, 0, texts, width=wide, height=30, gap=2, colors=colors, size=14)
    for place in range(count, 2 * count):
        source = boxes[2 * count - place]
        reader = boxes[place]
        sheet.text((reader.center[0], 40), str(place), size=12, color="gray")
        if place == count:
            continue
        bend = (source.center[0] + reader.center[0]) / 2, -14 - 26 * (place - count)
        sheet.curve(source.top, bend, reader.top, color="blue")
    for place in range(count):
        sheet.text((boxes[place].center[0], 40), str(place), size=12, color="gray")
    return sheet.finish()
