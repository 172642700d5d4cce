"""Drawings of the chapter on the trainer."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units

SIX = (
    ("1  batch", "next(batches)", "blue"),
    ("2  loss", "cross_entropy", "orange"),
    ("3  gradients", "loss.backward()", "orange"),
    ("4  clipping", "clip_grad_norm_", "green"),
    ("5  rate", 'group["lr"] = ...', "green"),
    ("6  update", "optimizer.step()", "green"),
)


def six_things() -> Picture:
    """The six things of a step, in a ring."""
    sheet = Drawing(
        "Six boxes in a ring, joined by arrows: batch, loss, gradients, clipping, "
        "rate, update, and from the update back to the next batch."
    )
    boxes = []
    for number, (name, code, color) in enumerate(SIX):
        x = 160 * number if number < 3 else 160 * (5 - number)
        y = 0 if number < 3 else 100
        box = sheet.box(x, y, 132, 56, color=color)
        sheet.text((x + 66, y + 18), name, bold=True)
        sheet.text((x + 66, y + 40), code, size=12, mono=True)
        boxes.append(box)
    for number in (0, 1):
        sheet.arrow([boxes[number].right, boxes[number + 1].left])
    sheet.arrow([boxes[2].bottom, boxes[3].top])
    for number in (3, 4):
        sheet.arrow([boxes[number].left, boxes[number + 1].right])
    sheet.arrow([boxes[5].top, boxes[0].bottom])
    sheet.text((78, 78), "again", size=12, anchor="start", color="gray")
    return sheet.finish()


def micro_batches(counted: Sequence[Sequence[bool]], sizes: Sequence[int]) -> Picture:
    """A batch cut into parts, the targets that count, and one gradient for all.

    Args:
        counted: For each row, which of its targets count.
        sizes: Rows in each part.
    """
    tokens, first = [], 0
    for size in sizes:
        tokens.append(sum(sum(row) for row in counted[first : first + size]))
        first += size
    total = sum(tokens)
    sheet = Drawing(
        f"A batch of {len(counted)} rows is cut into {len(sizes)} parts with "
        f"{' and '.join(map(str, tokens))} counted targets. The sum of each part's "
        f"losses, divided by {total}, goes backward into one gradient; after all parts "
        "the optimizer takes one step."
    )
    y: Units = 0
    first = 0
    high = 19
    for number, size in enumerate(sizes):
        color = ("blue", "orange", "green")[number % 3]
        top = y
        for row in counted[first : first + size]:
            for place, counts in enumerate(row):
                sheet.box(
                    place * 18, y, 16, 16, color=color if counts else "plain", round=2
                )
            y += high
        first += size
        middle = (top + y - 3) / 2
        wide = len(counted[0]) * 18
        sheet.text((wide + 10, middle - 10), f"{tokens[number]} count", anchor="start")
        sheet.text(
            (wide + 10, middle + 10),
            f"sum of losses / {total}",
            size=12,
            anchor="start",
        )
        box_x = wide + 162
        sheet.arrow([(wide + 132, middle), (box_x, middle)], color=color)
        y += 22
    bottom = y - 25
    gradient = sheet.box(box_x, 0, 62, bottom, ".grad\n+=", color="gray", mono=True)
    step = sheet.box(
        gradient.right[0] + 26, bottom / 2 - 22, 56, 44, "one\nstep", color="green"
    )
    sheet.arrow([gradient.right, step.left])
    return sheet.finish()


def number_formats() -> Picture:
    """How 32 and 16 bits are shared among sign, exponent and fraction."""
    sheet = Drawing(
        "Three rows of bits. float32 has 1 bit for the sign, 8 for the exponent and 23 "
        "for the fraction; bfloat16 has 1, 8 and 7; float16 has 1, 5 and 10."
    )
    for row, (name, exponent, fraction) in enumerate(
        (("float32", 8, 23), ("bfloat16", 8, 7), ("float16", 5, 10))
    ):
        y = row * 52
        sheet.text((0, y + 12), name, size=13, anchor="start", mono=True)
        x: Units = 82
        for bits, color in ((1, "gray"), (exponent, "orange"), (fraction, "blue")):
            for _ in range(bits):
                sheet.box(x, y, 11, 24, color=color, round=1)
                x += 11.5
            if bits > 1:
                sheet.text((x - bits * 5.75, y + 35), f"{bits} bits", size=12)
    sheet.text((150, -16), "exponent: range", size=13, color="orange")
    sheet.text((330, -16), "fraction: digits", size=13, color="blue")
    return sheet.finish()


def reading_a_loss() -> Picture:
    """A sketch of Python and a card over time, with and without reading each loss."""
    sheet = Drawing(
        "Two time lines of Python above a card. When each loss is read, Python stands "
        "still until the card has finished and the card stands still until Python has "
        "queued more. When no loss is read, Python queues steps ahead and the card has "
        "work all the time."
    )
    for row, title in enumerate(("each loss is read", "a loss is read now and then")):
        y = row * 112
        sheet.text((66, y - 14), title, size=13, anchor="start", bold=True)
        sheet.text((0, y + 12), "Python", size=13, anchor="start")
        sheet.text((0, y + 48), "card", size=13, anchor="start")
        for number in range(3):
            color = ("blue", "orange", "green")[number]
            label = f"step {number + 1}"
            if row == 0:
                queued, worked = 66 + 126 * number, 110 + 126 * number
                sheet.box(worked + 2, y, 76, 24, "waits", dashed=True, size=12)
            else:
                queued, worked = 66 + 48 * number, 110 + 82 * number
            sheet.box(queued, y, 44, 24, str(number + 1), color=color)
            sheet.box(worked, y + 36, 78, 24, label, color=color, size=13)
    sheet.text((66, 190), "time", size=12, anchor="start", color="gray")
    sheet.arrow([(98, 190), (430, 190)])
    return sheet.finish()


def settings(groups: Sequence[tuple[str, Sequence[str]]]) -> Picture:
    """The fields of the page's settings, and those that each difference adds.

    Args:
        groups: The name of each group and its fields.
    """
    told = "; ".join(f"{name}: {', '.join(fields)}" for name, fields in groups)
    sheet = Drawing(f"The settings of a run in groups, one below the other. {told}.")
    colors = ("blue", "orange", "green", "purple", "yellow", "gray")
    y: Units = 0
    for number, (name, fields) in enumerate(groups):
        lines = [
            ", ".join(fields[first : first + 2]) for first in range(0, len(fields), 2)
        ]
        high = 18 * len(lines) + 12
        sheet.text((0, y + high / 2), name, size=13, anchor="start")
        sheet.box(
            126,
            y,
            330,
            high,
            "\n".join(lines),
            color=colors[number % 6],
            size=13,
            mono=True,
        )
        y += high + 6
    return sheet.finish()


def page_and_package() -> Picture:
    """Which name of the package stands for which lines of the page."""
    pairs = (
        ("windows and targets", "BatchLoader", "chapter 4"),
        ("AdamW in two groups", "make_optimizers", "chapter 15"),
        ("rate(step)", "learning_rate_at", "chapter 15"),
        ("validation_loss()", "evaluate", "chapter 5"),
        ("the six things", "Stepper.step", "here"),
        ("the loop around them", "Trainer.steps", "here"),
    )
    sheet = Drawing(
        "Six parts of the page on the left, each with an arrow to its name in the "
        "package: "
        + "; ".join(f"{left} is {right} ({where})" for left, right, where in pairs)
        + "."
    )
    for row, (left, right, where) in enumerate(pairs):
        y = 40 * row
        color = "green" if where == "here" else "blue"
        here = sheet.box(0, y, 172, 30, left, size=13)
        there = sheet.box(208, y, 160, 30, right, color=color, size=13, mono=True)
        sheet.arrow([here.right, there.left])
        sheet.text((378, y + 15), where, size=12, anchor="start", color="gray")
    sheet.text((86, -16), "on the page", size=13)
    sheet.text((288, -16), "in mini_gpt", size=13)
    return sheet.finish()


def one_by_one(tokens: Sequence[int]) -> Picture:
    """Parts that come from a generator, and the gradient that is divided at the end.

    Args:
        tokens: Tokens of the parts, of which there may be more.
    """
    sheet = Drawing(
        f"Parts of {', '.join(map(str, tokens))} and more tokens come one by one. Each "
        "adds to the gradient and to a count; at the end the gradient is divided."
    )
    x: Units = 0
    for number, count in enumerate([*map(str, tokens), "?"]):
        color = ("blue", "orange", "gray")[number % 3]
        box = sheet.box(x, 0, 88, 30, f"{count} tokens", color=color, size=13)
        sheet.arrow([box.bottom, (box.bottom[0], 56)], color=color)
        x += 98
    sheet.box(0, 58, 284, 30, ".grad += ...", color="gray", size=13, mono=True)
    sheet.arrow([(284, 73), (322, 73)])
    sheet.box(
        324, 50, 120, 46, "then, and only\nthen: divide by?", color="green", size=13
    )
    return sheet.finish()


def verdict() -> Picture:
    """What becomes of a step whose loss and gradients are finite, and of another."""
    sheet = Drawing(
        "Loss and gradients go to a question: all finite? If yes, the optimizer takes "
        "its step. If no, weights and running means stay, and the step is counted as "
        "skipped."
    )
    given = sheet.box(0, 30, 92, 40, "loss and\ngradients", color="orange", size=13)
    asked = sheet.box(128, 30, 92, 40, "all finite?", color="gray", size=13)
    step = sheet.box(270, 0, 180, 34, "optimizer's step", color="green", size=13)
    skip = sheet.box(
        270, 66, 180, 34, "nothing changes, count it", color="red", size=12
    )
    sheet.arrow([given.right, asked.left])
    sheet.arrow([(220, 44), step.left], color="green")
    sheet.arrow([(220, 56), skip.left], color="red")
    sheet.text((238, 14), "yes", size=12, color="green")
    sheet.text((238, 86), "no", size=12, color="red")
    return sheet.finish()


def alternating(every: int) -> Picture:
    """Steps and measurements in turn.

    Args:
        every: Steps between two measurements.
    """
    sheet = Drawing(
        f"A row of boxes: {every} steps, a measurement, {every} steps, a measurement, "
        "and so on; each measurement is added to the history."
    )
    for turn in range(3):
        x = 150 * turn
        sheet.box(x, 0, 92, 30, f"{every} steps", color="blue", size=13)
        box = sheet.box(x + 96, 0, 44, 30, "loss?", color="orange", size=12)
        sheet.arrow([box.bottom, (x + 118, 54)], color="orange")
    sheet.box(0, 56, 440, 28, "history", color="yellow", size=13, mono=True)
    return sheet.finish()
