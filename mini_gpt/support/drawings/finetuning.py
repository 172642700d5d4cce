"""Drawings for the chapter on fine-tuning: turns, low-rank maps, what is trained."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, text_width


def chat(turns: Sequence[tuple[str, str, bool | None]]) -> Picture:
    """Commands and the answers to them; each answer right, wrong, or not marked."""
    marks = {True: "right", False: "wrong", None: ""}
    told = "; ".join(
        f"{asked}, answered {' '.join(said.split())[:60] or 'nothing'} {marks[mark]}"
        for asked, said, mark in turns
    )
    sheet = Drawing(f"A conversation with the model. {told}.")
    y: Units = 0
    for asked, said, mark in turns:
        wide = text_width(asked, 13) + 24
        sheet.box(0, y, wide, 28, asked, color="gray", size=13, round=10)
        y += 36
        lines = [
            part
            for line in (said or "(nothing)").splitlines()[:3]
            for part in textwrap.wrap(line, 44)[:2] or [""]
        ]
        color = {True: "green", False: "red", None: "plain"}[mark]
        wide = max(text_width(line, 13) for line in lines) + 24
        height = 16 * len(lines) + 14
        text = "\n".join(lines)
        sheet.box(460 - wide, y, wide, height, text, color=color, size=13, round=10)
        if mark is not None:
            at = 450 - wide, y + height / 2
            sheet.text(at, marks[mark], size=12, anchor="end", color=color)
        y += height + 12
    return sheet.finish()


def mask(inputs: Sequence[str], targets: Sequence[str | None]) -> Picture:
    """What the model reads, and below each token what it has to predict, if anything.

    Args:
        targets: None where nothing is to be predicted.
    """
    counted = [token for token in targets if token is not None]
    sheet = Drawing(
        f"The tokens {' '.join(inputs)} in a row. Below them are the targets: none "
        f"below the user's words, then {' '.join(counted)}."
    )
    x: Units = 0
    y: Units = 0
    for token, target in zip(inputs, targets, strict=True):
        shown = token.replace(" ", "␣").replace("\n", "⏎")
        wanted = "–" if target is None else target.replace(" ", "␣")
        wide = max(text_width(shown, 12, mono=True), text_width(wanted, 12, mono=True))
        wide = max(wide + 8, 30)
        if x + wide > 440:
            x, y = 0, y + 96
        color = "gray" if target is None else "blue"
        top = sheet.box(x, y, wide, 26, shown, color=color, size=12, mono=True)
        aim = "plain" if target is None else "orange"
        low = sheet.box(
            x,
            y + 48,
            wide,
            26,
            wanted,
            color=aim,
            size=12,
            mono=True,
            dashed=target is None,
        )
        if target is not None:
            sheet.arrow([top.bottom, low.top])
        x += wide + 4
    return sheet.finish()


def low_rank(outputs: int, inputs: int, rank: int) -> Picture:
    """A large frozen map, and a path beside it through a few numbers."""
    large, small = outputs * inputs, rank * (outputs + inputs)
    sheet = Drawing(
        f"A vector of {inputs} numbers goes two ways: through a frozen map of "
        f"{large:,} weights, and through two maps by way of {rank} numbers, {small:,} "
        f"weights that are trained. Both results, {outputs} numbers each, are added."
    )
    sheet.box(0, 74, 70, 40, f"stream\n{inputs}", color="blue", size=13)
    base = sheet.box(
        150, 0, 150, 70, f"base, frozen\n{outputs} × {inputs}", color="gray"
    )
    down = sheet.box(
        116, 128, 84, 44, f"down\n{rank} × {inputs}", color="orange", size=13
    )
    few = sheet.box(218, 136, 28, 28, str(rank), color="blue", size=13)
    up = sheet.box(264, 128, 84, 44, f"up\n{outputs} × {rank}", color="orange", size=13)
    plus = sheet.circle((378, 94), 14, "+")
    sheet.arrow([(70, 86), (92, 86), (92, 35), (150, 35)])
    sheet.arrow([(70, 102), (92, 102), (92, 150), (116, 150)])
    sheet.arrow([down.right, few.left])
    sheet.arrow([few.right, up.left])
    sheet.arrow([base.right, (378, 35), plus.top])
    sheet.arrow([up.right, (378, 150), plus.bottom])
    sheet.arrow([plus.right, (420, 94)])
    sheet.text((225, 84), f"{large:,} weights", size=12, color="gray")
    sheet.text((232, 188), f"{small:,} weights, trained", size=12, color="orange")
    sheet.text((424, 94), str(outputs), size=13, anchor="start")
    return sheet.finish()


def three_ways(layers: int, trained: Mapping[str, int], total: int) -> Picture:
    """What is trained in each way: all of a model, the head alone, maps beside it."""
    told = ", ".join(f"{name} {count:,}" for name, count in trained.items())
    sheet = Drawing(
        f"A model three times, what is trained in orange. Of {total:,} weights: {told}."
    )
    for place, (name, count) in enumerate(trained.items()):
        x = place * 158
        everything, beside = count >= total, place == len(trained) - 1
        sheet.text((x + 60, 0), name, size=13, bold=True)
        color = "orange" if place != len(trained) - 1 else "gray"
        sheet.box(x, 16, 120, 26, "head", color=color, size=13)
        color = "orange" if everything else "gray"
        for layer in range(layers):
            y = 50 + 32 * layer
            sheet.box(x, y, 120, 26, f"block {layers - layer}", color=color, size=13)
            if beside:
                sheet.box(x + 124, y, 16, 26, color="orange")
        y = 50 + 32 * layers
        sheet.box(x, y, 120, 26, "embedding", color=color, size=13)
        sheet.text((x + 60, y + 42), f"{count:,}", size=13, color="orange")
    return sheet.finish()


def shipped(sizes: Mapping[str, int], made: str) -> Picture:
    """Files that together make a model, each with its size."""
    told = " and ".join(f"{name} of {size:,} bytes" for name, size in sizes.items())
    sheet = Drawing(f"Two files, {told}, are put together to {made}.")
    largest = max(sizes.values())
    y: Units = 0
    ends = []
    for name, size in sizes.items():
        wide = max(10, 200 * (size / largest) ** 0.5)
        sheet.text((0, y), f"{name}: {size / 1e6:.2f} MB", size=13, anchor="start")
        color = "gray" if size == largest else "orange"
        ends.append(sheet.box(0, y + 14, wide, 34, color=color))
        y += 76
    goal = sheet.box(290, 44, 170, 44, made, color="green", size=13)
    for end in ends:
        middle = end.right[1]
        sheet.arrow([end.right, (260, middle), (260, 66), goal.left])
    return sheet.finish()


def classes(
    words: Sequence[str], names: Sequence[str], scores: Sequence[float]
) -> Picture:
    """A text becomes vectors, their mean, and a score for each class."""
    best = names[max(range(len(names)), key=lambda place: scores[place])]
    sheet = Drawing(
        f"The tokens {' '.join(words)} go through the model; the mean of their vectors "
        f"goes to a linear map with a score for each of {' and '.join(names)}. "
        f"{best} has the highest."
    )
    wide = (460 - 4 * (len(words) - 1)) / len(words)
    small = 12 if all(text_width(word, 12) < wide for word in words) else 11
    tokens = sheet.row(
        0, 0, list(words), width=wide, gap=4, height=26, size=small, colors="blue"
    )
    model = sheet.box(
        0, 48, 460, 34, "the model: one vector for each token", color="gray"
    )
    for token in tokens:
        middle = token.center[0]
        sheet.arrow([token.bottom, (middle, 48)])
        sheet.arrow([(middle, model.bottom[1]), (middle, 104)])
    mean = sheet.box(0, 104, 460, 28, "mean of the vectors", color="blue", size=13)
    head = sheet.box(130, 154, 200, 30, "head: a linear map", color="orange", size=13)
    sheet.arrow([mean.bottom, head.top])
    each = 460 / len(names)
    for place, (name, score) in enumerate(zip(names, scores, strict=True)):
        color = "green" if name == best else "plain"
        text = f"{name} {score:+.2f}"
        box = sheet.box(
            place * each + 10, 210, each - 20, 30, text, color=color, size=13
        )
        sheet.arrow([head.bottom, box.top])
    return sheet.finish()


def memory(rows: Mapping[str, Mapping[str, int]]) -> Picture:
    """What is held while training, a bar for each way, its parts side by side."""
    colors = ("gray", "blue", "orange", "purple")
    totals = {name: sum(parts.values()) for name, parts in rows.items()}
    told = "; ".join(
        f"{name}: "
        + ", ".join(f"{part} {size / 1e6:.1f} MB" for part, size in x.items())
        for name, x in rows.items()
    )
    sheet = Drawing(f"Memory while training. {told}.")
    widest = max(totals.values())
    for row, (name, parts) in enumerate(rows.items()):
        y = row * 66
        sheet.text((0, y), name, size=13, anchor="start", bold=True)
        total = f"{totals[name] / 1e6:.1f} MB"
        sheet.text((460, y), total, size=13, anchor="end")
        x: Units = 0
        for color, size in zip(colors, parts.values(), strict=False):
            wide = 460 * size / widest
            sheet.box(x, y + 14, max(wide, 1), 26, color=color, round=1)
            x += wide
    y = len(rows) * 66
    x = 0
    for color, part in zip(colors, next(iter(rows.values())), strict=False):
        sheet.box(x, y, 16, 16, color=color, round=1)
        sheet.text((x + 22, y + 8), part, size=12, anchor="start")
        x += 40 + text_width(part, 12)
    return sheet.finish()


def template(prompt: Sequence[str], answer: Sequence[str]) -> Picture:
    """Who writes which tokens: the user's turn, the model's turn, the marks between."""
    sheet = Drawing(
        f"The template. Given are the tokens {' '.join(prompt)}; the model writes "
        f"{' '.join(answer)}."
    )
    x: Units = 0
    y: Units = 0
    rows: list[tuple[Units, Units, Units, str]] = []
    for name, tokens in (("given", prompt), ("written by the model", answer)):
        if x:  # each turn begins a line
            x, y = 0, y + 66
        begin = x
        for token in tokens:
            shown = token.replace(" ", "␣").replace("\n", "⏎")
            wide = max(text_width(shown, 12, mono=True) + 8, 26)
            if x + wide > 440:
                rows.append((begin, x - 4, y, ""))
                x, y = 0, y + 66
                begin = 0
            mark = token.startswith("<|")
            color = "purple" if mark else "gray" if tokens is prompt else "orange"
            sheet.box(x, y, wide, 28, shown, color=color, size=12, mono=True)
            x += wide + 4
        rows.append((begin, x - 4, y, name))
    for begin, end, at, name in rows:
        if end > begin:
            sheet.line([(begin, at + 34), (end, at + 34)])
        if name:
            sheet.text(((begin + end) / 2, at + 45), name, size=12)
    return sheet.finish()


def two_trainings(before: Mapping[str, str], after: Mapping[str, str]) -> Picture:
    """Pre-training and fine-tuning one after the other, with what each was given."""
    told = [", ".join(f"{k} {v}" for k, v in some.items()) for some in (before, after)]
    sheet = Drawing(
        f"Random weights become the shipped model by pre-training ({told[0]}), and "
        f"that becomes a model that obeys by fine-tuning ({told[1]})."
    )
    names = ("random\nweights", "writes like\nShakespeare", "obeys")
    colors = ("gray", "blue", "green")
    boxes = [
        sheet.box(place * 178, 40, 94, 48, name, color=color, size=13)
        for place, (name, color) in enumerate(zip(names, colors, strict=True))
    ]
    for start, end, name, facts in (
        (boxes[0], boxes[1], "pre-training", before),
        (boxes[1], boxes[2], "fine-tuning", after),
    ):
        sheet.arrow([start.right, end.left], width=3)
        middle = (start.right[0] + end.left[0]) / 2
        sheet.text((middle, 22), name, size=13, bold=True)
        for line, (what, how) in enumerate(facts.items()):
            sheet.text((middle, 108 + 17 * line), f"{what}: {how}", size=12)
    return sheet.finish()
