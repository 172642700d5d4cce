"""One loss beside another: in which unit, over how many tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.loss.words import shown
from mini_gpt.support.drawings.picture import Picture, Units


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
            label = shown(part)
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
