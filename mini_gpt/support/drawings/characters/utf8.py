"""Code points as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log2

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.characters.style import COLORS
from mini_gpt.support.drawings.picture import Picture, Units


def code_points(characters: str) -> Picture:
    """A ruler of code points, by how many bits they take, with characters above it."""
    sheet = Drawing(
        "A ruler of code points, measured by the bits that they take. Those of up to "
        "7 bits are written in one byte, up to 11 bits in two, up to 16 bits in "
        "three, and up to 21 bits in four. Above it stand "
        + ", ".join(f"{c} at {ord(c)}" for c in characters)
        + "."
    )
    start, bit, ground = 5, 25, 92  # the ruler starts at 5 bits: 32, the space
    edges = [start, 7, 11, 16, 21]

    def place(bits: Units) -> Units:
        return (bits - start) * bit

    for number, (low, high) in enumerate(pairwise(edges), 1):
        name = "1 byte" if number == 1 else f"{number} bytes"
        color = COLORS[number - 1]
        width = place(high) - place(low)
        sheet.box(place(low), ground, width, 30, name, color=color, size=13, round=0)
        sheet.text((place(high), ground + 42), f"{2**high:,}", size=11, color="gray")
    sheet.text((place(start), ground + 42), "32", size=11, color="gray")
    sheet.text((place(13), ground + 60), "code point", size=12, color="gray")
    for character in characters:
        x = place(log2(ord(character)))
        sheet.text((x, 12), character, size=20)
        sheet.text((x, 38), f"{ord(character):,}", size=11)
        sheet.arrow([(x, 50), (x, ground - 2)])
    return sheet.finish()


def utf8_bits(characters: str) -> Picture:
    """How the bits of code points spread over the bytes of UTF-8, byte by byte."""
    told = []
    for character in characters:
        data = character.encode()
        written = " ".join(f"{byte:08b}" for byte in data)
        told.append(f"{character}, code point {ord(character)}, becomes {written}")
    sheet = Drawing(
        "The bits of a code point are dealt out to bytes. Each byte begins with bits "
        f"that say what kind of byte it is. {'; '.join(told)}."
    )
    cell, gap, top = 17, 12, 0
    for character in characters:
        data = character.encode()
        marks = [_marker(byte) for byte in data]
        bits = sum(8 - mark for mark in marks)
        title = f"code point {ord(character):,} in {bits} bits"
        sheet.text((0, top), character, size=20, anchor="start")
        sheet.text((32, top), title, size=13, anchor="start")
        for number, (byte, mark) in enumerate(zip(data, marks, strict=True)):
            x = number * (8 * cell + gap)
            color = COLORS[number]
            own = sheet.row(
                x + mark * cell,
                top + 20,
                f"{byte:08b}"[mark:],
                width=cell,
                height=24,
                colors=color,
                size=13,
                mono=True,
            )
            colors = ["gray"] * mark + [color] * (8 - mark)
            whole = sheet.row(
                x,
                top + 78,
                f"{byte:08b}",
                width=cell,
                height=24,
                colors=colors,
                size=13,
                mono=True,
            )
            middle = (own[0].x + own[-1].x + cell) / 2
            sheet.arrow([(middle, top + 46), (middle, top + 76)], color=color)
            center = (whole[0].x + whole[-1].x + cell) / 2
            name = f"byte {byte}"
            sheet.text((center, top + 114), name, size=13)
        top += 158
    return sheet.finish()


def _marker(byte: int) -> int:
    """How many bits at the beginning of a byte say what kind of byte it is."""
    for bits, pattern in ((1, 0b0), (2, 0b10), (3, 0b110), (4, 0b1110), (5, 0b11110)):
        if byte >> 8 - bits == pattern:
            return bits
    raise ValueError(f"{byte} does not occur in UTF-8")


def utf8_patterns() -> Picture:
    """The four patterns of bytes, each with the code points that it is for."""
    sheet = Drawing(
        "The four patterns of UTF-8, in which x is a bit of the code point. Up to 127: "
        "0xxxxxxx. Up to 2,047: 110xxxxx 10xxxxxx. Up to 65,535: 1110xxxx and twice "
        "10xxxxxx. Up to 1,114,111: 11110xxx and three times 10xxxxxx."
    )
    rows = (
        (127, ["0xxxxxxx"]),
        (2_047, ["110xxxxx", "10xxxxxx"]),
        (65_535, ["1110xxxx", "10xxxxxx", "10xxxxxx"]),
        (1_114_111, ["11110xxx", "10xxxxxx", "10xxxxxx", "10xxxxxx"]),
    )
    for number, (last, patterns) in enumerate(rows):
        y = number * 36
        sheet.text((-10, y + 14), f"up to {last:,}", size=12, anchor="end")
        colors = COLORS[: len(patterns)]
        sheet.row(0, y, patterns, width=82, gap=6, colors=colors, size=13, mono=True)
    return sheet.finish()


def stored(texts: Sequence[str]) -> Picture:
    """What we see, the code points of it, and the bytes of those."""
    told = (
        f"{text} has {len(text)} code point{'s' * (len(text) != 1)}" for text in texts
    )
    sheet = Drawing(
        "What looks like one character on the screen, its code points and their bytes: "
        f"{'; '.join(told)}."
    )
    y: Units = 0
    for text in texts:
        x: Units = 76
        sheet.text((26, y + 34), text, size=26)
        for number, character in enumerate(text):
            data = list(character.encode())
            wide = max(64, 30 * len(data))
            if x + wide > 458:  # the rest on a line of its own
                x, y = 76, y + 84
            color = COLORS[number % len(COLORS)]
            name = f"U+{ord(character):04X}"
            box = sheet.box(x, y, wide, 28, name, color=color, size=12, mono=True)
            cells = sheet.row(
                x,
                y + 46,
                list(map(str, data)),
                width=wide / len(data),
                height=24,
                colors=color,
                size=12,
            )
            for cell in cells:
                sheet.arrow([(cell.center[0], box.y + 28), cell.top])
            x += wide + 10
        y += 96
    sheet.text(
        (76, y - 12), "above: code points; below: bytes", size=12, anchor="start"
    )
    return sheet.finish()
