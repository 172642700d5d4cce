"""What is kept of the words so far, and what is computed again without it."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.generation.legend import legend
from mini_gpt.support.drawings.picture import Picture


def waste(words: Sequence[str]) -> Picture:
    """What the naive loop computes in each step: all positions, one of them new."""
    total = len(words) * (len(words) + 1) // 2
    sheet = Drawing(
        f"A staircase of {len(words)} steps. Each step computes all words so far: one "
        f"is new, the others were computed before. {total} cells, of which "
        f"{len(words)} are new."
    )
    sheet.text((-8, -14), "step", size=13, anchor="end")
    sheet.text((len(words) * 58 + 8, -14), "computed", size=13, anchor="start")
    for step in range(1, len(words) + 1):
        y = 30 * (step - 1)
        colors = ["orange"] * (step - 1) + ["blue"]
        sheet.row(0, y, words[:step], width=58, height=26, colors=colors, size=13)
        sheet.text((-14, y + 13), str(step), anchor="end")
        sheet.text((len(words) * 58 + 24, y + 13), str(step), anchor="start")
    y = 30 * len(words) + 14
    legend(sheet, y, [("blue", "new"), ("orange", "computed before, unchanged")])
    sheet.text((len(words) * 58 + 8, y), f"sum: {total}", anchor="start", bold=True)
    return sheet.finish()


def kept(words: Sequence[str]) -> Picture:
    """One layer at the newest word: its query meets all keys and gathers all values."""
    *old, new = words
    sheet = Drawing(
        f"Attention at the new word {new}. Its query meets its own key and those of "
        f"{', '.join(old)}; the shares gather the values. Old ones are kept, "
        "new ones are appended; there are no old queries."
    )
    wide, left = 62, 66
    end = left + wide * len(words)
    for place, word in enumerate(words):
        color = "blue" if word is new else "plain"
        middle = left + wide * (place + 0.5)
        sheet.text((middle, 0), word, bold=word is new, color=color)
    colors = ["gray"] * len(old) + ["blue"]
    keys = sheet.row(
        left, 66, ["key"] * len(words), width=wide, height=28, colors=colors, size=13
    )
    values = sheet.row(
        left, 128, ["value"] * len(words), width=wide, height=28, colors=colors, size=13
    )
    query = sheet.box(
        left + wide * len(old) - 6, 20, wide + 12, 26, "query", color="blue"
    )
    x, y = query.left
    sheet.line([(x, y), (keys[0].top[0], y)], color="blue")
    for box in keys[:-1]:
        sheet.arrow([(box.top[0], y), box.top], color="blue")
    sheet.arrow([query.bottom, keys[-1].top], color="blue")
    for key, value in zip(keys, values, strict=True):
        sheet.arrow([key.bottom, value.top])
    sheet.text((left - 8, 80), "kept", size=13, anchor="end", color="gray")
    sheet.text((left - 8, 142), "kept", size=13, anchor="end", color="gray")
    sheet.text((left - 8, 111), "shares", size=13, anchor="end", color="gray")
    sheet.brace((left, 162), (end, 162))
    sheet.arrow([((left + end) / 2, 169), ((left + end) / 2, 190)])
    text = f"what {new} receives"
    sheet.box((left + end) / 2 - 80, 190, 160, 28, text, color="blue")
    return sheet.finish()


def memory(capacity: int, states: Sequence[tuple[str, int]]) -> Picture:
    """A cache's memory after each call.

    Args:
        capacity: Positions that it has room for.
        states: What was called, and how many positions are kept after it.
    """
    told = "; ".join(f"after {name}, {length}" for name, length in states)
    sheet = Drawing(
        f"A memory for {capacity} positions, taken once. Positions kept: {told}."
    )
    before = 0
    for line, (name, length) in enumerate(states):
        y = 36 * line
        sheet.text((-10, y + 14), name, size=13, anchor="end", mono=True)
        for place in range(capacity):
            new = before <= place < length
            color = "blue" if new else "gray" if place < length else "plain"
            text = str(place) if place < length else ""
            free = place >= length
            sheet.box(40 * place, y, 38, 28, text, color=color, dashed=free, round=2)
        before = length
    entries = [("blue", "copied now"), ("gray", "kept"), ("plain", "free")]
    legend(sheet, 36 * len(states) + 12, entries)
    return sheet.finish()


def shelves(layers: int, positions: int) -> Picture:
    """What is kept of one text: in every layer keys and values, for every position."""
    sheet = Drawing(
        f"The cache of one text: {layers} layers, each with keys and values for "
        f"{positions} positions. A cell holds a vector for each head of keys."
    )
    for layer in range(layers):
        y = 74 * layer
        sheet.text((-62, y + 29), f"layer {layer}", size=13, anchor="end")
        for line, name in enumerate(("keys", "values")):
            top = y + 30 * line
            color = ("blue", "orange")[line]
            sheet.text((-8, top + 13), name, size=12, anchor="end", color=color)
            sheet.row(0, top, [""] * positions, width=40, height=26, colors=color)
    y = 74 * layers - 6
    sheet.brace((0, y), (40 * positions, y), "context_length")
    return sheet.finish()


def lookback(count: int, window: int) -> Picture:
    """Which positions a window cache still holds when each new one has come."""
    sheet = Drawing(
        f"For each of {count} positions that come, the positions that a cache with a "
        f"window of {window} holds: the new one and at most {window - 1} before it."
    )
    sheet.text((-10, -14), "new", size=13, anchor="end", color="gray")
    sheet.text((0, -14), "held then", size=13, anchor="start", color="gray")
    for new in range(count):
        sheet.text((-14, 30 * new + 13), str(new), anchor="end")
        for place in range(max(0, new - window + 1), new + 1):
            color = "blue" if place == new else "gray"
            sheet.box(40 * place, 30 * new, 38, 26, str(place), color=color, round=2)
    return sheet.finish()


def told(words: Sequence[str], right: Sequence[int], wrong: Sequence[int]) -> Picture:
    """Which position each word is told, by a right cache and by a wrong one."""
    sheet = Drawing(
        f"The words {', '.join(words)} are told positions {list(right)} by the right "
        f"cache, and {list(wrong)} by the forgetful one."
    )
    sheet.row(0, 0, words, width=58, height=28, size=13)
    for line, (name, numbers, color) in enumerate(
        (("right cache", right, "green"), ("forgetful", wrong, "red"))
    ):
        y = 38 * (line + 1)
        sheet.text((-8, y + 14), name, size=13, anchor="end")
        sheet.row(0, y, [str(n) for n in numbers], width=58, height=28, colors=color)
    return sheet.finish()
