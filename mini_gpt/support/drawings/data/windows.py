"""Windows of a row of tokens, and the batch that they become."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.data.style import COLORS
from mini_gpt.support.drawings.picture import Picture, Units, visible


def row_to_batch(text: str, starts: Sequence[int], context_length: int) -> Picture:
    """One row of tokens, windows of it, and the batch that they are stacked into.

    Args:
        text: A letter for each token.
        starts: Where the windows start.
        context_length: Inputs of a window; it takes one token more.
    """
    long = context_length + 1
    rows = [text[start : start + long] for start in starts]
    sheet = Drawing(
        f"The row of tokens {text!r}; windows of {long} tokens start at "
        f"{', '.join(map(str, starts))}; stacked they are an array of {len(starts)} "
        f"rows and {long} columns: {' | '.join(rows)}."
    )
    size: Units = min(24, 452 / len(text))
    color: dict[int, str] = {}
    for start, name in zip(starts, COLORS, strict=False):
        color |= dict.fromkeys(range(start, start + long), name)
    colors = [color.get(place, "plain") for place in range(len(text))]
    sheet.row(
        0,
        0,
        [*visible(text)],
        width=size,
        height=26,
        colors=colors,
        size=12,
        mono=True,
    )
    left: Units = 140
    for row, (start, letters) in enumerate(zip(starts, rows, strict=True)):
        y = 84 + 28 * row
        name = COLORS[row]
        boxes = sheet.row(
            left, y, [*visible(letters)], width=24, height=28, colors=name, mono=True
        )
        sheet.brace((start * size, 30), ((start + long) * size, 30), color=name)
        middle = (start + long / 2) * size
        end = left + 24 * long + 18 + 14 * row
        if middle > left + 12 * long:
            sheet.arrow(
                [(middle, 37), (max(middle, end), 60), (end, y + 14), boxes[-1].right],
                color=name,
            )
        else:
            sheet.arrow(
                [
                    (middle, 37),
                    (min(middle, left - 18 - 14 * row), 60),
                    (left - 18 - 14 * row, y + 14),
                    boxes[0].left,
                ],
                color=name,
            )
    bottom = 84 + 28 * len(starts)
    sheet.brace((left, bottom + 4), (left + 24 * long, bottom + 4), "time + 1")
    sheet.text((left + 24 * long + 60, bottom - 6), "one row each", size=12)
    return sheet.finish()


def shifted(inputs: str, targets: str) -> Picture:
    """Inputs above targets, with an arrow from each input to itself as a target."""
    sheet = Drawing(
        f"Two rows of boxes: the inputs {inputs!r}, and below them the targets "
        f"{targets!r}. At each position the target is the next input; arrows lead from "
        "each input to the same letter one place to the left among the targets."
    )
    for place in range(len(inputs)):
        sheet.text((74 + 32 * place, -10), str(place), size=12, color="gray")
    sheet.text((0, 16), "input", size=13, anchor="start")
    sheet.text((0, 96), "target", size=13, anchor="start")
    above = sheet.row(
        58, 2, [*visible(inputs)], width=32, height=28, colors="blue", mono=True
    )
    below = sheet.row(
        58, 82, [*visible(targets)], width=32, height=28, colors="yellow", mono=True
    )
    for box, left in zip(above[1:], below, strict=False):
        sheet.arrow([box.bottom, left.top])
    return sheet.finish()


def added(starts: Sequence[int], steps: int) -> Picture:
    """A column of starts and a row of steps, added to a table of places."""
    table = [[start + step for step in range(steps)] for start in starts]
    sheet = Drawing(
        f"The column of starts {', '.join(map(str, starts))} and the row of steps 0 to "
        f"{steps - 1} are added: each start with each step, which gives the table "
        f"{'; '.join(', '.join(map(str, row)) for row in table)}."
    )
    wide, high = 27, 26
    sheet.text((wide / 2, -30), "starts", size=12)
    sheet.text((wide / 2, -14), "(batch, 1)", size=11, color="gray")
    for row, start in enumerate(starts):
        color = COLORS[row % 4]
        sheet.box(
            0, high * row, wide, high, str(start), color=color, mono=True, round=2
        )
    sheet.text((50, high), "+", size=16)
    places = [str(step) for step in range(steps)]
    sheet.text((74 + wide * steps / 2, -30), "steps", size=12)
    sheet.text((74 + wide * steps / 2, -14), "(time + 1)", size=11, color="gray")
    sheet.row(74, high / 2, places, width=wide, height=high, colors="gray", mono=True)
    left = 74 + wide * steps + 40
    sheet.text((left - 20, high), "=", size=16)
    sheet.text((left + wide * steps / 2, -30), "places", size=12)
    sheet.text(
        (left + wide * steps / 2, -14), "(batch, time + 1)", size=11, color="gray"
    )
    for row, numbers in enumerate(table):
        sheet.row(
            left,
            high * row,
            [str(number) for number in numbers],
            width=wide,
            height=high,
            colors=COLORS[row % 4],
            mono=True,
        )
    return sheet.finish()


def one_window(tokens: Sequence[int], start: int, context_length: int) -> Picture:
    """A short row of tokens with the inputs and the targets of one window."""
    end = start + context_length
    inputs = ", ".join(map(str, tokens[start:end]))
    targets = ", ".join(map(str, tokens[start + 1 : end + 1]))
    sheet = Drawing(
        f"The tokens {', '.join(map(str, tokens))}; the window at {start} with a "
        f"context of {context_length} has the inputs {inputs} and the targets "
        f"{targets}."
    )
    sheet.row(0, 0, [str(token) for token in tokens], width=44)
    for place in range(len(tokens)):
        sheet.text((44 * place + 22, 40), str(place), size=12, color="gray")
    sheet.brace(
        (44 * start + 2, -6), (44 * end - 2, -6), "inputs", color="blue", below=False
    )
    sheet.brace((44 * start + 46, 50), (44 * end + 42, 50), "targets", color="orange")
    return sheet.finish()


def covered(starts: Sequence[int], context_length: int, length: int) -> Picture:
    """Windows that were drawn at random, and which positions they have covered."""
    seen = {place for start in starts for place in range(start, start + context_length)}
    sheet = Drawing(
        f"Windows of {context_length} positions start at {', '.join(map(str, starts))} "
        f"in a text of {length}. Together they cover {len(seen)} positions; the others "
        "have not been seen."
    )
    size: Units = 19
    for row, start in enumerate(starts):
        sheet.text((0, 26 * row + 11), f"window {row}", size=13, anchor="start")
        left, wide = 70 + start * size, context_length * size
        sheet.box(left, 26 * row, wide, 22, color="blue")
    y = 26 * len(starts) + 8
    sheet.text((0, y + 12), "seen", size=13, anchor="start")
    colors = ["green" if place in seen else "plain" for place in range(length)]
    sheet.row(70, y, [""] * length, width=size, height=24, colors=colors)
    return sheet.finish()


def side_by_side(text: str, windows: Sequence[str]) -> Picture:
    """Evaluation windows: the targets of each, below the text that they come from."""
    sheet = Drawing(
        f"The text {text!r} with windows below it, side by side. Their targets are "
        f"{' | '.join(windows)}: every letter but the first, once."
    )
    size: Units = 452 / len(text)
    sheet.row(0, 0, [*visible(text)], width=size, height=28, size=12, mono=True)
    place = 1
    for number, window in enumerate(windows):
        sheet.row(
            place * size,
            50,
            [*visible(window)],
            width=size,
            height=28,
            colors=COLORS[number % 4],
            size=12,
            mono=True,
        )
        ends = (place * size + 2, 84), ((place + len(window)) * size - 2, 84)
        sheet.brace(*ends, f"window {number}")
        place += len(window)
    sheet.text((size / 2, 64), "–", size=13, color="gray")
    return sheet.finish()


def overlap(training: Sequence[int], validation: Sequence[int], long: int) -> Picture:
    """Windows of training above windows of validation, on one line of positions."""
    sheet = Drawing(
        f"Windows of {long} positions on a line: training windows start at "
        f"{', '.join(map(str, training))}, validation windows at "
        f"{', '.join(map(str, validation))}. What is below both is the leak."
    )
    size = 30
    last = max(*training, *validation) + long
    for place in range(last):
        sheet.text((104 + (place + 0.5) * size, -10), str(place), size=12, color="gray")
    rows = [("training", start, "blue") for start in training]
    rows += [("validation", start, "orange") for start in validation]
    for row, (name, start, color) in enumerate(rows):
        y = 4 + 30 * row
        sheet.text((0, y + 12), name, size=13, anchor="start")
        sheet.box(104 + start * size, y, long * size, 24, color=color)
    return sheet.finish()
