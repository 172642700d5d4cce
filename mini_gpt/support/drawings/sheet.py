"""The sheet that drawings are drawn on, and the shapes that it writes as SVG.

A drawing is SVG, made of text and a few shapes. It measures itself, so nothing is cut
off, and it refuses what a phone could not show: a sheet that is too wide, a text that
does not fit its box, a missing description. In the book's pages the colors follow the
light and the dark mode (`book/_static/book.css` sets them by class); anywhere else the
colors written here hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from mini_gpt.support.drawings.picture import (
    FILLS,
    LINES,
    Box,
    Picture,
    Point,
    Units,
    text_width,
    typeface,
)
from mini_gpt.support.figures import PAPER

WIDEST = 480  # units; a phone shows them on some 340 pixels
MARGIN = 10


class Sheet:
    """A sheet, with the shapes that all that is drawn is made of.

    x grows to the right and y downwards, in units of a pixel.

    Args:
        alt: What the drawing shows, for those who do not see it.

    Raises:
        ValueError: from `finish`, if the description is shorter than five words or the
            sheet is wider than 480 units; from `box`, if its text does not fit.
    """

    def __init__(self, alt: str) -> None:
        if len(alt.split()) < 5:
            raise ValueError(f"describe the drawing in a sentence, not as {alt!r}")
        self.alt = " ".join(alt.split())
        self._shapes: list[str] = []
        self._spread = [math.inf, math.inf, -math.inf, -math.inf]

    def _cover(self, *points: Point) -> None:
        left, top, right, bottom = self._spread
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self._spread = [
            min(left, *xs),
            min(top, *ys),
            max(right, *xs),
            max(bottom, *ys),
        ]

    def text(
        self,
        place: Point,
        text: str,
        *,
        size: Units = 14,
        anchor: str = "middle",
        color: str = "plain",
        mono: bool = False,
        bold: bool = False,
    ) -> None:
        """Write one line, centered on its place in height.

        Args:
            size: At least 11 units, below which a phone cannot show it.
            anchor: What of the text stands at the place: "start", "middle" or "end".
        """
        if size < 11:
            raise ValueError(f"text of {size} units cannot be read on a phone; use 11")
        x, y = place
        wide = text_width(text, size, mono=mono)
        left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        self._cover((left, y - size * 0.6), (left + wide, y + size * 0.6))
        face = typeface(text, mono=mono)
        weight = ' font-weight="700"' if bold else ""
        self._shapes.append(
            f'<text class="ink-{color}" x="{x:g}" y="{y + size * 0.35:g}" '
            f'fill="{LINES[color]}" font-family="{face}" font-size="{size:g}"{weight} '
            f'text-anchor="{anchor}" xml:space="preserve">{escape(text)}</text>'
        )

    def box(
        self,
        x: Units,
        y: Units,
        width: Units,
        height: Units,
        text: str = "",
        *,
        color: str = "plain",
        size: Units = 14,
        mono: bool = False,
        bold: bool = False,
        dashed: bool = False,
        round: Units = 4,
    ) -> Box:
        """Draw a rectangle with a text in its middle; lines are parted by a newline."""
        lines = text.split("\n") if text else []
        for line in lines:
            if text_width(line, size, mono=mono) > width:
                raise ValueError(f"{line!r} does not fit a box {width:g} units wide")
        if len(lines) * size * 1.2 > height:
            raise ValueError(f"{text!r} does not fit a box {height:g} units high")
        self._cover((x, y), (x + width, y + height))
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self._shapes.append(
            f'<rect class="fill-{color} line-{color}" x="{x:g}" y="{y:g}" '
            f'width="{width:g}" height="{height:g}" rx="{round:g}" '
            f'fill="{FILLS[color]}" stroke="{LINES[color]}"{dash}/>'
        )
        box = Box(x, y, width, height)
        for number, line in enumerate(lines):
            down = (number - (len(lines) - 1) / 2) * size * 1.2
            middle = box.center[0], box.center[1] + down
            self.text(middle, line, size=size, mono=mono, bold=bold)
        return box

    def line(
        self, points: Sequence[Point], *, color: str = "gray", dashed: bool = False
    ) -> None:
        """Draw a line through some points, without a head."""
        self._path(points, color, dashed, width=1.5)

    def arrow(
        self,
        points: Sequence[Point],
        label: str = "",
        *,
        color: str = "gray",
        dashed: bool = False,
        width: Units = 1.5,
    ) -> None:
        """Draw an arrow through some points; its head is at the last of them.

        Args:
            label: Written beside the middle of its first stretch.
            width: Thickness of the line, in units; thicker can mean more.
        """
        *_, (before_x, before_y), (x, y) = points
        length = math.hypot(x - before_x, y - before_y)
        if length == 0:
            raise ValueError("an arrow ends where its last stretch begins")
        along_x, along_y = (x - before_x) / length, (y - before_y) / length
        back, side = 7 + width, 3 + width  # the head, for this thickness
        base = x - back * along_x, y - back * along_y
        self._path([*points[:-1], base], color, dashed, width)
        corners = [
            (x, y),
            (base[0] - side * along_y, base[1] + side * along_x),
            (base[0] + side * along_y, base[1] - side * along_x),
        ]
        self._cover(*corners)
        written = " ".join(f"{cx:.1f},{cy:.1f}" for cx, cy in corners)
        self._shapes.append(
            f'<polygon class="ink-{color}" points="{written}" fill="{LINES[color]}"/>'
        )
        if label:
            (x0, y0), (x1, y1) = points[0], points[1]
            upright = abs(y1 - y0) > abs(x1 - x0)
            middle = (x0 + x1) / 2 + 6 * upright, (y0 + y1) / 2 - 9 * (not upright)
            anchor = "start" if upright else "middle"
            self.text(middle, label, size=12, anchor=anchor, color=color)

    def _path(
        self, points: Sequence[Point], color: str, dashed: bool, width: Units
    ) -> None:
        self._cover(*points)
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        written = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(
            f'<polyline class="line-{color}" points="{written}" fill="none" '
            f'stroke="{LINES[color]}" stroke-width="{width:g}"{dash}/>'
        )

    def circle(
        self, center: Point, radius: Units, text: str = "", *, color: str = "plain"
    ) -> Box:
        """Draw a circle, as for an addition, and return the box around it."""
        x, y = center
        self._cover((x - radius, y - radius), (x + radius, y + radius))
        self._shapes.append(
            f'<circle class="fill-{color} line-{color}" cx="{x:g}" cy="{y:g}" '
            f'r="{radius:g}" fill="{FILLS[color]}" stroke="{LINES[color]}"/>'
        )
        if text:
            self.text(center, text)
        return Box(x - radius, y - radius, 2 * radius, 2 * radius)

    def finish(self) -> Picture:
        """The drawing on a sheet just large enough.

        Raises:
            ValueError: if nothing was drawn, or it is wider than a phone can show.
        """
        left, top, right, bottom = self._spread
        if not self._shapes:
            raise ValueError("nothing was drawn")
        width, height = right - left + 2 * MARGIN, bottom - top + 2 * MARGIN
        if width > WIDEST:
            raise ValueError(
                f"a drawing {width:.0f} units wide cannot be read on a phone; "
                f"stay within {WIDEST}"
            )
        x, y = left - MARGIN, top - MARGIN
        view = f"{x:.0f} {y:.0f} {width:.0f} {height:.0f}"
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" '
            f'width="{width:.0f}" height="{height:.0f}" role="img" '
            f"aria-label={quoteattr(self.alt)}><title>{escape(self.alt)}</title>"
            f'<rect class="paper" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" rx="8" fill="{PAPER}"/>'
            f"{''.join(self._shapes)}</svg>"
        )
        return Picture(svg, self.alt)
