"""Drawings of the chapter on byte-pair encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units

COLORS = ("blue", "orange", "green", "purple", "red", "yellow")


def _shown(token: bytes) -> str:
    return token.decode(errors="replace").replace(" ", "␣")


def merge_tree(word: bytes, ids: Mapping[bytes, int]) -> Picture:
    """The merges that build a word, from its bytes below to its tokens above."""
    parts = [(place, place + 1, 0) for place in range(len(word))]
    cell, level = min(44, 440 // len(word)), 54
    told: list[str] = []
    boxes: list[tuple[int, int, int, list[tuple[int, int, int]]]] = []
    while True:
        unions = [
            (ids[word[a[0] : b[1]]], place)
            for place, (a, b) in enumerate(pairwise(parts))
            if word[a[0] : b[1]] in ids
        ]
        if not unions:
            break
        id, place = min(unions)
        left, right = parts[place : place + 2]
        height = max(left[2], right[2]) + 1
        parts[place : place + 2] = [(left[0], right[1], height)]
        boxes.append((id, left[0], right[1], [left, right]))
        halves = _shown(word[left[0] : left[1]]), _shown(word[right[0] : right[1]])
        told.append(f"{halves[0]} and {halves[1]} to id {id}")
    top = max(part[2] for part in parts)
    sheet = Drawing(
        f"A tree over {_shown(word)}: the letters stand at the bottom, and each merge "
        f"joins two neighbors above them: {'; '.join(told) or 'there is none'}."
    )
    heights = {(place, place + 1): 0 for place in range(len(word))}
    sheet.row(
        0, top * level, list(map(_shown, (word[i : i + 1] for i in range(len(word))))),
        width=cell, height=28, colors="gray", mono=True,
    )  # fmt: skip
    for id, start, end, halves_ in boxes:
        height = 1 + max(heights[half[:2]] for half in halves_)
        heights[start, end] = height
        y = (top - height) * level
        color = COLORS[(height - 1) % len(COLORS)]
        for a, b, _ in halves_:
            middle = (a + b) / 2 * cell
            below = (top - heights[a, b]) * level
            sheet.line([(middle, below), (middle, y + 28)])
        name = _shown(word[start:end])
        box = sheet.box(
            start * cell + 2,
            y,
            (end - start) * cell - 4,
            28,
            name,
            color=color,
            mono=True,
        )
        sheet.text((box.x, y - 8), str(id), size=11, color="gray", anchor="start")
    return sheet.finish()


def index(words: Mapping[tuple[str, ...], int], lit: tuple[str, str]) -> Picture:
    """Pairs with their counts, and an arrow to each word in which they stand.

    Args:
        words: Each word as its parts, and how often it occurs.
        lit: The pair that is set off, with the words that have it.
    """
    places: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for word in words:
        for neighbors in pairwise(word):
            places.setdefault(neighbors, []).append(word)
    counts = {p: sum(words[word] for word in places[p]) for p in places}
    order = sorted(places, key=lambda p: (-counts[p], p))
    visited = places[lit]
    sheet = Drawing(
        "An index from pairs to the words in which they stand. "
        + "; ".join(
            f"{'·'.join(p)}, {counts[p]} times, in "
            + " and ".join("".join(word) for word in places[p])
            for p in order
        )
        + f". Lit is {'·'.join(lit)}, which is merged next."
    )
    step = 38
    sheet.text((62, -16), "pair, count", size=13, color="gray")
    sheet.text((325, -16), "distinct words", size=13, color="gray")
    gap = step * len(order) / len(words)
    boxes = {}
    for number, (word, count) in enumerate(words.items()):
        y = number * gap + (gap - 30) / 2
        color = "orange" if word in visited else "plain"
        name = f"{'·'.join(word)}  × {count}"
        boxes[word] = sheet.box(260, y, 130, 30, name, color=color, mono=True, size=13)
    for number, p in enumerate(order):
        color = "orange" if p == lit else "plain"
        name = f"{'·'.join(p)}  {counts[p]}"
        box = sheet.box(12, number * step, 100, 28, name, color=color, mono=True)
        for word in places[p]:
            goal = boxes[word].left
            ink, thick = ("orange", 2.5) if p == lit else ("gray", 1)
            sheet.arrow([box.right, goal], color=ink, width=thick)
    return sheet.finish()


def heap(entries: Sequence[tuple[int, str]], counts: Mapping[str, int]) -> Picture:
    """The heap's entries in the order in which they come out, stale ones marked.

    Args:
        entries: Minus the count and the pair, the first to come out first.
        counts: How often each pair occurs now.
    """
    told = []
    rows = []
    for number, (minus, pair) in enumerate(entries):
        true = counts[pair]
        stale = true != -minus
        state = f"out of date, now {true}" if stale else "true"
        told.append(f"{pair} {-minus}, {state}")
        rows.append((number, -minus, pair, stale, true))
    sheet = Drawing(
        f"Entries of the heap, the first to come out on top: {'; '.join(told)}."
    )
    first = next(number for number, *_, stale, _ in rows if not stale)
    for number, count, pair, stale, true in rows:
        y = number * 36
        color = "red" if stale else "green" if number == first else "plain"
        name = f"{count}  {pair}"
        box = sheet.box(0, y, 110, 28, name, color=color, mono=True, dashed=stale)
        if stale:
            words, ink = f"out of date: {pair} occurs {true} times now", "red"
        elif number == first:
            words, ink = "true: this pair is merged next", "green"
        else:
            words, ink = "true", "gray"
        x = box.x + 124
        sheet.text((x, y + 14), words, size=13, anchor="start", color=ink)
    return sheet.finish()


def chain(word: bytes, states: Sequence[Sequence[bytes]]) -> Picture:
    """The parts of a word as a chain, before and after a merge.

    Args:
        states: The parts of the word, one list for each state.
    """
    told = " then ".join("|".join(map(_shown, parts)) for parts in states)
    sheet = Drawing(
        f"The parts of {_shown(word)} as a chain, {told}. Under each byte stands its "
        "position; `after` says for the start of each part where the next one starts, "
        "`before` where the one before starts. A start that has vanished is a dash."
    )
    cell: Units = 62
    for number, parts in enumerate(states):
        top = number * 158
        start = 0
        starts = []
        for place, part in enumerate(parts):
            wide = len(part) * cell
            sheet.box(
                start * cell, top, wide, 32, _shown(part),
                color=COLORS[place % len(COLORS)], mono=True,
            )  # fmt: skip
            starts.append(start)
            start += len(part)
        edges = [*starts, len(word)]
        after = dict(pairwise(edges))
        before = {b: a for a, b in pairwise(edges)} | {0: -1}
        for row, (name, values) in enumerate(
            (("position", None), ("after", after), ("before", before))
        ):
            y = top + 50 + row * 26
            sheet.text(
                (-10, y), name, size=13, anchor="end", color="gray", mono=row > 0
            )
            for position in range(len(word)):
                text = str(position)
                if values is not None:
                    text = str(values[position]) if position in starts else "–"
                middle = (position + 0.5) * cell
                sheet.text((middle, y), text, size=13, mono=True)
    return sheet.finish()
