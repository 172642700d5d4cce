"""Tokens in a file, and the way from documents to batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.data.style import COLORS
from mini_gpt.support.drawings.picture import Picture, Units


def token_file(tokens: int) -> Picture:
    """A file of tokens as a ruler: a header, then two bytes for each token."""
    sheet = Drawing(
        "A file of tokens as a ruler. Bytes 0 to 63 are the header with the number of "
        "tokens, bytes each, fingerprint and digest; then every token takes two bytes, "
        f"the last one ends at byte {64 + 2 * tokens}. Only the pages that a batch "
        "touches are read."
    )
    sheet.box(0, 0, 112, 34, "header", color="yellow")
    cells = ["t0", "t1", "t2", "t3", "…", f"t{tokens - 1:,}"]
    x: Units = 112
    for cell in cells:
        wide = 96 if len(cell) > 4 else 44
        sheet.box(x, 0, wide, 34, cell, size=12, round=0, mono=True)
        x += wide
    for place, byte in ((0, "0"), (112, "64"), (156, "66"), (200, "68")):
        sheet.line([(place, 34), (place, 42)])
        sheet.text((place, 52), byte, size=12, color="gray")
    sheet.line([(x, 34), (x, 42)])
    sheet.text((x, 52), f"{64 + 2 * tokens:,}", size=12, anchor="end", color="gray")
    names = ("tokens, bytes each", "fingerprint", "SHA-256 of the tokens")
    for number, name in enumerate(names):
        sheet.text((0, 82 + 17 * number), name, size=12, anchor="start")
    sheet.brace(
        (158, -8), (286, -8), "a window, read when it is asked for", below=False
    )
    return sheet.finish()


def shards(rows: Sequence[Sequence[int]], start: int, context_length: int) -> Picture:
    """Files of tokens, the row that they are used as, and a window across a border.

    Args:
        rows: The tokens of each file.
        start: Where the window starts, in the whole row.
        context_length: Its inputs; it takes one token more.
    """
    sizes = [len(row) for row in rows]
    ends = [*accumulate(sizes)]
    stop = start + context_length + 1
    places = "; ".join(
        f"shard {number} holds places {end - size} to {end - 1}"
        for number, (size, end) in enumerate(zip(sizes, ends, strict=True))
    )
    sheet = Drawing(
        f"Shards of {', '.join(map(str, sizes))} tokens as one row: "
        f"{places}. "
        f"A window takes places {start} to {stop - 1}, across a border of two shards."
    )
    cell, gap = 34, 18
    first = gap * (len(rows) - 1) / 2  # where the whole row begins
    left: Units = 0
    whole = first
    for number, (row, color) in enumerate(zip(rows, COLORS, strict=False)):
        words, wide = [*map(str, row)], cell * len(row)
        draw = partial(
            sheet.row, texts=words, width=cell, colors=color, size=13, mono=True
        )
        sheet.text((left + wide / 2, 12), f"shard {number}", size=13, color=color)
        draw(left, 26)
        for edge in (0, wide):
            sheet.line([(left + edge, 56), (whole + edge, 88)], dashed=True)
        for place, box in enumerate(draw(whole, 90)):
            name = str(ends[number] - len(row) + place)
            sheet.text((box.center[0], 130), name, size=11, color="gray")
        left, whole = left + wide + gap, whole + wide
    sheet.brace(
        (first + cell * start, 142),
        (first + cell * stop, 142),
        f"a window: places {start} to {stop - 1}",
    )
    return sheet.finish()


def way_of_the_data() -> Picture:
    """From documents to batches: what the chapter has built, in its order."""
    sheet = Drawing(
        "Documents become a row of tokens; train_val_split cuts it; BatchLoader takes "
        "batches for training from the first part, evaluation_batches windows for "
        "measuring from the second."
    )
    documents = sheet.box(0, 50, 84, 34, "documents", color="gray", size=13)
    tokens = sheet.box(108, 50, 84, 34, "tokens", color="gray", size=13)
    first = sheet.box(216, 14, 92, 34, "training", color="blue", size=13)
    second = sheet.box(216, 86, 92, 34, "validation", color="orange", size=13)
    loader = sheet.box(334, 14, 124, 34, "BatchLoader", color="blue", size=12)
    measure = sheet.box(334, 86, 124, 34, "evaluation_batches", color="orange", size=12)
    sheet.arrow([documents.right, tokens.left])
    sheet.arrow([tokens.right, (204, 67), (204, 31), first.left])
    sheet.arrow([(204, 67), (204, 103), second.left])
    sheet.arrow([first.right, loader.left])
    sheet.arrow([second.right, measure.left])
    sheet.text((204, 136), "train_val_split", size=12, color="green")
    return sheet.finish()
