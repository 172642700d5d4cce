"""Parts of a text as boxes, colored by what they hold."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Point, text_width

# What a part of a text is, by its first match, and the color of its box.
KINDS = {
    "ending": (r"'\p{L}+", "green"),
    "marks": (r"\p{M}+", "purple"),
    "letters": (r"\s?[\p{L}\p{M}]+", "blue"),
    "digits": (r"\s?\p{N}+", "yellow"),
    "signs": (r"\s?[^\s\p{L}\p{N}]+", "orange"),
    "white space": (r"\s+", "gray"),
}


def kind_of(part: str) -> str:
    whole = (name for name, (form, _) in KINDS.items() if regex.fullmatch(form, part))
    return next(whole, "mixed")


def part_boxes(
    sheet: Drawing, place: Point, parts: Sequence[str], colors: Sequence[str]
) -> list[Box]:
    """Boxes as wide as their texts, side by side."""
    (x, y), boxes = place, []
    for part, color in zip(parts, colors, strict=True):
        width = max(18, text_width(part, 13, mono=True) + 6)
        boxes.append(sheet.box(x, y, width, 26, part, color=color, size=13, mono=True))
        x += width + 3
    return boxes
