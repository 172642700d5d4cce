"""Drawings of the chapter on attention."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from jaxtyping import Bool, Float
from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture


def _numbers(row: Sequence[float] | Tensor, form: str = "{:g}") -> str:
    return " ".join(form.format(float(number)) for number in row)


def reading(
    words: Sequence[str], weights: Float[Tensor, " words"], reader: str
) -> Picture:
    """What a word receives of each word: the wider the line, the larger the share."""
    shares = [f"{weight:.2f} of {w}" for w, weight in zip(words, weights, strict=True)]
    sheet = Drawing(
        f"What {reader} receives: {', '.join(shares)}; the width of each line from a "
        "word shows its share."
    )
    width, gap = 72, 18
    whole = len(words) * (width + gap) - gap
    receives = sheet.box(
        whole / 2 - 90, 0, 180, 34, f"what {reader} receives", color="orange", size=13
    )
    boxes = sheet.row(0, 132, words, width=width, gap=gap, height=30, size=13)
    for place, (box, weight) in enumerate(zip(boxes, weights.tolist(), strict=True)):
        x, y = box.top
        end = receives.x + 30 + place * (receives.width - 60) / max(1, len(words) - 1)
        if weight > 0:
            ends = [(x, y - 18), (end, receives.y + receives.height)]
            sheet.arrow(ends, color="blue", width=0.8 + 7 * weight)
        sheet.text((x, y - 9), f"{weight:.2f}", size=13, bold=weight == max(weights))
    return sheet.finish()


def softmax_steps(words: Sequence[str], scores: Float[Tensor, " words"]) -> Picture:
    """Scores, their exponentials and the shares of the sum, as three groups of bars."""
    exponentials = scores.exp()
    shares = scores.softmax(-1)
    listed = ", ".join(
        f"{word} {score:g}, {exponential:.1f}, {share:.2f}"
        for word, score, exponential, share in zip(
            words, scores.tolist(), exponentials.tolist(), shares.tolist(), strict=True
        )
    )
    sheet = Drawing(
        "Softmax in three groups of bars. Score, exponential and share of each word: "
        f"{listed}."
    )
    groups = [
        ("1. scores", scores, "{:.1f}", 21, "gray"),
        ("2. exponentials", exponentials, "{:.1f}", 21, "blue"),
        ("3. shares of their sum", shares, "{:.2f}", 26, "orange"),
    ]
    x: float = 0
    for title, values, form, width, color in groups:
        sheet.text((x, -112), title, size=13, anchor="start")
        sheet.bars(
            x, 0, values.tolist(), words, width=width, gap=5, numbers=form, color=color
        )
        x += len(words) * (width + 5) + 14
    return sheet.finish()


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
        f"{word}: key {_numbers(key)}, score {score:g}, weight {weight:.2f}, "
        f"value {_numbers(value)}"
        for word, key, score, weight, value in zip(
            words, keys, scores.tolist(), weights.tolist(), values, strict=True
        )
    )
    sheet = Drawing(
        f"The query of {reader}, {_numbers(query)}, meets five keys. {parts}. Weights "
        f"times values, added up, give the output {_numbers(output, '{:.2f}')}."
    )
    left, step, wide = 78, 76, 66
    middle = left + (len(words) - 1) * step / 2 + wide / 2
    asks = sheet.box(
        middle - 90, 0, 180, 30, f"query of {reader}:  {_numbers(query)}", color="blue"
    )

    def row(y: float, name: str, texts: Sequence[str], color: str) -> list[Box]:
        sheet.text((0, y + 13), name, size=13, anchor="start")
        return sheet.row(
            left, y, texts, width=wide, gap=step - wide, height=26, colors=color
        )

    for place, word in enumerate(words):
        sheet.text((left + place * step + wide / 2, 79), word, size=14, bold=True)
    keyed = row(90, "keys", [_numbers(key) for key in keys], "green")
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
    times = row(ground + 30, "× values", [_numbers(v) for v in values], "purple")
    for bar, value in zip(bars, times, strict=True):
        sheet.arrow([(bar.x + bar.width / 2, ground + 4), value.top])
    total = ground + 96
    result = sheet.box(
        middle - 105, total, 210, 30,
        f"output:  {_numbers(output, '{:.2f}')}", color="orange", bold=True,
    )  # fmt: skip
    for place, value in enumerate(times):
        end = result.x + 25 + place * (result.width - 50) / (len(times) - 1)
        weight = weights[place].item()
        sheet.arrow(
            [value.bottom, (end, total)], color="purple", width=0.8 + 6 * weight
        )
    sheet.text((0, total + 13), "add up", size=13, anchor="start")
    return sheet.finish()


def weights_as_bars(rows: Mapping[str, Float[Tensor, " keys"]]) -> Picture:
    """Rows of weights as bars on the same scale, one group below the other."""
    written = "; ".join(
        f"{name}: {_numbers(row, '{:.2f}')}" for name, row in rows.items()
    )
    sheet = Drawing(f"Attention weights as bars on one scale. {written}.")
    for place, (name, row) in enumerate(rows.items()):
        ground = place * 132
        sheet.text((0, ground - 98), name, size=13, anchor="start")
        labels = [f"key {key}" for key in range(len(row))]
        sheet.bars(4, ground, row.tolist(), labels, width=44, gap=18, height=66, top=1)
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


def masks(
    named: Mapping[str, Bool[Tensor, "queries keys"]], *, first: int = 0
) -> Picture:
    """Masks side by side: a filled cell where a query may look at a key."""
    described = "; ".join(
        f"{name}: "
        + ", ".join(
            f"query {query} sees "
            + (" ".join(map(str, row.nonzero().flatten().tolist())) or "nothing")
            for query, row in enumerate(mask, mask.shape[1] - len(mask))
        )
        for name, mask in named.items()
    )
    sheet = Drawing(f"Masks of queries in rows and keys in columns. {described}.")
    cell = 26
    x: float = 0
    for name, mask in named.items():
        sheet.text((x, -38), name, size=13, anchor="start", bold=True)
        sheet.text((x + 26, -17), "keys", size=11, anchor="end", color="gray")
        for key in range(mask.shape[1]):
            place = x + 32 + cell * (key + 0.5), -17
            sheet.text(place, str(key), size=12, color="gray")
        for row, seen in enumerate(mask.tolist()):
            query = row + mask.shape[1] - len(mask)
            middle = row * cell + cell / 2
            sheet.text(
                (x + 22, middle), str(query), size=12, color="gray", anchor="end"
            )
            sheet.row(
                x + 32, row * cell, ["•" if one else "" for one in seen],
                width=cell, height=cell,
                colors=["blue" if one else "gray" for one in seen],
            )  # fmt: skip
        x += 32 + cell * mask.shape[1] + 30
    return sheet.finish()


def nothing_to_share() -> Picture:
    """How the nan of one query reaches the gradient of every value."""
    sheet = Drawing(
        "Backward pass of three queries and two values. Queries 0 and 2 send gradients "
        "to the values that they saw. Query 1 may see nothing and its weights are nan; "
        "although its output is not used, it sends nan times 0, which is nan, to both "
        "values, and their gradients become nan."
    )
    sheet.text((60, -16), "weights", size=13)
    sheet.text((365, -16), "gradient of the values", size=13)
    queries = [
        ("query 0:  1, 0", "blue"),
        ("query 1:  nan, nan", "red"),
        ("query 2:  ½, ½", "blue"),
    ]
    rows = [
        sheet.box(0, place * 52, 140, 30, text, color=color, size=13)
        for place, (text, color) in enumerate(queries)
    ]
    values = [
        sheet.box(300, 20 + place * 64, 130, 30, f"value {place}:  nan", color="red")
        for place in range(2)
    ]
    for place, row in enumerate(rows):
        for which, value in enumerate(values):
            if place == 0 and which == 1:
                continue
            bad = place == 1
            end = value.x, value.y + 6 + 9 * place
            options = {"color": "red" if bad else "blue", "width": 2.5 if bad else 1.2}
            sheet.arrow([row.right, end], **options)  # type: ignore[arg-type]
    sheet.text((230, 154), "red: upstream gradient 0, but nan × 0 = nan", size=13)
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


def running_sums(
    scores: Float[Tensor, " keys"], values: Float[Tensor, " keys"], block: int = 2
) -> Picture:
    """One query reads its keys in blocks and keeps three running numbers."""
    sheet = Drawing(
        "One query reads its keys in blocks. After each block it keeps the greatest "
        "score so far, the sum of the exponentials and the weighted sum of the values; "
        "the output is the last quotient."
    )
    names = ["greatest score", "sum of weights", "sum of weight × value"]
    for row, name in enumerate(names):
        sheet.text((0, 95 + 30 * row), name, size=12, anchor="start")
    largest, total, mixed = -math.inf, 0.0, 0.0
    x: float = 145
    wide = 94
    for start in range(0, len(scores), block):
        part, of = scores[start : start + block], values[start : start + block]
        new = max(largest, part.max().item())
        shrink = math.exp(largest - new)
        weights = (part - new).exp()
        total = total * shrink + weights.sum().item()
        mixed = mixed * shrink + (weights * of).sum().item()
        largest = new
        last = start + len(part) - 1
        title = f"keys {start}, {last}" if last > start else f"key {start}"
        top = sheet.box(
            x, 0, wide, 44, f"{title}\nscores {_numbers(part)}", size=12, color="blue"
        )
        kept = [f"{number:.3g}" for number in (largest, total, mixed)]
        for row, text in enumerate(kept):
            box = sheet.box(
                x,
                82 + 30 * row,
                wide,
                26,
                text,
                size=13,
                color="orange" if row else "gray",
            )
            if x > 145:
                sheet.arrow([(x - 12, box.center[1]), box.left])
        sheet.arrow([top.bottom, (top.center[0], 82)])
        x += wide + 12
    sheet.text(
        (x - 12, 186), f"output  {mixed:.3g} / {total:.3g} = {mixed / total:.2f}",
        size=13, anchor="end", bold=True,
    )  # fmt: skip
    return sheet.finish()


def ladder(rungs: Sequence[tuple[str, str]]) -> Picture:
    """Versions from the slowest to the package's, with what each one changes."""
    named = "; ".join(f"{name}: {what}" for name, what in rungs)
    sheet = Drawing(f"The ladder of equal versions, from top to bottom. {named}.")
    previous = None
    for place, (name, what) in enumerate(rungs):
        last = place == len(rungs) - 1
        color = "orange" if last else "plain"
        box = sheet.box(0, place * 48, 205, 28, name, mono=True, size=13, color=color)
        sheet.text((218, box.center[1]), what, size=13, anchor="start")
        if previous is not None:
            sheet.arrow([previous.bottom, box.top], "equal")
        previous = box
    return sheet.finish()


def twice_the_text(short: int, long: int) -> Picture:
    """The scores of a text and of one twice as long, counted."""
    sheet = Drawing(
        f"Two triangles of scores below the diagonal: {short} positions have "
        f"{short * (short + 1) // 2} scores that are seen, of {short**2}; {long} "
        f"positions have {long * (long + 1) // 2} of {long**2}."
    )
    x: float = 0
    cell = 20
    for size in (short, long):
        for row in range(size):
            colors = ["blue" if column <= row else "gray" for column in range(size)]
            sheet.row(
                x, row * cell, [""] * size, width=cell, height=cell, colors=colors
            )
        seen = size * (size + 1) // 2
        middle = x + size * cell / 2
        sheet.text((middle, -14), f"{size} positions", size=13)
        text = f"{seen} of {size**2} seen"
        sheet.text((middle, size * cell + 14), text, size=13)
        x += size * cell + 60
    return sheet.finish()


def sum_of_products() -> Picture:
    """A score as a sum of products, each of variance 1."""
    sheet = Drawing(
        "A score is a sum of as many products as the head is wide. Each product has "
        "variance 1; the sum has the head width as its variance, and its square root "
        "as its spread."
    )
    texts = ["q₀ · k₀", "q₁ · k₁", "q₂ · k₂", "…", "last one"]
    boxes = sheet.row(0, 0, texts, width=74, gap=18, height=30, colors="blue", size=13)
    for left, right in pairwise(boxes):
        sheet.text(((left.right[0] + right.x) / 2, 15), "+", size=14)
    for box in boxes:
        x, y = box.bottom
        sheet.text((x, y + 14), "" if box is boxes[3] else "variance 1", size=12)
    sheet.brace(
        (0, 62), (442, 62), "score: variance = head width, spread = √head width"
    )
    return sheet.finish()
