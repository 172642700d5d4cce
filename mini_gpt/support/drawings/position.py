"""Drawings of the chapter on positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Point, Units


def binary(digits: int) -> Picture:
    """The first positions in binary: a column each, a row for each digit."""
    count = 2**digits
    sheet = Drawing(
        f"The numbers 0 to {count - 1} in binary, a column each. The lowest row of "
        "digits changes at each step, the one above at every second step, and so on: "
        "each row is a wave half as fast as the one below it."
    )
    sheet.text((84, 12), "position", size=13, anchor="end")
    sheet.row(92, 0, [str(number) for number in range(count)], width=40, height=24)
    for row in range(digits):
        bit = digits - 1 - row
        y = 34 + 28 * row
        values = [number >> bit & 1 for number in range(count)]
        colors = ["orange" if value else "plain" for value in values]
        texts = [str(value) for value in values]
        sheet.row(92, y, texts, width=40, height=24, colors=colors)
        every = {0: "every step", 1: "every 2 steps"}.get(bit, f"every {2**bit} steps")
        sheet.text((84, y + 12), every, size=12, anchor="end", color="gray")
    return sheet.finish()


def layout(width: int) -> Picture:
    """One row of the sinusoidal table: which dimension holds what."""
    sheet = Drawing(
        f"A row of {width} dimensions. Even ones hold a sine and odd ones a cosine; "
        "dimensions 2i and 2i+1 are pair i and share a frequency, which falls from "
        "left to right."
    )
    cell = min(44, 440 / width)
    names = ["sin" if dimension % 2 == 0 else "cos" for dimension in range(width)]
    colors = ["blue" if name == "sin" else "green" for name in names]
    boxes = sheet.row(0, 0, names, width=cell, colors=colors, size=13)
    for dimension, box in enumerate(boxes):
        sheet.text((box.center[0], -10), str(dimension), size=12, color="gray")
    for pair in range(width // 2):
        left, right = boxes[2 * pair], boxes[2 * pair + 1]
        ends = (left.x + 4, 34), (right.x + cell - 4, 34)
        sheet.brace(*ends, f"pair {pair}")
    sheet.arrow([(0, 76), (cell * width, 76)])
    sheet.text((cell * width / 2, 90), "slower and slower", size=12, color="gray")
    return sheet.finish()


def _hand(sheet: Drawing, center: Point, radius: Units, angle: float) -> None:
    """A clock with one hand; angles grow against the clock, from the right."""
    sheet.circle(center, radius)
    x, y = center
    tip = x + radius * math.cos(angle), y - radius * math.sin(angle)
    sheet.line([center, (x + radius, y)], dashed=True)
    sheet.arrow([center, tip], color="blue", width=2.5)


def turning(frequencies: Sequence[float], positions: Sequence[int]) -> Picture:
    """One vector at several positions, turned by a fast pair and by slower ones."""
    told = "; ".join(
        f"at {frequency:g} radians a step "
        + ", ".join(f"{math.degrees(frequency * place):.0f}°" for place in positions)
        for frequency in frequencies
    )
    sheet = Drawing(
        f"Arrows that start to the right and turn with the position, at positions "
        f"{', '.join(map(str, positions))}: {told}."
    )
    for row, frequency in enumerate(frequencies):
        y = 110 * row
        sheet.text((0, y - 8), f"{frequency:g}", size=14, anchor="start", bold=True)
        sheet.text((0, y + 9), "radians", size=12, anchor="start", color="gray")
        sheet.text((0, y + 24), "a step", size=12, anchor="start", color="gray")
        for column, position in enumerate(positions):
            center = 108 + 96 * column, y
            _hand(sheet, center, 36, frequency * position)
            degrees = f"{math.degrees(frequency * position):.0f}°"
            sheet.text((center[0], y + 49), degrees, size=12)
            if row == 0:
                named = f"position {position}"
                sheet.text((center[0], y - 50), named, size=13)
    return sheet.finish()


def distances(query: float, key: float, pairs: Sequence[tuple[int, int]]) -> Picture:
    """A query and a key as hands of a clock, at several pairs of positions.

    Args:
        query: The query's angle before it is turned, in radians; likewise the key's.
    """
    apart = math.degrees(query - key)
    sheet = Drawing(
        "Clocks with two hands, a query and a key, each turned by one radian for each "
        "step of its position: "
        + "; ".join(f"query at {one}, key at {other}" for one, other in pairs)
        + ". Where the positions differ by the same, the angle between is the same."
    )
    for column, (one, other) in enumerate(pairs):
        center = 60 + 150 * column, 0
        sheet.circle(center, 52)
        for angle, color in ((query + one, "blue"), (key + other, "red")):
            tip = center[0] + 52 * math.cos(angle), -52 * math.sin(angle)
            sheet.arrow([center, tip], color=color, width=2.5)
        sheet.text((center[0], 68), f"query at {one}", size=13, color="blue")
        sheet.text((center[0], 85), f"key at {other}", size=13, color="red")
        between = (apart + math.degrees(one - other)) % 360
        between = min(between, 360 - between)
        sheet.text((center[0], -66), f"{between:.0f}° apart", size=13, bold=True)
    return sheet.finish()


def entrances() -> Picture:
    """Where each kind of position enters: the stream, queries and keys, or scores."""
    sheet = Drawing(
        "From left to right: token vectors, then in each block queries and keys, then "
        "scores, then weights. Sinusoidal and learned positions are added to the token "
        "vectors, once. Rotary positions turn queries and keys, ALiBi is subtracted "
        "from the scores, both in each block. Values are left alone."
    )
    tokens = sheet.box(0, 40, 82, 44, "token\nvectors", color="blue", size=13)
    sheet.box(112, 14, 338, 138, dashed=True)
    sheet.text((120, 140), "attention, in each block", size=12, anchor="start")
    heads = sheet.box(128, 40, 90, 44, "queries,\nkeys", color="blue", size=13)
    scores = sheet.box(252, 40, 74, 44, "scores", color="blue", size=13)
    mean = sheet.box(354, 40, 84, 44, "weighted\nmean", color="blue", size=13)
    values = sheet.box(128, 98, 90, 28, "values", color="blue", size=13)
    sheet.arrow([tokens.right, heads.left])
    sheet.arrow([(97, 62), (97, 112), values.left])
    sheet.arrow([heads.right, scores.left])
    sheet.arrow([scores.right, mean.left])
    sheet.arrow([values.right, (396, 112), mean.bottom])
    for x, text, end in (
        (41, "+ sinusoidal\n+ learned", tokens),
        (173, "rotary\nturns", heads),
        (289, "ALiBi\nsubtracts", scores),
    ):
        mark = sheet.box(x - 46, -52, 92, 40, text, color="orange", size=13)
        sheet.arrow([mark.bottom, end.top], color="orange", width=2)
    return sheet.finish()


def swapping() -> Picture:
    """A turn as two products: the pair times one row, its swap times another."""
    sheet = Drawing(
        "Two pairs (a, b) and (c, d) are multiplied with cosines, the pairs with their "
        "numbers swapped, (b, a) and (d, c), with sines of which the first of each "
        "pair is negative, and the two products are added."
    )
    first = ["a", "b", "c", "d"]
    swapped = ["b", "a", "d", "c"]
    cosines = ["cos α", "cos α", "cos β", "cos β"]
    sines = ["−sin α", "sin α", "−sin β", "sin β"]
    colors = ["blue", "blue", "green", "green"]
    for y, numbers, factors in ((0, first, cosines), (70, swapped, sines)):
        sheet.row(0, y, numbers, width=40, colors=colors)
        sheet.text((178, y + 14), "×", size=16)
        sheet.row(196, y, factors, width=58, colors=colors, size=13)
    sheet.text((20, 49), "+", size=18)
    sheet.text((312, 49), "α, β: the angles of pair 0 and 1", size=12, color="gray")
    return sheet.finish()


def offset_line(context_length: int, parts: Sequence[int]) -> Picture:
    """A text handled in parts, each beginning at its offset."""
    starts = [sum(parts[:number]) for number in range(len(parts))]
    sheet = Drawing(
        f"A ruler of {context_length} positions. Parts of "
        f"{', '.join(map(str, parts))} positions stand on it, one after the other, at "
        f"the offsets {', '.join(map(str, starts))}."
    )
    cell = min(40, 440 / context_length)
    shades = ("blue", "green", "orange")
    colors = [shades[n % 3] for n, size in enumerate(parts) for _ in range(size)]
    colors += ["plain"] * (context_length - len(colors))
    texts = [str(position) for position in range(context_length)]
    sheet.row(0, 0, texts, width=cell, colors=colors, size=13)
    for number, (start, size) in enumerate(zip(starts, parts, strict=True)):
        middle = (start + size / 2) * cell
        low = 40 + 18 * (number % 2)
        named = f"{size} from {start}"
        sheet.text((middle, low), named, size=12, color=shades[number % 3])
    return sheet.finish()


def pairings(head_width: int) -> Picture:
    """Two ways to pair the dimensions of a head: neighbors, and halves."""
    half = head_width // 2
    sheet = Drawing(
        f"Two rows of {head_width} dimensions. In the first, arcs join neighbors: 0 "
        f"and 1, 2 and 3. In the second they join halves: 0 and {half}, 1 and "
        f"{half + 1}."
    )
    texts = [str(dimension) for dimension in range(head_width)]
    for y, name, pairs in (
        (0, "neighbors", [(2 * pair, 2 * pair + 1) for pair in range(half)]),
        (110, "halves", [(pair, pair + half) for pair in range(half)]),
    ):
        shades = ("blue", "green", "orange", "purple")
        color_of = {d: shades[n % 4] for n, pair in enumerate(pairs) for d in pair}
        colors = [color_of[dimension] for dimension in range(head_width)]
        boxes = sheet.row(84, y, texts, width=46, colors=colors)
        sheet.text((0, y + 14), name, size=13, anchor="start", bold=True)
        for number, (one, other) in enumerate(pairs):
            up = y - 12 - 9 * number * (name == "halves")
            (x0, y0), (x1, _) = boxes[one].top, boxes[other].top
            points = [(x0, y0), (x0, up), (x1, up), (x1, y0)]
            sheet.line(points, color=shades[number % 4])
    return sheet.finish()


def step_by_step(count: int) -> Picture:
    """Tokens that come one at a time, with their offsets and without."""
    sheet = Drawing(
        f"Two rows of {count} arrows, a token each. With offsets the arrows turn on "
        "from token to token; without, all of them point the same way."
    )
    for row, name in enumerate(("with offset", "without")):
        y = 84 * row
        sheet.text((0, y), name, size=13, anchor="start", bold=True)
        for place in range(count):
            center = 122 + 66 * place, y
            turn = place if row == 0 else 0
            _hand(sheet, center, 26, 0.5 * turn)
            sheet.text((center[0], y + 38), f"{turn} steps", size=11)
    return sheet.finish()
