"""Drawings of the chapter on characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log2

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Units

COLORS = ("blue", "orange", "green", "purple", "red", "yellow")
MARK = {" ": "␣", "\n": "⏎"}


def _shown(characters: str | Sequence[str]) -> list[str]:
    return [MARK.get(character, character) for character in characters]


def lookup(word: str, alphabet: Sequence[str]) -> Picture:
    """A word above, the table of the alphabet in the middle, the word's ids below."""
    ids = [alphabet.index(character) for character in word]
    sheet = Drawing(
        f"The word {word} is looked up in a table of {len(alphabet)} characters with "
        f"their ids from 0 to {len(alphabet) - 1}. An arrow leads from each letter to "
        f"its column, and from there to its id: {', '.join(map(str, ids))}."
    )
    wide = 46
    colors = dict(zip(dict.fromkeys(word), COLORS, strict=False))
    table = [colors.get(character, "plain") for character in alphabet]
    left = (len(alphabet) - len(word)) * wide / 2
    letters = sheet.row(
        left, 0, _shown(word), width=wide, colors=[colors[c] for c in word], mono=True
    )
    upper = sheet.row(
        0, 82, _shown(alphabet), width=wide, height=26, colors=table, mono=True
    )
    numbers = list(map(str, range(len(alphabet))))
    lower = sheet.row(0, 108, numbers, width=wide, height=26, colors=table)
    below = sheet.row(
        left, 190, list(map(str, ids)), width=wide, colors=[colors[c] for c in word]
    )
    for character, id, letter, number in zip(word, ids, letters, below, strict=True):
        sheet.arrow([letter.bottom, upper[id].top], color=colors[character])
        sheet.arrow([lower[id].bottom, number.top], color=colors[character])
    sheet.text((left - 12, 14), "text", size=13, anchor="end", color="gray")
    sheet.text((-8, 95), "alphabet", size=13, anchor="end", color="gray")
    sheet.text((-8, 121), "id", size=13, anchor="end", color="gray")
    sheet.text((left - 12, 204), "ids", size=13, anchor="end", color="gray")
    return sheet.finish()


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


def unknown(character: str, known: int) -> Picture:
    """An unknown character and the three things that a tokenizer may do with it."""
    data = ", ".join(map(str, character.encode()))
    sheet = Drawing(
        f"The character {character} is not among the {known} of the alphabet. Three "
        "ways lead on: an error, and nothing is encoded; a replacement such as the "
        f"question mark, and the character is lost; its bytes {data}, and nothing is "
        "lost."
    )
    from_here = sheet.box(0, 62, 50, 40, character, color="orange", size=20)
    sheet.text((-4, 22), "not among", size=12, color="gray", anchor="start")
    sheet.text((-4, 40), f"the {known}", size=12, color="gray", anchor="start")
    ways = (
        ("an error", "nothing is encoded", "red"),
        ('replaced by "?"', "the character is lost", "red"),
        (f"bytes {data}", "nothing is lost", "green"),
    )
    for number, (way, price, color) in enumerate(ways):
        y = number * 62
        box = sheet.box(96, y, 134, 40, way, size=13)
        sheet.arrow([from_here.right, (72, 82), (72, y + 20), box.left])
        end = sheet.box(254, y, 164, 40, price, color=color, size=13)
        sheet.arrow([box.right, end.left])
    return sheet.finish()


def protocol() -> Picture:
    """What the package asks of a tokenizer, and who asks for which part."""
    sheet = Drawing(
        "The tokenizer stands between text and ids: encode leads from text to ids, "
        "decode leads back. The model asks for vocab_size, the size of its tables; the "
        "data asks for end_of_text, the mark between documents; a file keeps what save "
        "and to_dict write."
    )
    sheet.box(0, 34, 70, 40, "text", color="gray")
    whole = sheet.box(158, 0, 130, 108, "tokenizer", color="orange", bold=True)
    sheet.box(376, 34, 70, 40, "ids", color="gray")
    for y, name, forth in ((44, "encode", True), (64, "decode", False)):
        for left, right in ((70, 158), (288, 376)):
            ends = [(left, y), (right, y)]
            sheet.arrow(ends if forth else ends[::-1])
        sheet.text((114, y + (-12 if forth else 13)), name, size=13, mono=True)
    asked = (
        (0, "vocab_size", "the model:\nhow many ids?"),
        (158, "end_of_text", "the data: where\ndoes a text end?"),
        (316, "save, to_dict", "a file: how can\nit be kept?"),
    )
    for x, name, question in asked:
        sheet.box(x, 178, 130, 44, question, size=12)
        sheet.text((x + 65, 166), name, size=13, mono=True)
        middle = x + 65
        points = [whole.bottom, (223, 132), (middle, 132), (middle, 154)]
        sheet.arrow([whole.bottom, (223, 154)] if middle == 223 else points)
    return sheet.finish()


def encoding_steps() -> Picture:
    """The two questions that decide what `encode` does."""
    sheet = Drawing(
        "The steps of encode. Are all characters known? If yes, the id of each. If no: "
        "is there a replacement? If yes, the id of each known character, and the "
        "replacement's id for the others. If no, an error that names the first unknown "
        "character and its position."
    )
    asked = (
        ("are all characters\nknown?", "the id of each", "green"),
        ("is there a\nreplacement?", "its id for the\nunknown ones", "green"),
    )
    last = None
    for number, (question, answer, color) in enumerate(asked):
        y = number * 92
        box = sheet.box(0, y, 160, 48, question, color="orange", round=14)
        end = sheet.box(250, y, 160, 48, answer, color=color)
        sheet.arrow([box.right, end.left], "yes")
        if last:
            sheet.arrow([last.bottom, box.top], "no")
        last = box
    fault = sheet.box(250, 184, 160, 48, "an error that\nnames the first", color="red")
    if last:
        sheet.arrow([last.bottom, (80, 208), fault.left], "no")
    return sheet.finish()


def round_trip(text: str, ids: Sequence[int], back: str) -> Picture:
    """A text, its ids, and the text that comes back; what has changed is marked."""
    sheet = Drawing(
        f"The text {text!r} becomes {len(ids)} ids, and these become {back!r}. The "
        "characters that were replaced are marked."
    )
    colors = ["plain" if a == b else "red" for a, b in zip(text, back, strict=True)]
    rows = (
        ("text", _shown(text)),
        ("ids", list(map(str, ids))),
        ("back", _shown(back)),
    )
    last: list[Box] = []
    for number, (name, cells) in enumerate(rows):
        y = number * 62
        row = sheet.row(0, y, cells, width=42, height=32, colors=colors)
        sheet.text((-12, y + 16), name, size=13, anchor="end", color="gray")
        for above, below in zip(last, row, strict=False):
            sheet.arrow([above.bottom, below.top])
        last = row
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


def two_tables(
    text: str, written: Sequence[str], read: Sequence[str], days: Sequence[str]
) -> Picture:
    """A text written with one table of ids and read with another."""
    ids = [written.index(character) for character in text]
    back = [read[id] for id in ids]
    sheet = Drawing(
        f"The text {text} becomes the ids {', '.join(map(str, ids))} by {days[0]}'s "
        f"alphabet. By {days[1]}'s alphabet the same ids become {''.join(back)}."
    )
    colors = ["green" if a == b else "red" for a, b in zip(text, back, strict=True)]
    rows = (
        ("text", _shown(text), ["plain"] * len(text)),
        ("ids", list(map(str, ids)), ["gray"] * len(text)),
        ("read", _shown(back), colors),
    )
    last: list[Box] = []
    for number, (name, cells, tints) in enumerate(rows):
        y = number * 70
        row = sheet.row(
            0, y, cells, width=44, height=32, colors=tints, mono=number != 1
        )
        sheet.text((-12, y + 16), name, size=13, anchor="end", color="gray")
        if last:
            for above, below in zip(last, row, strict=True):
                sheet.arrow([above.bottom, below.top])
            told = f"by {days[number - 1]}'s alphabet"
            x = len(text) * 44 + 10
            sheet.text((x, y - 18), told, size=12, anchor="start", color="gray")
        last = row
    return sheet.finish()
