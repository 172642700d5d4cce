"""Drawings of the chapter on the optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Point, Units

# What each rule adds to another one: its name, its lines, which of them are new.
LADDER = (
    ("SGD", ["w ← w − rate · g"], [0]),
    ("momentum", ["m ← 0.9 m + g", "w ← w − rate · m"], [0, 1]),
    ("RMSprop", ["v ← 0.99 v + 0.01 g²", "w ← w − rate · g / √v"], [0, 1]),
    (
        "Adam",
        [
            "m ← 0.9 m + 0.1 g",
            "v ← 0.99 v + 0.01 g²",
            "correct m, v for their start",
            "w ← w − rate · m / √v",
        ],
        [2],
    ),
    ("AdamW", ["w ← w − rate · decay · w", "... and Adam"], [0]),
)


def ladder() -> Picture:
    """The five rules, each with the lines that the one before did not have."""
    sheet = Drawing(
        "Five rules in boxes, new lines shaded. SGD subtracts the rate times the "
        "gradient. Momentum subtracts a running sum of gradients instead. RMSprop "
        "divides the gradient by the root of a running mean of its square. Adam has "
        "both means and corrects them for their start. AdamW also shrinks the weight."
    )
    wide, tall = 216, 26
    places = {"SGD": (121, 0), "momentum": (0, 90), "RMSprop": (242, 90)}
    places |= {"Adam": (121, 212), "AdamW": (121, 382)}
    boxes = {}
    for name, lines, new in LADDER:
        x, y = places[name]
        sheet.text((x + wide / 2, y - 12), name, bold=True)
        cells = [
            sheet.box(
                x,
                y + place * tall,
                wide,
                tall,
                line,
                color="orange" if place in new else "plain",
                size=13,
                round=2,
            )
            for place, line in enumerate(lines)
        ]
        boxes[name] = cells[0], cells[-1]
    for start, end in (("SGD", "momentum"), ("SGD", "RMSprop")):
        (x0, y0), (x1, y1) = boxes[start][1].bottom, boxes[end][0].top
        side = -1 if x1 < x0 else 1
        sheet.arrow([(x0 + 40 * side, y0 + 3), (x1 + 30 * -side, y1 - 22)])
    for start in ("momentum", "RMSprop"):
        (x0, y0), (x1, y1) = boxes[start][1].bottom, boxes["Adam"][0].top
        side = 1 if x1 > x0 else -1
        sheet.arrow([(x0, y0 + 3), (x1 - 50 * side, y1 - 22)])
    (x0, y0), (x1, y1) = boxes["Adam"][1].bottom, boxes["AdamW"][0].top
    sheet.arrow([(x0, y0 + 3), (x1, y1 - 22)])
    return sheet.finish()


def shares(beta: float, count: int = 12) -> Picture:
    """How much of a running mean each of the last gradients makes up."""
    values = [(1 - beta) * beta**back for back in range(count)][::-1]
    sheet = Drawing(
        f"Bars that grow to the right: the shares of the last {count} gradients in "
        f"the running mean with beta {beta:g}, from {values[0]:.2f} for the oldest to "
        f"{values[-1]:.2f} for the newest."
    )
    labels = [f"-{back}" for back in range(count - 1, 0, -1)] + ["now"]
    sheet.bars(0, 0, values, labels, width=28, gap=7, height=90)
    sheet.text(((35 * count - 7) / 2, 32), "steps back", size=13)
    return sheet.finish()


def groups(names: dict[str, list[str]]) -> Picture:
    """Which parameters of a model decay and which do not."""
    counted = "; ".join(f"{kind}: {', '.join(some)}" for kind, some in names.items())
    sheet = Drawing(f"Two groups of parameters. {counted}.")
    for place, (kind, some) in enumerate(names.items()):
        x = place * 232
        sheet.text((x + 112, -14), kind, bold=True)
        for row, name in enumerate(some):
            sheet.box(
                x,
                row * 30,
                224,
                26,
                name,
                size=12,
                color=("blue", "gray")[place],
            )
    return sheet.finish()


def clipped(gradient: tuple[Units, Units], limit: Units) -> Picture:
    """A gradient of two numbers, and the one of the same direction within a limit."""
    x, y = gradient
    length = math.hypot(x, y)
    short = x * limit / length, y * limit / length
    sheet = Drawing(
        f"An arrow from the origin to ({x:g}, {y:g}), of length {length:g}, and on it "
        f"one to ({short[0]:g}, {short[1]:g}), which ends on a circle of radius "
        f"{limit:g}."
    )
    unit = 44

    def at(right: Units, up: Units) -> Point:
        return unit * right, -unit * up

    sheet.line([at(-1.3, 0), at(x + 0.6, 0)])
    sheet.line([at(0, -1.3), at(0, y + 0.4)])
    ring = [(limit * math.cos(a / 24), limit * math.sin(a / 24)) for a in range(152)]
    sheet.line([at(*point) for point in ring], color="orange", dashed=True)
    sheet.arrow([at(0, 0), at(x, y)], color="blue", width=2)
    sheet.arrow([at(0, 0), at(*short)], color="orange", width=4)
    sheet.text(at(x + 0.15, y), f"({x:g}, {y:g})", anchor="start", color="blue")
    middle = at(x * 0.6 + 0.2, y * 0.6 - 0.1)
    sheet.text(middle, f"length {length:g}", anchor="start", color="blue")
    told = f"clipped: ({short[0]:.1f}, {short[1]:.1f})"
    sheet.text(at(1.2, 0.4), told, anchor="start", color="orange")
    return sheet.finish()


def stretched(panels: dict[str, Float[Tensor, "2 2"]]) -> Picture:
    """What matrices make of a circle, with two directions followed through them."""
    sheet = Drawing(
        f"{len(panels)} panels with a closed curve and two arrows. What each makes of "
        "a circle: " + "; ".join(f"{name}: {_axes(m)}" for name, m in panels.items())
    )
    matrices = list(panels.values())
    longest = max(torch.linalg.svdvals(matrix)[0].item() for matrix in matrices)
    room = 440 / len(panels)
    unit = (room / 2 - 12) / longest
    angles = torch.arange(73) * math.tau / 72
    circle = torch.stack([angles.cos(), angles.sin()])
    directions = torch.linalg.svd(matrices[1]).Vh  # those of the map in the middle
    for place, (name, matrix) in enumerate(panels.items()):
        x = place * room

        def at(point: Sequence[float], x: float = x) -> Point:
            return x + unit * point[0], -unit * point[1]

        sheet.line([(x - room / 2 + 8, 0), (x + room / 2 - 8, 0)])
        sheet.line([(x, -unit * longest), (x, unit * longest)])
        sheet.line([at(point) for point in (matrix @ circle).T.tolist()], color="blue")
        for direction, color in zip(directions, ("orange", "green"), strict=True):
            end = (matrix @ direction).tolist()
            sheet.arrow([(x, 0), at(end)], color=color, width=2.5)
        for line, text in enumerate(name.split("\n")):
            sheet.text((x, unit * longest + 16 + 16 * line), text, size=13)
    return sheet.finish()


def _axes(matrix: Float[Tensor, "2 2"]) -> str:
    long, short = torch.linalg.svdvals(matrix).tolist()
    return f"half axes {long:.2f} and {short:.2f}"


def batched(
    sizes: Sequence[tuple[int, int, int]], names: Sequence[str] = ()
) -> Picture:
    """Matrices of one shape on one stack, and so one product for each stack."""
    listed = ", ".join(f"{many} of {r} by {c}" for many, r, c in sizes)
    sheet = Drawing(
        f"Matrices {listed}, each shape put on a stack of its own; each stack goes "
        "through one product."
    )
    unit = 44 / max(max(rows, columns) for _, rows, columns in sizes)
    colors = ("blue", "green", "orange", "purple")
    y = 0.0
    for place, (many, rows, columns) in enumerate(sizes):
        color = colors[place % len(colors)]
        wide, tall = unit * columns, unit * rows
        if names:
            sheet.text((0, y - 20), names[place], size=13, anchor="start")
        for number in range(many):
            sheet.box(number * (wide + 12), y, wide, tall, color=color, round=1)
        middle = y + tall / 2
        sheet.arrow([(many * (wide + 12) + 2, middle), (232, middle)])
        for number in reversed(range(many)):
            x = 242 + 7 * number
            sheet.box(x, y - 5 * number, wide, tall, color=color, round=1)
        end = 242 + 7 * many + wide
        sheet.arrow([(end + 4, middle), (end + 32, middle)])
        sheet.text((end + 38, middle), "1 product", size=13, anchor="start")
        y += tall + (52 if names else 34)
    return sheet.finish()
