"""Documents side by side in a row, and who may see whom."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.data.style import COLORS
from mini_gpt.support.drawings.picture import Picture, Units, visible


def packed_rows(
    rows: Sequence[Sequence[str]], documents: Sequence[Sequence[int]]
) -> Picture:
    """Rows of tokens, colored by document.

    Args:
        rows: The text of each token; empty where a document ends.
        documents: The number of the document of each.
    """
    told = "; ".join(" ".join(part or "END" for part in row) for row in rows)
    sheet = Drawing(
        f"Rows of tokens, one color for each document, with END marks: {told}. Some "
        "rows hold the end of one document and the beginning of the next."
    )
    widest = max(len(row) for row in rows)
    size: Units = 456 / widest
    for number, (row, owners) in enumerate(zip(rows, documents, strict=True)):
        colors = [
            COLORS[owner % 4] if part else "red"
            for part, owner in zip(row, owners, strict=True)
        ]
        labels = [visible(part)[:5] or "END" for part in row]
        sheet.row(0, 36 * number, labels, width=size, height=28, colors=colors, size=11)
    return sheet.finish()


def who_sees_whom(mask: Sequence[Sequence[int]], labels: Sequence[str]) -> Picture:
    """A mask as a grid: each row is a position, lit where it may look.

    Args:
        mask: 1 where the position of the row may look at that of the column.
        labels: The token of each position; empty where a document ends.
    """
    sheet = Drawing(
        "A grid, one row for each position of a packed row of tokens, lit where it may "
        "look: triangles along the diagonal, one for each document."
    )
    size = 28
    names = [visible(label)[:5] or "END" for label in labels]
    for row, (line, name) in enumerate(zip(mask, names, strict=True)):
        sheet.text((-6, size * (row + 0.5)), name, size=11, anchor="end")
        for column, sees in enumerate(line):
            color = "blue" if sees else "plain"
            sheet.box(size * column, size * row, size, size, color=color, round=0)
    sheet.text((size * len(names) / 2, -12), "positions that it may look at", size=12)
    return sheet.finish()
