"""What drawings are made with: the sheet's shapes, rows of cells, braces, bars."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.picture import Box, Point, Units
from mini_gpt.support.drawings.sheet import Sheet


class Drawing(Sheet):
    """A sheet to draw on. x grows to the right and y downwards, in units of a pixel.

    Shapes are in `Sheet`; here is what is put together from several of them.

    Args:
        alt: What the drawing shows, for those who do not see it.

    Raises:
        ValueError: from `finish`, if the description is shorter than five words or the
            sheet is wider than 480 units; from `box`, if its text does not fit.
    """

    def row(
        self,
        x: Units,
        y: Units,
        texts: Sequence[str],
        *,
        width: Units = 44,
        height: Units = 28,
        gap: Units = 0,
        colors: str | Sequence[str] = "plain",
        size: Units = 14,
        mono: bool = False,
    ) -> list[Box]:
        """Draw cells side by side, and return their boxes.

        Args:
            colors: One color for all, or one for each.
        """
        each = [colors] * len(texts) if isinstance(colors, str) else colors
        return [
            self.box(
                x + place * (width + gap),
                y,
                width,
                height,
                text,
                color=color,
                size=size,
                mono=mono,
                round=2,
            )
            for place, (text, color) in enumerate(zip(texts, each, strict=True))
        ]

    def curve(
        self,
        start: Point,
        bend: Point,
        end: Point,
        *,
        color: str = "gray",
        dashed: bool = False,
        width: Units = 1.5,
    ) -> None:
        """Draw a curve that is pulled towards `bend`, with a head at its end."""
        points = []
        for step in range(13):
            t = step / 12
            parts = (1 - t) ** 2, 2 * t * (1 - t), t**2
            x, y = (
                sum(
                    part * point[axis]
                    for part, point in zip(parts, (start, bend, end), strict=True)
                )
                for axis in (0, 1)
            )
            points.append((x, y))
        self.arrow(points, color=color, dashed=dashed, width=width)

    def brace(
        self,
        start: Point,
        end: Point,
        text: str = "",
        *,
        color: str = "gray",
        below: bool = True,
    ) -> None:
        """Bracket a stretch from left to right (or from top to bottom), and name it.

        Args:
            below: Whether it opens upwards, standing below what it brackets (or, from
                top to bottom, to the right of it).
        """
        (x0, y0), (x1, y1) = start, end
        out = 7 if below else -7
        if y0 == y1:
            corners = [(x0, y0), (x0, y0 + out), (x1, y0 + out), (x1, y0)]
            place, anchor = ((x0 + x1) / 2, y0 + out + (13 if below else -13)), "middle"
        else:
            corners = [(x0, y0), (x0 + out, y0), (x0 + out, y1), (x0, y1)]
            place = x0 + out + (6 if below else -6), (y0 + y1) / 2
            anchor = "start" if below else "end"
        self.line(corners, color=color)
        if text:
            self.text(place, text, size=13, anchor=anchor, color=color)

    def bars(
        self,
        x: Units,
        y: Units,
        values: Sequence[Units],
        labels: Sequence[str] = (),
        *,
        width: Units = 34,
        height: Units = 80,
        gap: Units = 8,
        top: Units | None = None,
        color: str = "blue",
        numbers: str = "{:.2f}",
    ) -> list[Box]:
        """Draw bars on a common ground at `y`, each with its number above.

        Args:
            values: Lengths, none negative.
            labels: Written below the ground.
            height: Height in units of a bar as long as `top`.
            top: The value of a full bar; by default the greatest.
            numbers: Format of the numbers; empty for none.
        """
        if min(values) < 0:
            raise ValueError("bars show no negative values")
        full = max(values) if top is None else top
        boxes = []
        for place, value in enumerate(values):
            tall = height * value / full if full else 0.0
            left = x + place * (width + gap)
            boxes.append(self.box(left, y - tall, width, tall, color=color, round=0))
            middle = left + width / 2
            if numbers:
                self.text((middle, y - tall - 9), numbers.format(value), size=12)
            if labels:
                self.text((middle, y + 11), labels[place], size=12, mono=True)
        right = x + len(values) * (width + gap) - gap
        self.line([(x - 4, y), (right + 4, y)])
        return boxes
