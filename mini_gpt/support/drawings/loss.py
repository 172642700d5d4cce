"""Drawings of the chapter on counting and the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units


def _shown(text: str) -> str:
    return text.replace(" ", "␣").replace("\n", "↵")


def chain(text: str, chances: Sequence[Fraction]) -> Picture:
    """A text as a row of boxes, each step with its probability, and their product."""
    product = math.prod(chances)
    sheet = Drawing(
        f"The characters of {text!r} in a row. An arrow leads from each to the next, "
        f"with its probability: {', '.join(map(str, chances))}. Their product, "
        f"{product}, is the probability of the text."
    )
    boxes = sheet.row(
        0, 0, [_shown(c) for c in text], width=44, height=34, gap=46, mono=True, size=17
    )
    for left, right, chance in zip(boxes, boxes[1:], chances, strict=False):
        middle = (left.right[0] + right.x) / 2
        sheet.arrow([left.right, right.left], color="blue")
        sheet.text((middle, -8), str(chance), size=15, color="blue", bold=True)
    sheet.brace((boxes[0].right[0], 44), (boxes[-1].x, 44), color="blue")
    whole = " × ".join(map(str, chances)) + f" = {product}"
    sheet.text((boxes[2].center[0], 68), whole, size=15)
    return sheet.finish()


def ruler(names: Sequence[str], shares: Sequence[Units], point: Units) -> Picture:
    """A stretch from 0 to 1, cut in shares, and a point that falls into one of them."""
    ends = [float(sum(shares[: place + 1])) for place in range(len(shares))]
    hit = next(place for place, end in enumerate(ends) if point < end)
    sheet = Drawing(
        "A ruler from 0 to 1, cut into one piece for each character: "
        + ", ".join(
            f"{_shown(n)} {float(s):.2f}" for n, s in zip(names, shares, strict=True)
        )
        + f". The point {point} falls into the piece of {_shown(names[hit])}."
    )
    wide = 420
    for place, (name, share) in enumerate(zip(names, shares, strict=True)):
        left = wide * (ends[place] - float(share))
        color = "orange" if place == hit else "plain"
        label = _shown(name)
        sheet.box(
            left, 0, wide * float(share), 36, label, color=color, mono=True, size=16
        )
    for end in [0.0, *ends]:
        sheet.text((wide * end, 50), f"{end:g}", size=12)
    sheet.text((wide * point, -40), f"drawn: {point:g}", size=13, color="orange")
    sheet.arrow([(wide * point, -30), (wide * point, -2)], color="orange", width=2)
    return sheet.finish()


def blend(rows: Sequence[tuple[str, str, Fraction, Fraction, Fraction]]) -> Picture:
    """Estimates from the longest context down to none, each blended with the next.

    Args:
        rows: For each length, longest first: the context, its own estimate in words,
            that estimate, the weight that it keeps, and the blend with all below.
    """
    sheet = Drawing(
        "From top to bottom the contexts grow shorter. Each has its own estimate and "
        "passes the rest of the weight to the blend below it: "
        + "; ".join(
            f"{context} estimates {own} with weight {weight}, blended {mixed}"
            for context, _, own, weight, mixed in rows
        )
    )
    for place, (context, words, own, weight, mixed) in enumerate(rows):
        y = 88 * place
        sheet.box(0, y, 132, 46, f"{context}\n{words}", size=12, color="blue")
        sheet.arrow(
            [(132, y + 23), (222, y + 23)], f"{own} × {weight}", color="blue", width=2
        )
        sheet.circle((236, y + 23), 13, "+")
        sheet.arrow([(249, y + 23), (300, y + 23)])
        sheet.box(300, y, 110, 46, f"blended\n{mixed}", size=13, color="orange")
        if place:
            sheet.arrow([(355, y), (355, y - 20), (236, y - 20), (236, y - 51)])
            rest = 1 - rows[place - 1][3]
            sheet.text((300, y - 29), f"× {rest}", size=13)
    return sheet.finish()


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
        sheet.text((x + 23, -14), _shown(name), size=14, mono=True, bold=True)
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
        sheet.text((x, 14), _shown(name), mono=True, bold=place == target)
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


def intervals(
    steps: Sequence[tuple[str, Sequence[str], Sequence[Fraction]]],
) -> Picture:
    """An interval that shrinks: each row shows the part that the row above chose.

    Args:
        steps: For each character: itself, all that could come, and their shares.
    """
    sheet = Drawing(
        "Rows of an interval. In each, every possible character has a part as wide as "
        "its probability; the part of the one that came is drawn to full width in the "
        "next row: " + ", ".join(_shown(step[0]) for step in steps) + "."
    )
    low, width, wide = Fraction(0), Fraction(1), 430
    for row, (came, names, shares) in enumerate(steps):
        y, left = 92 * row, Fraction(0)
        for name, share in zip(names, shares, strict=True):
            x, span = float(wide * left), float(wide * share)
            color = "orange" if name == came else "plain"
            label = _shown(name) if span > 14 else ""
            sheet.box(x, y, span, 32, label, color=color, mono=True, size=15)
            if name == came:
                sheet.line([(x, y + 32), (0, y + 92)], color="orange", dashed=True)
                ends = [(x + span, y + 32), (wide, y + 92)]
                sheet.line(ends, color="orange", dashed=True)
                chosen = left, share
            left += share
        sheet.text((4, y + 44), f"{float(low):.4f}", size=12, anchor="start")
        end = f"{float(low + width):.4f}"
        sheet.text((wide - 4, y + 44), end, size=12, anchor="end")
        low, width = low + width * chosen[0], width * chosen[1]
    y = 92 * len(steps)
    text = f"what is left is {width} = {float(width):.4f} wide"
    sheet.box(0, y, wide, 32, text, color="orange", size=14)
    sheet.text((4, y + 44), f"{float(low):.4f}", size=12, anchor="start")
    sheet.text((wide - 4, y + 44), f"{float(low + width):.4f}", size=12, anchor="end")
    return sheet.finish()


def two_cuts(
    cuts: Sequence[tuple[str, Sequence[str], Sequence[Units]]],
) -> Picture:
    """One text in two tokenizations, the surprisal of each token below it.

    Args:
        cuts: For each: a name, the texts of the tokens, and their surprisals in nats.
    """
    said = [
        f"{name}: {len(parts)} tokens, {sum(nats) / len(nats):.2f} nats per token, "
        f"{sum(nats):.1f} in all"
        for name, parts, nats in cuts
    ]
    sheet = Drawing("One text cut into tokens in two ways. " + "; ".join(said) + ".")
    letter = 454 / max(len("".join(parts)) for _, parts, _ in cuts)
    for row, ((_, parts, nats), words) in enumerate(zip(cuts, said, strict=True)):
        y, x = 96 * row, 0.0
        sheet.text((0, y - 12), words, size=12.5, anchor="start")
        for place, (part, nat) in enumerate(zip(parts, nats, strict=True)):
            span, color = letter * len(part), ("blue", "plain")[place % 2]
            size = min(15, letter / 0.62)
            label = _shown(part)
            sheet.box(x, y, span, 26, label, color=color, mono=True, size=size)
            sheet.text((x + span / 2, y + 38), f"{nat:.1f}", size=11)
            x += span
    return sheet.finish()


def windows(sizes: Sequence[int], means: Sequence[Units]) -> Picture:
    """Windows side by side over a row of tokens; the last one is shorter."""
    total = sum(size * mean for size, mean in zip(sizes, means, strict=True))
    sheet = Drawing(
        "A row of tokens cut into windows of "
        + ", ".join(map(str, sizes))
        + " targets, each with its mean loss: "
        + ", ".join(f"{mean:.2f}" for mean in means)
        + ". The mean of these means counts the tokens of the short window more."
    )
    x, cell = 0, 20
    for place, (size, mean) in enumerate(zip(sizes, means, strict=True)):
        color = ("blue", "green", "orange")[place % 3]
        sheet.row(x, 0, [""] * size, width=cell, height=26, colors=color)
        right = x + size * cell
        sheet.brace((x, 30), (right, 30), f"mean {mean:.2f}")
        share = f"{size} × {mean:.2f}"
        sheet.text(((x + right) / 2, 70), share, size=13)
        x = right + 10
    mean_of_means = sum(means) / len(means)
    text = f"({' + '.join(f'{m:.2f}' for m in means)}) / {len(means)}"
    sheet.text((0, 98), f"{text} = {mean_of_means:.2f}, wrong", size=13, anchor="start")
    text = " + ".join(f"{s} × {m:.2f}" for s, m in zip(sizes, means, strict=True))
    right_one = f"({text}) / {sum(sizes)} = {total / sum(sizes):.2f}, right"
    sheet.text((0, 120), right_one, size=13, anchor="start")
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


def discount(names: Sequence[str], counts: Sequence[int], taken: Units) -> Picture:
    """Counts of which a fixed amount is cut off and handed to the shorter context."""
    sheet = Drawing(
        f"Counts as columns; from each that is not zero {taken} is cut off. What was "
        "cut off, together, goes to the shorter context."
    )
    unit = 26
    for place, (name, count) in enumerate(zip(names, counts, strict=True)):
        x = 62 * place
        if count:
            kept = unit * (count - taken)
            sheet.box(x, -kept, 46, kept, color="blue", round=0)
            top = -unit * count
            sheet.box(
                x, top, 46, unit * taken, f"{taken:g}", color="orange", size=12, round=0
            )
        sheet.text((x + 23, 14), _shown(name), mono=True)
    right = 62 * len(names) - 16
    sheet.line([(-4, 0), (right, 0)])
    cut = taken * sum(count > 0 for count in counts)
    text = f"{cut:g} of {sum(counts)}\nto the shorter\ncontext"
    box = sheet.box(right + 48, -78, 110, 64, text, color="orange", size=13)
    sheet.arrow([(right + 8, -46), box.left], color="orange", width=2)
    return sheet.finish()


def ladder(marks: Sequence[tuple[str, Units]], unit: str) -> Picture:
    """Losses as steps down a pole, the worst on top, room for better models below."""
    ordered = sorted(marks, key=lambda mark: -mark[1])
    sheet = Drawing(
        f"A ladder of losses in {unit}, from the worst down: "
        + ", ".join(f"{name} {value:.2f}" for name, value in ordered)
        + ". Below the last is the place of the models to come."
    )
    scale, last = 70, -math.inf
    lowest = ordered[-1][1] - 0.35
    sheet.arrow([(60, 0), (60, scale * (ordered[0][1] - lowest) + 14)], width=2)
    for name, value in ordered:
        y = scale * (ordered[0][1] - value) + 6
        label = max(y, last + 19)  # two that are close are written below each other
        last = label
        sheet.line([(60, y), (84, y), (104, label)], color="blue")
        sheet.text((110, label), f"{name}  {value:.2f}", anchor="start", size=14)
    y = max(scale * (ordered[0][1] - lowest) + 14, last + 22)
    text = "room for better models"
    sheet.text((110, y), text, anchor="start", size=14, color="orange", bold=True)
    return sheet.finish()


def after(context: str, counted: Sequence[tuple[str, int]]) -> Picture:
    """How often each character followed a context, the most frequent first."""
    sheet = Drawing(
        f"Bars: what followed {context!r}, and how often: "
        + ", ".join(f"{_shown(name)} {count}" for name, count in counted)
    )
    sheet.row(0, -28, [_shown(c) for c in context], width=24, mono=True)
    sheet.arrow([(24 * len(context), -14), (24 * len(context) + 34, -14)])
    names, counts = zip(*counted, strict=True)
    sheet.bars(
        24 * len(context) + 44,
        0,
        counts,
        [_shown(name) for name in names],
        width=28,
        height=70,
        numbers="{:.0f}",
    )
    return sheet.finish()


def sorted_runs(text: str, alphabet: Sequence[str]) -> Picture:
    """The runs of two in a text as sorted numbers, those of one context together."""
    pairs: dict[str, int] = {}
    for place in range(len(text) - 1):
        pair = text[place : place + 2]
        pairs[pair] = pairs.get(pair, 0) + 1
    size = len(alphabet)
    runs = sorted(
        (size * alphabet.index(p[0]) + alphabet.index(p[1]), p) for p in pairs
    )
    shown = [(number, pair) for number, pair in runs if pair[0] in "eot"]
    sheet = Drawing(
        "Part of the sorted runs of two: each pair, the number it is written as, and "
        "its count. Pairs that begin with the same character stand together, with the "
        "sum of their counts and how many they are: "
        + ", ".join(f"{_shown(p)} is {n}, {pairs[p]} times" for n, p in shown)
    )
    for place, (number, pair) in enumerate(shown):
        x = 96 + 52 * place
        color = {"e": "green", "o": "orange", "t": "blue"}[pair[0]]
        sheet.text((x + 26, -14), _shown(pair), mono=True)
        sheet.row(x, 0, [str(number)], width=52, colors=color)
        sheet.row(x, 28, [str(pairs[pair])], width=52)
    for y, label in ((-14, "pair"), (14, "number"), (42, "count")):
        sheet.text((84, y), label, anchor="end")
    for context in "eot":
        group = [k for k, (_, pair) in enumerate(shown) if pair[0] == context]
        total = sum(pairs[shown[k][1]] for k in group)
        ends = (98 + 52 * group[0], 62), (94 + 52 * (group[-1] + 1), 62)
        sheet.brace(*ends, f"N {total}, K {len(group)}")
    first = alphabet.index("o"), alphabet.index("r")
    sum_of = f"{size} × {first[0]} + {first[1]} = {size * first[0] + first[1]}"
    sheet.text((96, 104), f"“or” is {sum_of}", size=13, anchor="start", color="orange")
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


def message(bits: int, surprisal: Units, plain: int) -> Picture:
    """The length of a coded text beside its surprisal and its length as bytes."""
    sheet = Drawing(
        f"Three bars to one scale: {plain} bits as plain bytes, {surprisal:.1f} bits "
        f"of surprisal, and the message of {bits} bits, longer than the surprisal by "
        "an end mark only."
    )
    wide = 310 / plain
    for row, (name, long, color) in enumerate(
        (
            ("bytes", plain, "plain"),
            ("surprisal", surprisal, "blue"),
            ("message", bits, "orange"),
        )
    ):
        y = 34 * row
        sheet.box(0, y, wide * long, 24, color=color, round=0)
        sheet.text((-8, y + 12), name, anchor="end")
        sheet.text((wide * long + 8, y + 12), f"{long:,.0f}", anchor="start", size=13)
    return sheet.finish()


def asked(given: str, came: str) -> Picture:
    """The three questions that a language model answers, about one small text.

    Args:
        given: The text so far.
        came: What it is continued with when the model writes.
    """
    sheet = Drawing(
        f"The model in the middle, given the text {given!r}. Three arrows lead to what "
        "it answers: log_probs, whether each character was expected; probabilities, "
        f"what comes next; and sample, the text written on as {given + came!r}."
    )
    text = sheet.row(0, 76, [_shown(c) for c in given], width=22, mono=True)
    model = sheet.box(146, 62, 96, 56, "NGram\nModel", color="orange", bold=True)
    sheet.arrow([text[-1].right, model.left])
    for row, (name, answer) in enumerate(
        (
            ("log_probs", "was each expected?"),
            ("probabilities", "what comes next?"),
            ("sample", f"write on: {_shown(given + came)}"),
        )
    ):
        y = 62 * row
        box = sheet.box(290, y, 170, 48, f"{name}\n{answer}", size=13)
        sheet.arrow([model.right, (266, 90), (266, box.left[1]), box.left])
    return sheet.finish()


def compared(found: Sequence[tuple[str, Units, Units]]) -> Picture:
    """Two models in two measures, which disagree about the better one.

    Args:
        found: For each model: its name, its nats per token and its bits per byte.
    """
    said = [f"{name} {nats:.2f} and {bits:.2f}" for name, nats, bits in found]
    sheet = Drawing(
        "Two groups of bars, nats per token on the left, bits per byte on the right: "
        + ", ".join(said)
        + ". In one group the first model has the lower bar, in the other the second."
    )
    for group, title in enumerate(("nats per token", "bits per byte")):
        x = 200 * group
        values = [(nats, bits)[group] for _, nats, bits in found]
        names = [name for name, _, _ in found]
        sheet.bars(x, 0, values, names, width=56, gap=34, top=6)
        sheet.text((x + 73, 34), title, bold=True)
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
