"""Drawings of the chapter on diagnostics: matrices, products, memory, and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units

COLORS = ("blue", "orange", "green", "purple", "yellow", "red")


def matrices(width: int, hidden: int) -> Picture:
    """The four matrices of a block, drawn to scale."""
    names = {
        "query, key, value": (width, 3 * width, "blue"),
        "output": (width, width, "blue"),
        "expand": (width, hidden, "orange"),
        "contract": (hidden, width, "orange"),
    }
    sheet = Drawing(
        f"The four matrices of a block to scale. Attention has {3 * width} by {width} "
        f"for query, key and value and {width} by {width} for the output; the "
        f"feed-forward network has {hidden} by {width} and {width} by {hidden}, twice "
        "the area of attention's."
    )
    unit = 130 / hidden
    left: Units = 0
    for name, (inputs, outputs, color) in names.items():
        wide, tall = inputs * unit, outputs * unit
        place = left + 54
        sheet.box(place - wide / 2, 140 - tall, wide, tall, color=color, round=0)
        sheet.text((place, 156), name, size=13, bold=True)
        sheet.text((place, 174), f"{outputs} × {inputs}", size=12)
        left += 110
    sheet.brace((2, 190), (212, 190), f"attention: {4 * width**2:,}", color="blue")
    total = f"feed-forward: {2 * width * hidden:,}"
    sheet.brace((222, 190), (436, 190), total, color="orange")
    return sheet.finish()


def three_products(rows: int, inputs: int, outputs: int) -> Picture:
    """The product of the forward pass, and the two of the backward pass."""
    sheet = Drawing(
        f"Three products with one matrix W of {inputs} by {outputs}. Forward: x, "
        f"{rows} by {inputs}, times W gives y, {rows} by {outputs}. Backward: the "
        "gradient of y times W transposed gives the gradient of x; x transposed times "
        "the gradient of y gives the gradient of W. All take equally many operations."
    )
    lines = [
        ("forward", "x", (rows, inputs), "W", (inputs, outputs), "y", (rows, outputs)),
        (
            "backward",
            "∂y",
            (rows, outputs),
            "Wᵀ",
            (outputs, inputs),
            "∂x",
            (rows, inputs),
        ),
        (
            "backward",
            "xᵀ",
            (inputs, rows),
            "∂y",
            (rows, outputs),
            "∂W",
            (inputs, outputs),
        ),
    ]
    for number, (when, a, a_size, b, b_size, c, c_size) in enumerate(lines):
        y = number * 58
        sheet.text((-10, y + 19), when, size=13, anchor="end", color="gray")
        for place, (name, size) in enumerate(((a, a_size), (b, b_size), (c, c_size))):
            color = "yellow" if "W" in name else "blue"
            text = f"{name}\n{size[0]} × {size[1]}"
            sheet.box(place * 126, y, 92, 40, text, color=color, size=13)
        sheet.text((109, y + 19), "·", size=16, bold=True)
        sheet.text((235, y + 19), "=", size=16, bold=True)
    flops = 2 * rows * inputs * outputs
    total = f"each product: {flops:,} operations"
    sheet.text((172, 178), total, size=13)
    return sheet.finish()


def memory(parts: Mapping[str, Units], title: str) -> Picture:
    """What fills the memory in training: one bar, to scale.

    Args:
        parts: Bytes by the name of the part.
    """
    total = sum(parts.values())
    said = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in parts.items())
    sheet = Drawing(f"Memory of {title} as one bar to scale, in megabytes: {said}.")
    sheet.text((0, -16), title, size=13, anchor="start", bold=True)
    left: Units = 0
    for place, (name, size) in enumerate(parts.items()):
        wide = 450 * size / total
        color = COLORS[place % len(COLORS)]
        sheet.box(left, 0, wide, 44, color=color, round=0)
        y = 66 + 20 * place
        sheet.box(0, y - 7, 14, 14, color=color, round=0)
        sheet.text((22, y), name, size=13, anchor="start")
        sheet.text((330, y), f"{size / 1e6:,.1f} MB", size=13, anchor="end")
        left += wide
    return sheet.finish()


def change_one(time: int, place: int) -> Picture:
    """One input is changed: these outputs may move, those may not."""
    sheet = Drawing(
        f"A row of {time} inputs below a row of {time} outputs. The input at position "
        f"{place} is changed. The outputs from {place} on may move; an output before "
        "it that moves has seen the future."
    )
    colors = ["red" if t == place else "plain" for t in range(time)]
    inputs = [f"x{t}" if t != place else f"x{t}′" for t in range(time)]
    below = sheet.row(0, 100, inputs, width=58, gap=12, height=32, colors=colors)
    colors = ["green" if t < place else "orange" for t in range(time)]
    outputs = [f"y{t}" for t in range(time)]
    above = sheet.row(0, 10, outputs, width=58, gap=12, height=32, colors=colors)
    for t in range(time):
        late = t >= place
        color = "orange" if late else "red"
        sheet.arrow([below[place].top, above[t].bottom], color=color, dashed=not late)
    if place:
        ends = (above[0].x, 2), (above[place - 1].right[0], 2)
        sheet.brace(*ends, "must stay", below=False, color="green")
    ends = (above[place].x, 2), (above[-1].right[0], 2)
    sheet.brace(*ends, "may move", below=False, color="orange")
    return sheet.finish()


def permuted(order: Sequence[int]) -> Picture:
    """Inputs in another order, through a part that sees a set."""
    sheet = Drawing(
        f"Inputs in the order {list(order)} instead of 0, 1, 2 and so on enter "
        "attention without positions or mask. Each output is the one that its input "
        "gave before, in the same new order."
    )
    time = len(order)
    plain = sheet.row(0, 0, [f"y{t}" for t in range(time)], width=52, gap=14)
    after = sheet.row(
        0, 84, [f"y{t}" for t in order], width=52, gap=14, colors="orange"
    )
    part = sheet.box(-6, 136, time * 66, 34, "attention: no positions, no mask")
    inputs = sheet.row(
        0, 196, [f"x{t}" for t in order], width=52, gap=14, colors="blue"
    )
    for place, source in enumerate(order):
        sheet.arrow([plain[source].bottom, after[place].top], color="gray")
        sheet.arrow([inputs[place].top, (inputs[place].top[0], 170)])
        sheet.arrow([(after[place].bottom[0], part.y), after[place].bottom])
    sheet.text((-16, 14), "before", size=12, anchor="end", color="gray")
    sheet.text((-16, 98), "now", size=12, anchor="end", color="gray")
    return sheet.finish()


def rows_apart(batch: int, time: int, changed: int) -> Picture:
    """A batch with one row changed: the outputs of all other rows must stay."""
    sheet = Drawing(
        f"A batch of {batch} rows of {time} positions goes through a module. Row "
        f"{changed} is changed at the input. At the output only row {changed} may "
        "differ; every other row must be as before."
    )
    for row in range(batch):
        y, own = row * 34, row == changed
        color = "red" if own else "plain"
        cells = sheet.row(0, y, [""] * time, width=26, height=24, colors=color)
        color = "orange" if own else "green"
        after = sheet.row(250, y, [""] * time, width=26, height=24, colors=color)
        sheet.arrow([cells[-1].right, after[0].left])
        said = "may move" if own else "stays"
        right = after[-1].right[0] + 8
        sheet.text((right, y + 12), said, size=12, anchor="start", color="gray")
    module = sheet.box(158, -6, 66, batch * 34 + 2, "module", size=13)
    assert module.height > 0
    return sheet.finish()


def planner(answers: Mapping[str, str]) -> Picture:
    """From a shape and a machine to hours: which number comes from where."""
    said = "; ".join(f"{name}: {value}" for name, value in answers.items())
    sheet = Drawing(
        "A plan in three steps: operations for a token times tokens gives all "
        "operations; divided by the operations a second that the machine reaches, this "
        f"is the time. {said}."
    )
    names = list(answers)
    boxes = []
    for place, name in enumerate(names):
        color = ("blue", "blue", "orange", "green", "yellow")[place % 5]
        y = place * 54
        boxes.append(sheet.box(150, y, 150, 36, answers[name], color=color, bold=True))
        sheet.text((140, y + 18), name, size=13, anchor="end")
    signs = ("×", "=", "÷", "=")
    for sign, box in zip(signs, boxes, strict=False):
        sheet.text((225, box.y + 45), sign, size=15, bold=True)
    return sheet.finish()


def put_aside(sizes: Sequence[str]) -> Picture:
    """What two steps keep for the backward pass: a result, and a weight.

    Args:
        sizes: Of x, of ReLU's result, of the weight, and of y.
    """
    x, bent, weight, y = sizes
    sheet = Drawing(
        f"From left to right x, {x}, goes through ReLU and becomes {bent}; "
        f"times the weight, {weight}, it becomes y, {y}. On a shelf for the backward "
        "pass lie ReLU's result and the weight. Going back, each step takes from it "
        "what its gradient needs."
    )
    names = (("x", x, "blue"), ("ReLU(x)", bent, "orange"), ("y", y, "blue"))
    boxes = []
    for place, (name, size, color) in enumerate(names):
        text = f"{name}\n{size}"
        boxes.append(sheet.box(place * 165, 0, 96, 42, text, color=color, size=13))
    sheet.arrow([boxes[0].right, boxes[1].left], "ReLU")
    sheet.arrow([boxes[1].right, boxes[2].left], "· W")
    shelf = sheet.box(100, 96, 300, 66, "", color="gray", dashed=True)
    sheet.text((250, 150), "put aside for the backward pass", size=12, color="gray")
    kept = sheet.box(165, 104, 96, 32, bent, color="orange", size=13)
    sheet.box(268, 104, 96, 32, f"W {weight}", color="yellow", size=13)
    sheet.arrow([boxes[1].bottom, kept.top], color="orange")
    sheet.arrow([(293, 24), (293, 104)])
    assert shelf.height > 0
    return sheet.finish()


def examination(patient: str, questions: Mapping[str, str]) -> Picture:
    """One model, and the questions that are put to it, each with its experiment."""
    said = "; ".join(f"{name}: {how}" for name, how in questions.items())
    sheet = Drawing(
        f"To {patient} these questions are put, each by an experiment. {said}."
    )
    tall = len(questions) * 40 - 8
    sheet.box(0, 0, 84, tall, patient.replace(" ", "\n"), color="blue", bold=True)
    for place, (name, how) in enumerate(questions.items()):
        y = place * 40
        box = sheet.box(116, y, 108, 32, name, color="yellow", size=13)
        sheet.arrow([box.left, (84, y + 16)])
        sheet.text((234, y + 16), how, size=12, anchor="start")
    return sheet.finish()
