"""Texts that are cut into pretokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, text_width, visible
from mini_gpt.support.drawings.tokenizer.boxes import KINDS, kind_of, part_boxes


def cut_rows(rows: Mapping[str, Sequence[str]]) -> Picture:
    """Texts that were cut into parts: a box for each, colored by what it holds.

    Args:
        rows: For each row its name, and the parts in order.
    """
    shown = {name: [visible(part) for part in parts] for name, parts in rows.items()}
    told = "; ".join(f"{name}: {' | '.join(parts)}" for name, parts in shown.items())
    sheet = Drawing(f"Rows of boxes, each a part of a text that was cut. {told}.")
    kinds = {name: [kind_of(part) for part in parts] for name, parts in rows.items()}
    y = 0
    for name, parts in shown.items():
        sheet.text((0, y + 8), name, size=13, anchor="start", color="gray")
        colors = [KINDS.get(kind, ("", "red"))[1] for kind in kinds[name]]
        part_boxes(sheet, (0, y + 20), parts, colors)
        y += 60
    seen = {kind for row in kinds.values() for kind in row}
    x = 0.0
    for kind in [*(name for name in KINDS if name in seen), "mixed"]:
        if kind in seen:
            color = KINDS.get(kind, ("", "red"))[1]
            sheet.box(x, y + 4, 14, 14, color=color)
            sheet.text((x + 20, y + 11), kind, size=12, anchor="start")
            x += 34 + text_width(kind, 12)
    return sheet.finish()


def counted(pretokens: Sequence[str]) -> Picture:
    """Pretokens in the order of the text, and each distinct one with its count."""
    shown = [visible(part) for part in pretokens]
    counts = Counter(shown)
    told = ", ".join(f"{part} {count} times" for part, count in counts.items())
    sheet = Drawing(f"The pretokens {' | '.join(shown)} are counted: {told}.")
    sheet.text((0, 8), "in the text", size=13, anchor="start", color="gray")
    above = part_boxes(sheet, (84, -5), shown, ["blue"] * len(shown))
    sheet.text((0, 84), "distinct", size=13, anchor="start", color="gray")
    labels = [f"{part} × {count}" for part, count in counts.items()]
    below = part_boxes(sheet, (84, 71), labels, ["green"] * len(labels))
    place = dict(zip(counts, below, strict=True))
    for part, box in zip(shown, above, strict=True):
        sheet.arrow([box.bottom, place[part].top])
    return sheet.finish()


def lengths(tokens: Mapping[str, int]) -> Picture:
    """How many tokens the same text has, for several ways to cut it."""
    told = ", ".join(f"{name} {count:,}" for name, count in tokens.items())
    sheet = Drawing(f"Bars: the number of tokens of the same text, {told}.")
    scale = 200 / max(tokens.values())
    for place, (name, count) in enumerate(tokens.items()):
        y, long = 34 * place, count * scale
        sheet.text((0, y + 12), name, size=13, anchor="start")
        sheet.box(166, y, long, 24, color="blue", round=0)
        sheet.text((172 + long, y + 12), f"{count:,}", size=13, anchor="start")
    return sheet.finish()
