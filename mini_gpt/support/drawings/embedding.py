"""Drawings of the chapter on the embedding."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Units

CELL, HIGH = 46, 24  # a number's cell in the tables drawn here

Rows = Sequence[Sequence[Units]]


def _numbers(numbers: Sequence[Units]) -> list[str]:
    """One decimal each; what rounds to zero is written without a sign."""
    return [f"{round(number, 1) + 0.0:.1f}" for number in numbers]


def _table(
    sheet: Drawing,
    x: Units,
    y: Units,
    rows: Rows,
    colors: Sequence[str],
    name: str,
    *,
    numbered: bool = False,
) -> list[Box]:
    """A table of numbers with its name above; the boxes of its whole rows."""
    boxes, index = [], 22 * numbered
    for place, (numbers, color) in enumerate(zip(rows, colors, strict=True)):
        down = y + place * (HIGH + 6)
        look = {"width": CELL, "height": HIGH, "size": 13}
        if numbered:
            sheet.box(x, down, index, HIGH, str(place), size=12, color="orange")
        written = _numbers(numbers)
        cells = sheet.row(x + index, down, written, colors=color, **look)  # type: ignore[arg-type]
        boxes.append(Box(x, down, index + CELL * len(cells), HIGH))
    middle = x + index + CELL * len(rows[0]) / 2
    sheet.text((middle, y - 14), name, size=13, bold=True)
    return boxes


def _ids(sheet: Drawing, x: Units, y: Units, ids: Sequence[int]) -> list[Box]:
    """A column of ids, in time order."""
    return [
        sheet.box(x, y + place * (HIGH + 6), 30, HIGH, str(id), color="orange", size=13)
        for place, id in enumerate(ids)
    ]


def letters(alphabet: str, marked: Collection[str]) -> Picture:
    """Letters in the order of their ids, some of them marked."""
    sheet = Drawing(
        f"The letters {alphabet[0]} to {alphabet[-1]} in a row, in the order of their "
        f"ids; marked are {', '.join(marked)}, scattered among the others."
    )
    colors = ["orange" if letter in marked else "plain" for letter in alphabet]
    sheet.row(0, 0, list(alphabet), width=17, height=26, colors=colors, size=13)
    right = 17 * len(alphabet)
    sheet.arrow([(0, 42), (right, 42)])
    sheet.text((right / 2, 56), "the id grows", size=12, color="gray")
    return sheet.finish()


def gather(ids: Sequence[int], table: Rows) -> Picture:
    """A lookup: an arrow from each id to its row, and from the row to the result."""
    sheet = Drawing(
        f"A lookup. The ids {', '.join(map(str, ids))} stand in a column; an arrow "
        "leads from each to its row of the table, and from the row to a copy of it in "
        "the result, in the order of the ids. Rows whose id does not occur have no "
        "arrow."
    )
    used = ["blue" if row in ids else "gray" for row in range(len(table))]
    rows = _table(sheet, 90, 0, table, used, "the table", numbered=True)
    down = (len(table) - len(ids)) * (HIGH + 6) / 2
    places = _ids(sheet, 0, down, ids)
    picked = [table[id] for id in ids]
    wide = CELL * len(table[0])
    result = _table(
        sheet, 112 + wide + 64, down, picked, ["green"] * len(ids), "result"
    )
    sheet.text((15, down - 14), "ids", size=13, bold=True)
    for id, place, out in zip(ids, places, result, strict=True):
        sheet.arrow([place.right, rows[id].left])
        sheet.arrow([rows[id].right, out.left])
    return sheet.finish()


def scatter(ids: Sequence[int], upstream: Rows, gradient: Rows) -> Picture:
    """The way back of a lookup: each vector is added to the row of its token."""
    sheet = Drawing(
        "The gradient of a lookup. What comes back at each position goes along an "
        f"arrow to the row of its token, here {', '.join(map(str, ids))}. Where two "
        "arrows end in one row, their vectors are added; rows where none ends are zero."
    )
    down = (len(gradient) - len(ids)) * (HIGH + 6) / 2
    _ids(sheet, 0, down, ids)
    sheet.text((15, down - 14), "ids", size=13, bold=True)
    sent = ["green"] * len(ids)
    back = _table(sheet, 36, down, upstream, sent, "what comes back")
    hit = ["blue" if row in ids else "gray" for row in range(len(gradient))]
    wide = CELL * len(upstream[0])
    name = "the table's gradient"
    rows = _table(sheet, 36 + wide + 56, 0, gradient, hit, name, numbered=True)
    for id, place in zip(ids, back, strict=True):
        sheet.arrow([place.right, rows[id].left])
    for number, row in enumerate(rows):
        times = list(ids).count(number)
        note = {0: "nothing", 1: "1 vector"}.get(times, f"sum of {times}")
        sheet.text((row.right[0] + 6, row.right[1]), note, size=12, anchor="start")
    return sheet.finish()


def score(vector: Sequence[Units], table: Rows, scores: Sequence[Units]) -> Picture:
    """One vector against every row of the table: a score for each token."""
    best = max(range(len(scores)), key=lambda token: scores[token])
    sheet = Drawing(
        "One vector of the stream is multiplied with every row of the table. Each "
        "product is the score of that row's token: "
        + ", ".join(f"token {token} {value:.1f}" for token, value in enumerate(scores))
        + f". The highest is that of token {best}."
    )
    middle = (len(table) - 1) * (HIGH + 6) / 2
    (stream,) = _table(sheet, 0, middle, [vector], ["purple"], "the stream")
    colors = ["blue"] * len(table)
    rows = _table(sheet, 200, 0, table, colors, "the table", numbered=True)
    for token, (row, value) in enumerate(zip(rows, scores, strict=True)):
        sheet.arrow([stream.right, row.left])
        color = "orange" if token == best else "plain"
        at = row.right[0] + 34, row.y
        (number,) = _numbers([value])
        out = sheet.box(*at, CELL, HIGH, number, color=color, bold=token == best)
        sheet.arrow([row.right, out.left])
    sheet.text((row.right[0] + 57, -14), "logits", size=13, bold=True)
    return sheet.finish()


def tied() -> Picture:
    """The way of ids through one table, the blocks, and the same table again."""
    sheet = Drawing(
        "Ids of shape (B, T) enter the table and become a stream of shape (B, T, D). "
        "It runs through the blocks and enters the same table again, turned round, "
        "which gives logits of shape (B, T, V). Both tables are one parameter."
    )
    ids = sheet.box(0, 0, 64, 40, "ids\n(B, T)", color="orange", size=13)
    read = sheet.box(96, -8, 74, 56, "table\nreads", color="blue", bold=True)
    blocks = sheet.box(214, 0, 70, 40, "blocks", dashed=True)
    head = sheet.box(328, -8, 74, 56, "table\nscores", color="blue", bold=True)
    sheet.arrow([ids.right, read.left])
    sheet.arrow([read.right, blocks.left])
    sheet.arrow([blocks.right, head.left])
    sheet.text((192, 58), "(B, T, D)", size=12)
    sheet.text((306, 58), "(B, T, D)", size=12)
    logits = sheet.box(330, -78, 70, 40, "logits\n(B, T, V)", color="orange", size=13)
    sheet.arrow([head.top, logits.bottom])
    sheet.brace((133, 72), (365, 72), "one parameter, V × D", color="blue")
    return sheet.finish()


def padding(tokens: int, rows: int) -> Picture:
    """A table with rows that belong to no token."""
    spare = rows - tokens
    sheet = Drawing(
        f"A table of {rows} rows: {tokens} belong to tokens, {spare} are padding. "
        "Reading uses the first part only; scores are computed with all rows, and "
        "those of the padding are cut off."
    )
    real = sheet.box(120, 0, 150, 44, f"{tokens} rows of tokens", color="blue")
    empty = sheet.box(120, 44, 150, 88, f"{spare} rows\nof padding", dashed=True)
    sheet.text((0, real.left[1]), "ids read here", size=13, anchor="start")
    sheet.arrow([(88, real.left[1]), real.left])
    kept = sheet.box(326, 0, 126, 44, f"{tokens} logits\npassed on", color="orange")
    cut = sheet.box(326, 44, 126, 88, f"{spare} scores\ncut off", dashed=True)
    sheet.arrow([real.right, kept.left])
    sheet.arrow([empty.right, cut.left], dashed=True)
    sheet.text((300, -14), "scores", size=12, color="gray")
    return sheet.finish()


def bigram_kinds(vocab_size: int, width: int) -> Picture:
    """Three models of pairs: what reads, what stands between, and what scores."""
    kinds = {
        "untied": 2 * vocab_size * width,
        "tied": vocab_size * width,
        "tied, with a map": vocab_size * width + width**2,
    }
    told = "; ".join(f"{name}: {size:,} numbers" for name, size in kinds.items())
    sheet = Drawing(
        "Three models, each from a character to scores. Untied: table A reads, table B "
        "scores. Tied: table A reads and scores. Tied, with a map: table A reads, a "
        f"map follows, and table A scores. {told}."
    )
    for place, (name, size) in enumerate(kinds.items()):
        y = 46 * place
        sheet.text((0, y + 15), name, size=13, anchor="start", bold=True)
        read = sheet.box(136, y, 66, 30, "table A", color="blue", size=13)
        other = "green" if name == "untied" else "blue"
        named = "table B" if name == "untied" else "table A"
        score = sheet.box(296, y, 66, 30, named, color=other, size=13)
        if "map" in name:
            between = sheet.box(225, y, 48, 30, "map", color="orange", size=13)
            sheet.arrow([read.right, between.left])
            sheet.arrow([between.right, score.left])
        else:
            sheet.arrow([read.right, score.left])
        sheet.text((370, y + 15), f"{size:,}", size=13, anchor="start")
    return sheet.finish()


def two_orders(pair: str, product: Units, forward: int, backward: int) -> Picture:
    """Two letters, the one product that scores both orders, and both counts."""
    first, second = pair[0], pair[1]
    sheet = Drawing(
        f"The dot product of row {first} and row {second} is {product:.1f}. It is the "
        f"score of {second} after {first}, which occurs {forward:,} times, and of "
        f"{first} after {second}, which occurs {backward:,} times."
    )
    left = sheet.box(0, 30, 74, 34, f"row {first}", color="blue", bold=True)
    right = sheet.box(186, 30, 74, 34, f"row {second}", color="blue", bold=True)
    middle = sheet.box(102, 30, 56, 34, f"{product:.1f}", color="orange", bold=True)
    sheet.line([left.right, middle.left])
    sheet.line([middle.right, right.left])
    for y, text, times in (
        (0, f"score of {second} after {first}", forward),
        (94, f"score of {first} after {second}", backward),
    ):
        sheet.text((130, y), text, size=13)
        seen = f"in the text: {times:,}"
        sheet.text((290, y), seen, size=13, anchor="start", bold=True)
    sheet.arrow([(130, 30), (130, 10)])
    sheet.arrow([(130, 64), (130, 84)])
    return sheet.finish()


def ways_to_tie() -> Picture:
    """Three ties drawn as memory: one parameter, a copy, two names of one memory."""
    sheet = Drawing(
        "Three ways to tie. First: embedding and head point to one parameter. Second: "
        "each has a parameter of its own, with copied numbers. Third: two parameters "
        "point to one memory."
    )
    for x, name, parameters, memories in (
        (0, "same parameter", 1, 1),
        (160, "copied", 2, 2),
        (320, "shared data", 2, 1),
    ):
        sheet.text((x + 66, -16), name, size=13, bold=True)
        ends = [
            sheet.box(x, 0, 62, 28, "reads", color="orange", size=13),
            sheet.box(x + 70, 0, 62, 28, "scores", color="orange", size=13),
        ]
        layers = []
        for y, count, text in (
            (62, parameters, "parameter"),
            (124, memories, "numbers"),
        ):
            wide = 132 if count == 1 else 62
            size = 13 if count == 1 else 11
            layers.append(
                [
                    sheet.box(
                        x + 70 * place, y, wide, 28, text, color="blue", size=size
                    )
                    for place in range(count)
                ]
            )
        for side, end in enumerate(ends):
            middle, bottom = (each[min(side, len(each) - 1)] for each in layers)
            sheet.arrow([end.bottom, (end.center[0], middle.y)])
            sheet.arrow([(end.center[0], middle.y + 28), (end.center[0], bottom.y)])
    return sheet.finish()


def module() -> Picture:
    """What the reader's own table is asked for: two methods and one parameter."""
    sheet = Drawing(
        "A box named Table with one parameter of V rows, or more with padding, and D "
        "columns. Its forward turns ids (B, T) into vectors (B, T, D); its logits "
        "turns a stream (B, T, D) into scores (B, T, V)."
    )
    sheet.box(130, -6, 190, 104, color="blue")
    sheet.text((225, 46), "weight, one parameter", size=13, bold=True)
    sheet.text((225, 16), "forward", size=13, mono=True)
    sheet.text((225, 78), "logits", size=13, mono=True)
    for y, taken, given in (
        (16, "ids (B, T)", "(B, T, D)"),
        (78, "(B, T, D)", "(B, T, V)"),
    ):
        sheet.text((86, y), taken, size=13, anchor="end")
        sheet.arrow([(92, y), (130, y)])
        sheet.arrow([(320, y), (356, y)])
        sheet.text((362, y), given, size=13, anchor="start")
    return sheet.finish()


def factors(vocab_size: int, narrow: int, width: int) -> Picture:
    """A large table as the product of a narrow table and a map that widens it."""
    sheet = Drawing(
        f"A table of {vocab_size:,} rows and {width} columns beside the product of a "
        f"narrow table of {vocab_size:,} rows and {narrow} columns and a map of "
        f"{narrow} rows and {width} columns."
    )
    sheet.box(0, 0, 130, 150, f"{vocab_size * width:,}\nnumbers", color="gray", size=13)
    sheet.text((65, -14), f"{vocab_size:,} × {width}", size=13)
    sheet.text((154, 75), "=", size=18)
    sheet.box(190, 0, 44, 150, color="blue")
    sheet.text((212, -14), f"{vocab_size:,} × {narrow}", size=13)
    sheet.text((212, 164), f"narrow: {vocab_size * narrow:,}", size=13)
    sheet.text((276, 75), "×", size=18)
    sheet.box(306, 55, 130, 44, f"{narrow * width:,}", color="blue", size=13)
    sheet.text((371, 41), f"widen: {narrow} × {width}", size=13)
    return sheet.finish()
