"""The way of one query, and of one head."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from mini_gpt.support.drawings.attention.numbers import numbers
from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture


def one_query(
    words: Sequence[str],
    query: Float[Tensor, " head_width"],
    keys: Float[Tensor, "words head_width"],
    values: Float[Tensor, "words head_width"],
    *,
    divisor: float = 1.0,
    divided_by: str = "",
) -> Picture:
    """The way of one query: through all keys, the softmax and all values.

    Args:
        divisor: What the scores are divided by.
        divided_by: How the divisor is written, as in "√3"; empty for no division.
    """
    reader = words[-1]
    scores = keys @ query
    scaled = scores / divisor
    weights = scaled.softmax(-1)
    output = weights @ values
    parts = "; ".join(
        f"{word}: key {numbers(key)}, score {score:g}, weight {weight:.2f}, "
        f"value {numbers(value)}"
        for word, key, score, weight, value in zip(
            words, keys, scores.tolist(), weights.tolist(), values, strict=True
        )
    )
    sheet = Drawing(
        f"The query of {reader}, {numbers(query)}, meets five keys. {parts}. Weights "
        f"times values, added up, give the output {numbers(output, '{:.2f}')}."
    )
    left, step, wide = 78, 76, 66
    middle = left + (len(words) - 1) * step / 2 + wide / 2
    asks = sheet.box(
        middle - 90, 0, 180, 30, f"query of {reader}:  {numbers(query)}", color="blue"
    )

    def row(y: float, name: str, texts: Sequence[str], color: str) -> list[Box]:
        sheet.text((0, y + 13), name, size=13, anchor="start")
        return sheet.row(
            left, y, texts, width=wide, gap=step - wide, height=26, colors=color
        )

    for place, word in enumerate(words):
        sheet.text((left + place * step + wide / 2, 79), word, size=14, bold=True)
    keyed = row(90, "keys", [numbers(key) for key in keys], "green")
    y: float = 150
    scored = row(y, "scores", [f"{score:g}" for score in scores.tolist()], "plain")
    for place, (above, below) in enumerate(zip(keyed, scored, strict=True)):
        start = asks.x + 26 + place * 32
        lifted = above.x + above.width / 2, 68
        sheet.arrow([(start, 30), lifted], color="blue")
        sheet.arrow([above.bottom, below.top], "·" if place == 0 else "")
    previous = scored
    if divided_by:
        y += 52
        divided = row(y, f"÷ {divided_by}", [f"{s:.2f}" for s in scaled], "plain")
        for above, below in zip(previous, divided, strict=True):
            sheet.arrow([above.bottom, below.top])
        previous = divided
    ground = y + 118
    sheet.text((0, ground - 40), "softmax:", size=13, anchor="start")
    sheet.text((0, ground - 22), "weights", size=13, anchor="start")
    bars = sheet.bars(
        left + 14, ground, weights.tolist(), width=wide - 28, gap=step - wide + 28,
        height=52, top=1, color="orange",
    )  # fmt: skip
    for above, bar in zip(previous, bars, strict=True):
        sheet.arrow([above.bottom, (bar.x + bar.width / 2, bar.y - 20)])
    times = row(ground + 30, "× values", [numbers(v) for v in values], "purple")
    for bar, value in zip(bars, times, strict=True):
        sheet.arrow([(bar.x + bar.width / 2, ground + 4), value.top])
    total = ground + 96
    result = sheet.box(
        middle - 105, total, 210, 30,
        f"output:  {numbers(output, '{:.2f}')}", color="orange", bold=True,
    )  # fmt: skip
    for place, value in enumerate(times):
        end = result.x + 25 + place * (result.width - 50) / (len(times) - 1)
        weight = weights[place].item()
        sheet.arrow(
            [value.bottom, (end, total)], color="purple", width=0.8 + 6 * weight
        )
    sheet.text((0, total + 13), "add up", size=13, anchor="start")
    return sheet.finish()


def answers(words: Sequence[str]) -> Picture:
    """Each position is asked for the next word, which is the next position's input."""
    sheet = Drawing(
        f"Five positions read {', '.join(words)}; each is asked for the word that "
        "follows. A dashed arrow shows how the input one place to the right would "
        "hand each position its own answer."
    )
    asked = [*words[1:], "?"]
    sheet.text((0, 14), "asked for", size=13, anchor="start")
    sheet.text((0, 104), "reads", size=13, anchor="start")
    options = {"width": 62, "gap": 16, "height": 28}
    above = sheet.row(78, 0, asked, colors="orange", **options)  # type: ignore[arg-type]
    below = sheet.row(78, 90, words, colors="plain", **options)  # type: ignore[arg-type]
    for target, own in zip(above, below, strict=True):
        sheet.arrow([own.top, target.bottom])
    for place in range(len(words) - 1):
        x, y = below[place + 1].top
        start, end = (x - 18, y), (above[place].x + 50, above[place].y + 28)
        sheet.arrow([start, end], color="red", dashed=True)
    sheet.text((78 + 194, 138), "dashed: the answer could be copied", size=13)
    return sheet.finish()


def one_head() -> Picture:
    """One head with the shape of every tensor, for sizes that are all different."""
    sheet = Drawing(
        "One head with its shapes: a stream of batch 2, time 5 and width 12 goes "
        "through three linear maps to queries, keys and values of width 4. Queries "
        "times keys give scores of 5 by 5, scaled, masked and turned into weights by "
        "softmax; weights times values give the output of 5 by 4."
    )
    stream = sheet.box(140, 0, 150, 40, "stream\n(2, 5, 12)", size=13)
    names = [("query", "blue"), ("key", "green"), ("value", "purple")]
    made = []
    for place, (name, color) in enumerate(names):
        x = place * 150
        linear = sheet.box(x, 72, 130, 26, "linear map", color="yellow", size=13)
        part = sheet.box(x, 126, 130, 40, f"{name}\n(2, 5, 4)", color=color, size=13)
        sheet.arrow([stream.bottom, (215, 56), (x + 65, 56), linear.top])
        sheet.arrow([linear.bottom, part.top])
        made.append(part)
    text = "scores  (2, 5, 5)\n÷ √4, mask, softmax"
    weights = sheet.box(40, 204, 200, 44, text, color="orange", size=13)
    sheet.box(140, 288, 150, 40, "output\n(2, 5, 4)", color="orange", size=13)
    sheet.arrow([made[0].bottom, (65, 204)])
    sheet.arrow([made[1].bottom, (215, 204)])
    sheet.text((140, 186), "QKᵀ", size=13)
    sheet.arrow([weights.bottom, (140, 268), (190, 268), (190, 288)])
    sheet.arrow([made[2].bottom, (365, 268), (240, 268), (240, 288)])
    sheet.text((215, 258), "×", size=14)
    return sheet.finish()
