"""Shares as bars in percent, and laid end to end on a ruler."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Units, visible


def percent(share: float) -> str:
    return "0" if share == 0 else f"{100 * share:.0f}" if share >= 0.005 else "<1"


def percent_bars(
    sheet: Drawing,
    x: Units,
    y: Units,
    names: Sequence[str],
    after: Sequence[float],
    before: Sequence[float] | None,
    *,
    width: Units,
    height: Units,
    full: float,
    gap: Units = 4,
) -> None:
    """Bars on a ground at `y`, each with its percentage; dashes where it was before."""
    for place, (name, share) in enumerate(zip(names, after, strict=True)):
        left, tall = x + place * (width + gap), height * share / full
        if share > 0:
            sheet.box(left, y - tall, width, tall, color="blue", round=0)
        top = tall
        if before is not None:
            was = height * before[place] / full
            outline = [(left, y), (left, y - was), (left + width, y - was)]
            sheet.line([*outline, (left + width, y)], color="red", dashed=True)
            top = max(tall, was)
        middle = left + width / 2
        sheet.text((middle, y - top - 8), percent(share), size=11)
        sheet.text((middle, y + 11), visible(name), size=12)
    sheet.line([(x - 3, y), (x + len(names) * (width + gap) - gap + 3, y)])


def ruler(
    sheet: Drawing,
    x: Units,
    y: Units,
    length: Units,
    names: Sequence[str],
    shares: Sequence[float],
    dart: float,
) -> None:
    """Shares laid end to end, and where the dart hits."""
    at: float = x
    for name, share in zip(names, shares, strict=True):
        if share == 0:
            continue
        hit = at <= x + dart * length < at + share * length
        text = visible(name) if share * length > 8 * len(name) + 4 else ""
        color = "green" if hit else "blue"
        sheet.box(at, y, share * length, 30, text, color=color, size=13, round=0)
        at += share * length
    sheet.arrow([(x + dart * length, y + 62), (x + dart * length, y + 32)])
    sheet.text((x + dart * length + 8, y + 54), f"{dart:g}", size=13, anchor="start")
