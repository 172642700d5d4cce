"""Training apart from validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


def two_cuts(
    lengths: Sequence[int], inside: int, between: int | None = None
) -> Picture:
    """Documents in a row, cut where a share says, and cut between two of them.

    Args:
        lengths: Of the documents, the last ones of the corpus.
        inside: Where the first cut falls, counted from the first of these.
        between: Where the second falls; None: only the first is drawn.
    """
    total = sum(lengths)
    below = "" if between is None else "; below, it falls between two"
    sheet = Drawing(
        f"The last {len(lengths)} documents of the corpus in a row. The cut between "
        f"training and validation falls inside a document{below}."
    )
    scale = 440 / total
    rows = [(0, inside, "one cut")]
    if between is not None:
        rows.append((84, between, "between documents"))
    for y, cut, name in rows:
        sheet.text((0, y), name, size=13, anchor="start")
        left = 0
        for length in lengths:
            parts = [(left, min(cut, left + length)), (max(cut, left), left + length)]
            for (start, end), color in zip(parts, ("blue", "orange"), strict=True):
                if end > start:
                    wide = (end - start) * scale
                    sheet.box(start * scale, y + 14, wide, 26, color=color, round=0)
            left += length
        sheet.line([(cut * scale, y + 8), (cut * scale, y + 48)], color="red")
        sheet.text((cut * scale - 6, y + 54), "training", size=12, anchor="end")
        sheet.text((cut * scale + 6, y + 54), "validation", size=12, anchor="start")
    return sheet.finish()


def shares(values: Mapping[str, float]) -> Picture:
    """Shares between 0 and 1 as bars."""
    told = ", ".join(f"{name} {share:.1%}" for name, share in values.items())
    sheet = Drawing(f"Bars, the share of right answers of a table: {told}.")
    for place, (name, share) in enumerate(values.items()):
        y, long = 36 * place, max(1.0, 180 * share)
        sheet.text((0, y + 12), name, size=13, anchor="start")
        sheet.box(200, y, 180, 24, color="gray", dashed=True, round=0)
        sheet.box(200, y, long, 24, color="blue", round=0)
        sheet.text((390, y + 12), f"{share:.1%}", size=13, anchor="start")
    return sheet.finish()


def met_in_training(one_cut: Mapping[str, int], strict: Mapping[str, int]) -> Picture:
    """How often names stand in the training part, for two splits."""
    told = ", ".join(f"{name} {one_cut[name]} and {strict[name]}" for name in one_cut)
    sheet = Drawing(
        "Pairs of bars: how often a name stands in the training part with one cut, and "
        f"with a cut between documents: {told}."
    )
    scale = 220 / max(one_cut.values())
    for place, name in enumerate(one_cut):
        y = 62 * place
        sheet.text((0, y + 24), name, size=13, anchor="start", mono=True)
        for down, count, color in (
            (0, one_cut[name], "blue"),
            (25, strict[name], "green"),
        ):
            long = max(1.0, count * scale)
            sheet.box(84, y + down, long, 22, color=color, round=0)
            sheet.text((92 + long, y + down + 11), str(count), size=13, anchor="start")
    y = 62 * len(one_cut)
    for x, words, color in (
        (84, "one cut", "blue"),
        (180, "between documents", "green"),
    ):
        sheet.box(x, y, 14, 14, color=color)
        sheet.text((x + 20, y + 7), words, size=12, anchor="start")
    return sheet.finish()
