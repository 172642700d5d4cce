"""Texts that were written, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


def texts(cards: Mapping[str, str], *, columns: int = 2, lines: int = 9) -> Picture:
    """Texts side by side, each under its name, cut to the same number of lines."""
    told = " ".join(f"{name}: {' / '.join(t.split())}" for name, t in cards.items())
    sheet = Drawing(f"Texts side by side. {told[:400].replace(' / ', ' ')}")
    width = (460 - 10 * (columns - 1)) / columns
    fits = int((width - 14) / 6.4)
    for place, (name, text) in enumerate(cards.items()):
        x = place % columns * (width + 10)
        y = place // columns * (lines * 16 + 48)
        sheet.box(x, y, width, lines * 16 + 38, color="plain")
        sheet.text((x + 8, y + 14), name, size=13, anchor="start", bold=True)
        wrapped = [
            part
            for line in text.splitlines()
            for part in textwrap.wrap(line, fits) or [""]
        ]
        for number, line in enumerate(wrapped[:lines]):
            end = " ..." if number == lines - 1 and len(wrapped) > lines else ""
            at = x + 8, y + 36 + number * 16
            sheet.text(at, line[: fits - len(end)] + end, size=12, anchor="start")
    return sheet.finish()
