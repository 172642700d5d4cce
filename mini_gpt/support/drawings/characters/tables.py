"""A table of characters and ids, and what it cannot write."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.characters.style import COLORS, shown
from mini_gpt.support.drawings.picture import Box, Picture


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
        left, 0, shown(word), width=wide, colors=[colors[c] for c in word], mono=True
    )
    upper = sheet.row(
        0, 82, shown(alphabet), width=wide, height=26, colors=table, mono=True
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


def round_trip(text: str, ids: Sequence[int], back: str) -> Picture:
    """A text, its ids, and the text that comes back; what has changed is marked."""
    sheet = Drawing(
        f"The text {text!r} becomes {len(ids)} ids, and these become {back!r}. The "
        "characters that were replaced are marked."
    )
    colors = ["plain" if a == b else "red" for a, b in zip(text, back, strict=True)]
    rows = (
        ("text", shown(text)),
        ("ids", list(map(str, ids))),
        ("back", shown(back)),
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
        ("text", shown(text), ["plain"] * len(text)),
        ("ids", list(map(str, ids)), ["gray"] * len(text)),
        ("read", shown(back), colors),
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
