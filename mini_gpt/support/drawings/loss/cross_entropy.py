"""Scores, their softmax, the loss and its gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.loss.words import shown
from mini_gpt.support.drawings.picture import Picture, Units


def softmax(names: Sequence[str], scores: Sequence[Units], target: int) -> Picture:
    """Scores, their exponentials, the shares of these, and the loss of the true one."""
    raised = [math.exp(score) for score in scores]
    shares = [value / sum(raised) for value in raised]
    loss = -math.log(shares[target])
    sheet = Drawing(
        "Four rows, one column for each token. Scores "
        + ", ".join(f"{score:g}" for score in scores)
        + " become exponentials, these become shares that sum to 1, and minus "
        f"the logarithm of the true token's share, {shares[target]:.2f}, is the loss, "
        f"{loss:.2f}."
    )
    left, step = 96, 64
    lit = ["orange" if place == target else "plain" for place in range(len(scores))]
    for place, name in enumerate(names):
        x = left + step * place
        sheet.text((x + 23, -14), shown(name), size=14, mono=True, bold=True)
        sheet.box(x, 0, 46, 26, f"{scores[place]:g}", color=lit[place])
    for values, ground, label, note in (
        (raised, 128, "exp", "all positive"),
        (shares, 240, "share", "sum 1"),
    ):
        sheet.bars(left, ground, values, width=46, height=64, gap=18)
        sheet.text((84, ground - 24), label, anchor="end", bold=True)
        sheet.text((84, ground - 8), note, size=12, anchor="end", color="gray")
    sheet.text((84, 13), "score", anchor="end", bold=True)
    x = left + step * target + 23
    sheet.arrow([(x, 244), (x, 270)], color="orange", width=2)
    text = f"−log {shares[target]:.2f} = {loss:.2f}"
    sheet.box(x - 72, 270, 144, 28, text, color="orange", bold=True)
    sheet.text((84, 284), "loss", anchor="end", bold=True)
    return sheet.finish()


def push(names: Sequence[str], shares: Sequence[Units], target: int) -> Picture:
    """What one step of gradient descent does to the scores: p − y, as arrows."""
    sheet = Drawing(
        "One column for each token: its probability as a bar, and an arrow for the "
        "step. The true token's score is pushed up, by one minus its probability; "
        "every other score is pushed down, by its own probability."
    )
    boxes = sheet.bars(70, 0, shares, width=46, height=90, gap=22, top=1)
    for place, (name, share, box) in enumerate(zip(names, shares, boxes, strict=True)):
        x = box.center[0]
        gradient = share - (place == target)
        sheet.text((x, 14), shown(name), mono=True, bold=place == target)
        long = max(90 * abs(gradient), 14)
        ends = [(x, 120), (x, 120 - long / 2)] if gradient < 0 else []
        ends = ends or [(x, 46), (x, 46 + long)]
        color = "green" if gradient < 0 else "red"
        if gradient < 0:
            ends = [(x, 46 + long), (x, 46)]
        sheet.arrow(ends, color=color, width=3)
        sheet.text((x, 136), f"{gradient:+.2f}".replace("-", "−"), size=13, color=color)
    for y, label in ((-14, "p"), (66, "step"), (136, "p − y")):
        sheet.text((54, y), label, anchor="end", bold=True)
    return sheet.finish()


def slope(at: Units, slope: Units) -> Picture:
    """The curve of x², a point on it, and the line that has its slope there."""
    sheet = Drawing(
        f"The curve of x squared, and the straight line that touches it at x = {at:g}; "
        f"it rises by {slope:g} for each step of 1 to the right."
    )

    def place(x: Units, y: Units) -> tuple[float, float]:
        return 62 * x, -9 * y

    sheet.line([place(-0.6, 0), place(4.6, 0)])
    points = [place(x / 10, (x / 10) ** 2) for x in range(-6, 45)]
    sheet.line(points, color="blue")
    low, high = (
        place(at - 1.4, at**2 - 1.4 * slope),
        place(at + 1.2, at**2 + 1.2 * slope),
    )
    sheet.line([low, high], color="orange")
    x, y = place(at, at**2)
    sheet.circle((x, y), 4, color="orange")
    corner = place(at + 1, at**2)
    sheet.line([(x, y), corner, place(at + 1, at**2 + slope)], dashed=True)
    sheet.text(((x + corner[0]) / 2, y + 11), "1", size=12)
    sheet.text((corner[0] + 8, y - 4.5 * slope), f"{slope:g}", size=13, anchor="start")
    sheet.text((62 * at, 13), f"x = {at:g}", size=13)
    sheet.text((62 * 1.2, -46), "x²", size=14, color="blue")
    return sheet.finish()


def twice(once: Sequence[Units], again: Sequence[Units], target: int) -> Picture:
    """Probabilities, and what a second softmax makes of them."""
    sheet = Drawing(
        "Two groups of bars. On the left the probabilities that a model means, "
        f"{once[target]:.2f} for the true token; on the right the same after a second "
        f"softmax, nearly level, {again[target]:.2f} for the true token."
    )
    for x, values, title in ((0, once, "softmax once"), (240, again, "softmax twice")):
        sheet.bars(x, 0, values, width=32, height=100, gap=8, top=1)
        sheet.text((x + 96, -126), title, bold=True)
    sheet.arrow([(200, -40), (232, -40)], width=2)
    return sheet.finish()


def flatten(logits: Tensor, targets: Sequence[Sequence[int]]) -> Picture:
    """Batch and time become one axis: a row of scores for each prediction."""
    batch, time, vocab_size = logits.shape
    sheet = Drawing(
        f"Scores of shape ({batch}, {time}, {vocab_size}) as {batch} blocks of {time} "
        f"rows; an arrow leads to one block of {batch * time} rows, with the true "
        "token of each row beside it, its score set off."
    )
    cell, colors = 22, ("blue", "green", "purple")
    for row in range(batch):
        for place in range(time):
            y = row * (time * cell + 16) + place * cell
            color = colors[row % 3]
            sheet.row(0, y, [""] * vocab_size, width=cell, height=cell, colors=color)
            target = targets[row][place]
            lit = [color] * vocab_size
            lit[target] = "orange"
            flat = (row * time + place) * cell + 8
            left = 250
            sheet.row(
                left, flat, [""] * vocab_size, width=cell, height=cell, colors=lit
            )
            sheet.text((left + cell * vocab_size + 24, flat + 11), str(target), size=13)
    high = batch * (time * cell + 16) - 16
    sheet.arrow([(cell * vocab_size + 20, high / 2), (234, high / 2)], width=2)
    shapes = f"({batch}, {time}, {vocab_size})", f"({batch * time}, {vocab_size})"
    sheet.text((cell * vocab_size / 2, -14), shapes[0], size=13)
    sheet.text((250 + cell * vocab_size / 2, -14), shapes[1], size=13)
    sheet.text((250 + cell * vocab_size + 24, -14), "target", size=12)
    return sheet.finish()


def in_parts(positions: int, vocab_size: int, parts: int) -> Picture:
    """All logits at once, against some positions at a time."""
    sheet = Drawing(
        f"On the left a block of {positions} rows and {vocab_size} columns, all logits "
        f"at once. On the right the same rows in {parts} parts, one of them filled: "
        "its loss and its p minus y are taken, and it is forgotten before the next."
    )
    cell, each = 15, positions // parts
    for row in range(positions):
        y = row * cell + 8 * (row // each)
        blank = [""] * vocab_size
        sheet.row(0, row * cell, blank, width=cell, height=cell, colors="blue")
        now = row // each == 1
        color = "orange" if now else "plain"
        sheet.row(240, y, blank, width=cell, height=cell, colors=color)
    wide = vocab_size * cell
    sheet.text((wide / 2, -14), "all at once", size=13)
    sheet.text((240 + wide / 2, -14), "a part at a time", size=13)
    middle = each * cell + 8 + each * cell / 2
    sheet.arrow([(240 + wide + 6, middle), (240 + wide + 34, middle)], width=2)
    sheet.text((240 + wide + 40, middle - 8), "loss", size=13, anchor="start")
    sheet.text((240 + wide + 40, middle + 9), "p − y", size=13, anchor="start")
    return sheet.finish()
