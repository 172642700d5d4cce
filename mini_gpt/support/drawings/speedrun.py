"""Drawings for the chapter on the speed-run: clock, ideas, ledger, leak."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units


def _signed(number: float, digits: int = 3) -> str:
    return f"{number:+.{digits}f}".replace("-", "−")


def clock() -> Picture:
    """When the clock of the race runs: during steps, and at no other time."""
    sheet = Drawing(
        "A time line. The model is built while the clock stands. It runs during the "
        "steps, stands while the loss is measured, and runs again during more steps."
    )
    stages = [("build", 62, False), ("steps", 120, True), ("measure", 76, False)]
    stages += [("steps", 120, True), ("measure", 76, False)]
    x: Units = 0
    for name, wide, runs in stages:
        color = "orange" if runs else "gray"
        box = sheet.box(x, 0, wide, 34, name, color=color, size=13)
        middle = box.bottom[0]
        if runs:
            sheet.line([(x + 2, 52), (x + wide - 2, 52)], color="orange")
            sheet.text((middle, 66), "runs", size=12, color="orange")
        else:
            sheet.text((middle, 66), "stands", size=12, color="gray")
        x += wide
    return sheet.finish()


def recipes(rows: Sequence[tuple[str, str, str]]) -> Picture:
    """Two recipes side by side: a row for each choice, the second's lit if another."""
    told = "; ".join(f"{name}: {one}, then {two}" for name, one, two in rows)
    sheet = Drawing(f"The published recipe and the record, choice by choice. {told}.")
    sheet.text((190, -16), "published", size=13, bold=True)
    sheet.text((360, -16), "record", size=13, bold=True)
    for row, (name, one, two) in enumerate(rows):
        y = 32 * row
        sheet.text((0, y + 13), name, size=13, anchor="start")
        sheet.box(110, y, 160, 26, one, color="gray", size=12)
        color = "orange" if one != two else "gray"
        sheet.box(280, y, 160, 26, two, color=color, size=12)
    return sheet.finish()


def places() -> Picture:
    """A block, and where the four ideas change it."""
    sheet = Drawing(
        "A decoder block. Normalized queries and keys and the value tables act where "
        "attention makes queries, keys and values. Outputs start at zero where "
        "attention and feed-forward write into the stream. Squared ReLU stands between "
        "the two layers of the feed-forward part."
    )
    parts = ["queries, keys, values", "attention", "output", "expand", "activation"]
    parts += ["contract"]
    boxes = []
    for number, name in enumerate(parts):
        y = 300 - 46 * number - (24 if number > 2 else 0)
        boxes.append(sheet.box(0, y, 170, 32, name, size=13))
    for low, high in pairwise(boxes):
        sheet.arrow([low.top, high.bottom])
    notes = {
        0: ("normalized, and value tables", "blue"),
        2: ("begins at zero", "orange"),
        4: ("squared ReLU", "green"),
        5: ("begins at zero", "orange"),
    }
    for number, (said, color) in notes.items():
        box = boxes[number]
        note = sheet.box(220, box.y, 214, 32, said, color=color, size=13)
        sheet.arrow([note.left, box.right])
    return sheet.finish()


def value_tables(text: str) -> Picture:
    """The values of each position, and what the second table adds to them."""
    sheet = Drawing(
        f"The characters of {text!r}. From each an arrow goes by the stream to its "
        "value, and another one straight to it, through a row of the value table."
    )
    letters = [letter.replace(" ", "␣") for letter in text]
    low = sheet.row(0, 150, letters, width=56, height=30, gap=8, colors="gray")
    high = sheet.row(0, 0, ["value"] * len(text), width=56, height=30, gap=8)
    for start, end in zip(low, high, strict=True):
        (x, y), (u, v) = start.top, end.bottom
        sheet.arrow([(x - 12, y), (u - 12, v)])
        sheet.arrow([(x + 12, y), (u + 12, v)], color="blue", width=2)
    wide = 64 * len(text) - 8
    sheet.box(-6, 66, wide + 12, 44, color="plain")
    sheet.text((wide / 2, 78), "stream, blocks, projection", size=12, color="gray")
    sheet.text((wide / 2, 98), "row of the value table", size=12, color="blue")
    return sheet.finish()


def ratios(values: Mapping[str, float]) -> Picture:
    """How long a step takes in several ways, over the first of them, as bars."""
    told = ", ".join(f"{name} {value:.2f}" for name, value in values.items())
    sheet = Drawing(f"Times of a step over the record's step: {told}.")
    for row, (name, value) in enumerate(values.items()):
        y = 34 * row
        sheet.text((0, y + 13), name, size=13, anchor="start")
        long = max(3.0, 150 * value / max(values.values()))
        sheet.box(190, y, long, 26, color="orange" if row else "gray")
        sheet.text((198 + long, y + 13), f"{value:.2f}", size=13, anchor="start")
    return sheet.finish()


def gains(changes: Mapping[str, float]) -> Picture:
    """What each change gains, as bars to the right, or loses, to the left."""
    told = ", ".join(f"{name} {_signed(gain)}" for name, gain in changes.items())
    sheet = Drawing(f"Gains in nats, to the right, and losses, to the left: {told}.")
    most = max(*(abs(gain) for gain in changes.values()), 1e-9)
    sheet.line([(330, -8), (330, 34 * len(changes))])
    for row, (name, gain) in enumerate(changes.items()):
        y = 34 * row
        sheet.text((0, y + 12), name, size=13, anchor="start")
        long = max(2.0, 70 * abs(gain) / most)
        color = "green" if gain > 0 else "red"
        sheet.box(330 if gain > 0 else 330 - long, y, long, 24, color=color)
        side = 330 + long + 6 if gain > 0 else 336
        sheet.text((side, y + 12), _signed(gain), size=12, anchor="start")
    return sheet.finish()


def two_by_two(
    losses: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str]
) -> Picture:
    """Losses for two choices, in rows and columns; the worst and the best are lit."""
    told = "; ".join(
        f"{row}, {column} {loss:.3f}"
        for row, pair in zip(rows, losses, strict=True)
        for column, loss in zip(columns, pair, strict=True)
    )
    sheet = Drawing(f"A table of four losses: {told}.")
    flat = [loss for pair in losses for loss in pair]
    for place, column in enumerate(columns):
        sheet.text((185 + 130 * place, 0), column, size=13)
    for line, (row, pair) in enumerate(zip(rows, losses, strict=True)):
        y = 18 + 48 * line
        sheet.text((0, y + 18), row, size=13, anchor="start")
        for place, loss in enumerate(pair):
            color = {max(flat): "red", min(flat): "green"}.get(loss, "plain")
            sheet.box(125 + 130 * place, y, 120, 38, f"{loss:.3f}", color=color)
    return sheet.finish()


def rules() -> Picture:
    """What is fixed in the race, and what is free."""
    sheet = Drawing(
        "Fixed: the text and its split, the size of the model, the target loss, the "
        "three seeds. Free: the rates, the optimizer, the schedule, the batches, first "
        "weights, options of the model, what is done to it before training."
    )
    columns = {
        "fixed": (
            ["text and split", "size of the model", "target, 1.90", "three seeds"]
        ),
        "free": (
            ["optimizer, rates", "schedule, batches", "first weights", "variants"]
        ),
    }
    for column, (title, names) in enumerate(columns.items()):
        x = 220 * column
        sheet.text((x + 90, 0), title, size=14, bold=True)
        color = "gray" if title == "fixed" else "green"
        for row, name in enumerate(names):
            sheet.box(x, 16 + 36 * row, 180, 30, name, color=color, size=13)
    return sheet.finish()


def ledger(records: Sequence[Mapping[str, Any]]) -> Picture:
    """The records so far: date, steps, mean loss, time over that of the one before."""
    told = "; ".join(
        f"{record['date']}, {record['steps']} steps, loss {record['loss']:.3f}, "
        f"{record['what']}"
        for record in records
    )
    sheet = Drawing(f"The ledger of records, the latest last: {told}.")
    heads = ("date", "steps", "mean loss", "seconds", "of the last")
    places = (40, 130, 210, 290, 375)
    for head, x in zip(heads, places, strict=True):
        sheet.text((x, 0), head, size=12, color="gray")
    for row, record in enumerate(records):
        y = 22 + 54 * row
        sheet.box(-8, y - 12, 436, 46, color="plain")
        seconds = statistics.median(run["seconds"] for run in record["runs"])
        cells = (record["date"], f"{record['steps']}", f"{record['loss']:.4f}")
        ratio = f"{record['ratio']:.2f}" if row else "-"
        for cell, x in zip((*cells, f"{seconds:.1f}", ratio), places, strict=True):
            sheet.text((x, y), cell, size=13)
        sheet.text((0, y + 20), record["what"], size=12, anchor="start", color="blue")
    return sheet.finish()


def leak(text: str, shift: int = -1) -> Picture:
    """Which neighbor each position of a text gets: the next one, or the one before."""
    what = "the character after it" if shift < 0 else "the character before it"
    sheet = Drawing(
        f"The characters of {text!r} in a row, and the positions above them; an arrow "
        f"gives each position {what}."
    )
    letters = [letter.replace(" ", "␣") for letter in text]
    low = sheet.row(0, 80, letters, width=60, height=34, colors="gray")
    high = sheet.row(0, 0, letters, width=60, height=34, colors="blue")
    color = "red" if shift < 0 else "green"
    for place, box in enumerate(high):
        source = place - shift
        if 0 <= source < len(low):
            sheet.arrow([low[source].top, box.bottom], color=color)
    sheet.text((60 * len(text) + 8, 97), "text", size=12, anchor="start", color="gray")
    said = "position gets" if shift > 0 else "position sees"
    sheet.text((60 * len(text) + 8, 17), said, size=12, anchor="start", color="gray")
    return sheet.finish()


def pairs(own: Sequence[float], other: Sequence[float]) -> Picture:
    """Seconds of an entry and of the record, seed by seed, and their ratios."""
    told = ", ".join(f"{a:g} against {b:g}" for a, b in zip(own, other, strict=True))
    sheet = Drawing(f"Seconds of the entry and of the record, seed by seed: {told}.")
    for row, (a, b) in enumerate(zip(own, other, strict=True)):
        y = 40 * row
        sheet.text((0, y + 15), f"seed {row + 1}", size=13, anchor="start")
        sheet.box(60, y, 8 * a, 14, color="orange")
        sheet.box(60, y + 16, 8 * b, 14, color="gray")
        sheet.text((240, y + 8), f"entry {a:g} s", size=12, anchor="start")
        sheet.text((240, y + 24), f"record {b:g} s", size=12, anchor="start")
        sheet.text((370, y + 16), f"ratio {a / b:.2f}", size=13, anchor="start")
    return sheet.finish()


def updates(values: Sequence[float], means: Sequence[float]) -> Picture:
    """The values of a weight, update by update, and the average after each."""
    told = ", ".join(f"{v:g} gives {m:g}" for v, m in zip(values, means, strict=True))
    sheet = Drawing(f"A weight's values and the average after each update: {told}.")
    before = None
    for place, (value, mean) in enumerate(zip(values, means, strict=True)):
        x = 90 + 110 * place
        top = sheet.box(x, 0, 60, 32, f"{value:g}", color="gray")
        low = sheet.box(x, 76, 60, 32, f"{mean:g}", color="blue")
        sheet.arrow([top.bottom, low.top])
        if before is not None:
            sheet.arrow([before.right, low.left])
        before = low
    sheet.text((0, 16), "weight", size=13, anchor="start")
    sheet.text((0, 92), "average", size=13, anchor="start")
    return sheet.finish()
