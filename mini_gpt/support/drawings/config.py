"""Drawings of the chapter on the machine at a glance and its description."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Units

PARTS = (
    "the same table",
    "normalization",
    "feed-forward",
    "attention",
    "positions",
    "table",
)


def whole(shapes: Sequence[str], notes: Sequence[str], title: str) -> Picture:
    """The whole model, from ids at the bottom to logits at the top.

    Args:
        shapes: Written at the left of the ids, the stream below and above the blocks,
            and the logits.
        notes: Written into the parts, from the top: the head, the normalization,
            feed-forward, attention, positions and the table.
        title: What the notes and shapes are, for the description.
    """
    said = ", ".join(f"{p}: {note}" for p, note in zip(PARTS, notes, strict=True))
    sheet = Drawing(
        "The whole model from bottom to top. Ids enter a table that gives each a "
        "vector; a vector for each position is added; L blocks stand beside the "
        "stream, each with attention and feed-forward, which read it and add to it; "
        "after a normalization the same table gives logits. "
        f"{title}: {said}; shapes {', '.join(shapes)}."
    )
    x = 186

    def part(place: int, left: Units, y: Units, color: str) -> Box:
        text = f"{PARTS[place]}\n{notes[place]}"
        return sheet.box(left, y, 160, 42, text, color=color, size=12)

    sheet.box(x - 42, 138, 312, 210, color="gray", dashed=True)
    head = part(0, x - 80, 22, "green")
    norm = part(1, x - 80, 86, "plain")
    ends = {"feed-forward": 156, "attention": 252}
    for place, (name, y) in enumerate(ends.items(), start=2):
        box = part(place, x + 100, y, "purple" if name == "feed-forward" else "red")
        sheet.arrow([(x, y + 62), (x + 180, y + 62), box.bottom])
        sheet.arrow([box.left, (x + 11, y + 21)])
    position = part(4, x + 100, 364, "orange")
    sheet.arrow([position.left, (x + 11, 385)])
    table = part(5, x - 80, 420, "green")
    sheet.arrow([(x, 492), table.bottom])
    sheet.arrow([table.top, (x, 396)])
    marks = 385, 273, 177
    for low, high in zip(marks, [*marks[1:], 140], strict=True):
        sheet.arrow(
            [(x, low - 11), (x, high + (11 if high in marks else -10))], width=3
        )
    for y in marks:
        sheet.circle((x, y), 10, "+")
    sheet.arrow([norm.top, head.bottom])
    sheet.arrow([head.top, (x, 8)])
    sheet.text((x, -4), "logits", bold=True)
    sheet.text((x, 504), "ids", bold=True)
    sheet.text((x + 14, 329), "residual stream", size=12, anchor="start", color="gray")
    sheet.text((x + 262, 336), "block, L times", size=12, anchor="end", color="gray")
    for shape, y in zip(shapes, (504, 360, 128 + 8, -4), strict=True):
        sheet.text((x - 84, y), shape, size=13, anchor="end", mono=True)
    return sheet.finish()


def shapes(sizes: Sequence[tuple[str, tuple[int, ...]]]) -> Picture:
    """Tensors of two or three axes as sheets of cells, one after the other."""
    sheet = Drawing(
        "Tensors on their way through the dummy, as sheets of cells, one for each "
        "sequence: "
        + "; ".join(f"{name} of shape {shape}" for name, shape in sizes)
        + "."
    )
    cell, left = 9, 0.0
    for place, (name, shape) in enumerate(sizes):
        batch, time = shape[:2]
        deep = shape[2] if shape[2:] else 1
        color = ("plain", "blue", "green")[place % 3]
        for row in range(batch):
            for step in range(time):
                y = row * (time * cell + 12) + step * cell
                sheet.row(
                    left, y, [""] * deep, width=cell, height=cell, colors=color, size=11
                )
        wide = max(deep * cell, 6.5 * len(name))
        high = batch * (time * cell + 12)
        sheet.text((left, -12), name, size=12, anchor="start")
        text = " × ".join(map(str, shape))
        sheet.text((left, high + 6), text, size=12, anchor="start", mono=True)
        right = left + wide + 10
        if place + 1 < len(sizes):
            sheet.arrow([(right, high / 2 - 6), (right + 26, high / 2 - 6)])
        left = right + 36
    return sheet.finish()


def reach(tables: Sequence[tuple[str, Sequence[Sequence[bool]]]]) -> Picture:
    """Which position's token changes the logits of which position."""
    sheet = Drawing(
        "Tables of positions: a row for the position whose token is exchanged, and a "
        "column for each position whose logits may change; colored where they do. "
        + "; ".join(
            f"{name}: "
            + ", ".join(
                f"{row} changes {[k for k, on in enumerate(line) if on]}"
                for row, line in enumerate(lines)
            )
            for name, lines in tables
        )
    )
    for number, (name, lines) in enumerate(tables):
        left = 40 + 230 * number
        sheet.text((left + 75, -40), name, bold=True)
        for row, line in enumerate(lines):
            sheet.text((left - 10, 30 * row + 15), str(row), size=12, anchor="end")
            sheet.text((left + 30 * row + 15, -12), str(row), size=12)
            colors = ["orange" if on else "plain" for on in line]
            marks = ["●" if on else "" for on in line]
            sheet.row(left, 30 * row, marks, width=30, height=30, colors=colors)
        sheet.text((left + 75, 166), "logits at position →", size=12, color="gray")
    sheet.text((0, -12), "token", size=12, color="gray")
    return sheet.finish()


def handed(knobs: Sequence[str]) -> Picture:
    """Sizes passed on one by one, against one description that is handed over whole."""
    sheet = Drawing(
        "Two ways from the model through stack and block to the part. On the left "
        f"every level names every size: {', '.join(knobs)}. On the right all levels "
        "pass on one description, and the part takes what it needs."
    )
    for left, words, color in (
        (0, ", ".join(knobs), "plain"),
        (246, "config", "orange"),
    ):
        boxes = []
        for row, level in enumerate(("model", "stack", "block", "part")):
            y = 62 * row
            boxes.append(sheet.box(left + 60, y, 90, 30, level, color=color))
        for upper, lower in pairwise(boxes):
            sheet.arrow([upper.bottom, lower.top], color="gray")
            middle = upper.bottom[1] + 15
            sheet.text((upper.bottom[0] + 8, middle), words, size=11, anchor="start")
    sheet.text((105, -18), "one by one", bold=True)
    sheet.text((351, -18), "handed over whole", bold=True)
    sheet.text((351, 230), "takes what it needs", size=12, color="gray")
    return sheet.finish()


def heads(models: Sequence[tuple[str, int, int]]) -> Picture:
    """Widths cut into heads of equal width.

    Args:
        models: For each: its name, its heads and its width.
    """
    sheet = Drawing(
        "Bars as long as the width of each model, cut into its heads: "
        + ", ".join(f"{name} {count} heads in {width}" for name, count, width in models)
    )
    scale = 340 / max(width for _, _, width in models)
    for row, (name, count, width) in enumerate(models):
        y, cell = 44 * row, scale * width / count
        sheet.row(0, y, [""] * count, width=cell, height=20, colors="blue")
        sheet.text((scale * width + 8, y + 10), f"{count}", anchor="start", bold=True)
        sheet.text((0, y - 10), f"{name}, width {width}", size=12, anchor="start")
    return sheet.finish()


def copies(rows: Sequence[tuple[str, int, int]], scale: Units = 2) -> Picture:
    """The hidden width of a description, and of its copy with another width."""
    sheet = Drawing(
        "Bars of the hidden width: "
        + ", ".join(
            f"{name}: {hidden} at width {width}" for name, width, hidden in rows
        )
    )
    for row, (name, width, hidden) in enumerate(rows):
        y = 34 * row
        sheet.text((-8, y + 12), f"{name}, width {width}", size=13, anchor="end")
        color = "blue" if hidden == 4 * width else "red"
        sheet.box(0, y, scale * hidden, 24, str(hidden), color=color, round=0)
    return sheet.finish()


def replaced(weights: Sequence[Sequence[float]]) -> Picture:
    """What the last position's vector is made of, after 0, 1, 2 ... blocks."""
    sheet = Drawing(
        "Rows of shares, one row after each block that replaces the stream: how much "
        "the vector at the last position still holds of each position's vector. "
        + "; ".join(
            f"after {row} blocks " + ", ".join(f"{share:.2f}" for share in line)
            for row, line in enumerate(weights)
        )
    )
    for row, line in enumerate(weights):
        y, x = 40 * row, 90.0
        sheet.text((80, y + 13), f"{row} blocks", size=13, anchor="end")
        for place, share in enumerate(line):
            wide = 340 * share
            color = "orange" if place == len(line) - 1 else ("plain", "blue")[place % 2]
            label = f"{share:.2f}" if wide > 32 else ""
            if wide:
                sheet.box(x, y, wide, 26, label, color=color, size=12, round=0)
            x += wide
    sheet.text((90, 40 * len(weights)), "of position 0 ...", size=12, anchor="start")
    last = f"... of position {len(weights[0]) - 1}"
    sheet.text((430, 40 * len(weights)), last, size=12, anchor="end", color="orange")
    return sheet.finish()


def misfit(width: int, heads: int) -> Picture:
    """A width cut into heads as far as it goes, and what is left over."""
    each = width // heads
    left = width - each * heads
    sheet = Drawing(
        f"A row of {width} cells cut into {heads} heads of {each}; {left} cells are "
        "left over and belong to no head."
    )
    for head in range(heads):
        colors = ("blue", "green")[head % 2]
        x = head * (each * 28 + 8)
        sheet.row(x, 0, [""] * each, width=28, height=28, colors=colors)
        sheet.text((x + each * 14, 42), f"head {head}", size=12)
    x = heads * (each * 28 + 8)
    if left:
        sheet.row(x, 0, ["?"] * left, width=28, height=28, colors="red")
        sheet.text((x + left * 14, 42), "whose?", size=12, color="red")
    return sheet.finish()


def predictions(ids: Sequence[int]) -> Picture:
    """Each position's logits are about the token at the next; the last is unknown."""
    sheet = Drawing(
        "A row of ids "
        + ", ".join(map(str, ids))
        + ". From each position an arrow leads to the token after it, which it is to "
        "predict; from the last one to a question mark."
    )
    names = [str(id) for id in ids]
    given = sheet.row(0, 0, names, width=46, gap=14, colors="blue")
    wanted = sheet.row(0, 62, [*names[1:], "?"], width=46, gap=14, colors="orange")
    for above, below in zip(given, wanted, strict=True):
        sheet.arrow([above.bottom, below.top])
    sheet.text((-12, 14), "id", anchor="end")
    sheet.text((-12, 76), "to predict", anchor="end")
    return sheet.finish()
