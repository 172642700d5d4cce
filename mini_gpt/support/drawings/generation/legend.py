"""Names of colors, written below a drawing."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Units


def legend(
    sheet: Drawing, y: Units, entries: Sequence[tuple[str, str]], x: Units = 0
) -> None:
    for color, name in entries:
        sheet.box(x, y - 8, 18, 16, color=color, round=2)
        sheet.text((x + 24, y), name, size=13, anchor="start")
        x += 24 + 7.4 * len(name) + 18
