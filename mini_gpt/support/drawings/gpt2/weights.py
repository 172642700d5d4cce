"""Names, shapes and orientation of the weights."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, text_width


def turned(inputs: int, outputs: int) -> Picture:
    """One linear map in the orientation of GPT-2's file, and in that of nn.Linear."""
    sheet = Drawing(
        f"A linear map from {inputs} inputs to {outputs} outputs. GPT-2's file holds a "
        f"matrix of {inputs} rows and {outputs} columns, nn.Linear one of {outputs} "
        f"rows and {inputs} columns: the same numbers, turned over the diagonal."
    )
    cell = 34

    def matrix(x: Units, rows: int, columns: int, name: str, flipped: bool) -> None:
        for row in range(rows):
            texts = [
                f"w{column}{row}" if flipped else f"w{row}{column}"
                for column in range(columns)
            ]
            colors = [
                ("blue", "orange", "green")[(row if not flipped else column) % 3]
                for column in range(columns)
            ]
            y = row * cell
            sheet.row(x, y, texts, width=cell, height=cell, colors=colors, size=12)
        middle = x + columns * cell / 2
        sheet.text((middle, -34), name, size=13, bold=True)
        sheet.text((middle, -14), f"{rows} × {columns}", size=12, color="gray")

    matrix(0, inputs, outputs, "GPT-2's file", False)
    right = outputs * cell
    sheet.arrow([(right + 16, cell), (right + 84, cell)], "turned")
    matrix(right + 130, outputs, inputs, "nn.Linear", True)
    sheet.text((right / 2, inputs * cell + 16), "x @ weight", size=12, mono=True)
    below = outputs * cell + 16
    place = right + 130 + inputs * cell / 2
    sheet.text((place, below), "x @ weight.T", size=12, mono=True)
    return sheet.finish()


def names(rows: Sequence[tuple[str, str, str, str]]) -> Picture:
    """What OpenAI, Hugging Face and we call each weight, with its shape."""
    said = "; ".join(" is ".join(row[:3]) for row in rows)
    sheet = Drawing(f"Names in OpenAI's files, in Hugging Face's, and ours: {said}.")
    heads = ("OpenAI", "Hugging Face", "ours")
    for place, (openai, theirs, ours, size) in enumerate(rows):
        y = place * 58
        inside = theirs.startswith("h.")
        color = "orange" if inside else "yellow"
        sheet.box(0, y, 460, 50, "", color=color)
        sheet.text((10, y + 15), openai, size=12, anchor="start", mono=True)
        sheet.text((10, y + 35), theirs, size=12, anchor="start", mono=True)
        sheet.text((450, y + 15), size, size=12, anchor="end", color="gray")
        sheet.text((450, y + 35), ours, size=12, anchor="end", mono=True, bold=True)
    first = f"above: {heads[0]}; below: {heads[1]}"
    sheet.text((10, -14), first, size=12, anchor="start", color="gray")
    sheet.text((450, -14), f"shape; {heads[2]}", size=12, anchor="end", color="gray")
    return sheet.finish()


def name_parts(theirs: Sequence[str], ours: Sequence[str]) -> Picture:
    """A name in its parts, before and after: which of them must be looked up?"""
    sheet = Drawing(
        f"The name {'.'.join(theirs)} in its parts above, and below it the name "
        f"{'.'.join(ours)} in its parts. The layer and the last part are the same."
    )
    for y, parts in ((0, theirs), (84, ours)):
        x: Units = 0
        for part in parts:
            wide = text_width(part, 13, mono=True) + 14
            known = part.isdigit() or part == parts[-1]
            color = "yellow" if known else "blue"
            sheet.box(x, y, wide, 30, part, color=color, size=13, mono=True)
            x += wide + 8
    sheet.arrow([(60, 34), (60, 80)], width=2)
    sheet.text((74, 57), "?", size=15, bold=True)
    return sheet.finish()


def columns_of(heads: int) -> Picture:
    """The columns of c_attn: queries, keys and values, each head beside head."""
    sheet = Drawing(
        f"c_attn has as many rows as the stream is wide. Its columns are three thirds, "
        f"for queries, keys and values; in each third {heads} heads lie side by side."
    )
    wide = 414 / (3 * heads)
    colors = ("blue", "orange", "green")
    for third, name in enumerate(("queries", "keys", "values")):
        left = third * heads * wide
        for head in range(heads):
            text = f"head\n{head}"
            x = left + head * wide
            sheet.box(x, 0, wide, 84, text, color=colors[third], size=12, round=0)
        sheet.brace((left + 3, 92), (left + heads * wide - 3, 92), name)
    sheet.text((-8, 42), "width", size=12, anchor="end", color="gray")
    return sheet.finish()


def zero_bias() -> Picture:
    """A linear map without a bias, and one whose bias is 0: the same output."""
    sheet = Drawing(
        "The same vector goes into two linear maps with the same weight. One has no "
        "bias, the other has a bias of zeros. The outputs are equal."
    )
    given = sheet.box(0, 44, 70, 34, "x", color="blue", bold=True)
    for y, text in ((0, "weight"), (88, "the same weight,\nbias 0, 0, 0, …")):
        part = sheet.box(130, y, 140, 40, text, color="orange", size=13)
        out = sheet.box(330, y, 70, 40, "y", color="green", bold=True)
        sheet.arrow([given.right, (100, 61), (100, y + 20), part.left])
        sheet.arrow([part.right, out.left])
    sheet.text((365, 64), "equal", size=13, color="green")
    return sheet.finish()


def sizes_from(
    vocab_size: int, width: int, context_length: int, layers: int
) -> Picture:
    """What the shapes and names of the tensors tell about a model."""
    rows = (
        ("wte.weight", f"{vocab_size} × {width}", "vocabulary and width"),
        ("wpe.weight", f"{context_length} × {width}", "context"),
        (f"h.{layers - 1}. …", "the last block", f"layers: {layers}"),
        ("heads", "in no tensor", "must be given"),
    )
    said = "; ".join(", ".join(row) for row in rows)
    sheet = Drawing(f"What the tensors of a checkpoint tell: {said}.")
    for place, (name, shape, tells) in enumerate(rows):
        y = place * 42
        known = place < 3
        color = "blue" if known else "gray"
        box = sheet.box(0, y, 110, 32, name, color=color, size=13, mono=known)
        sheet.text((122, y + 16), shape, size=13, anchor="start")
        told = sheet.box(
            270, y, 166, 32, tells, color="green" if known else "red", size=13
        )
        sheet.arrow([(225, y + 16), told.left])
        assert box.width > 0
    return sheet.finish()
