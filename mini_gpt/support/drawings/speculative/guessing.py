"""A round of guesses, and which of them are kept."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, text_width, visible


def guessing_round(
    before: Sequence[str], guesses: Sequence[str], own: Sequence[str]
) -> Picture:
    """One round: the draft's guesses, the target's own choices, and what is kept.

    Args:
        before: The last tokens of the text so far.
        own: The target's choice at each guess, and one more.
    """
    kept = 0
    while kept < len(guesses) and guesses[kept] == own[kept]:
        kept += 1
    sheet = Drawing(
        f"One round after {' '.join(before)}. The draft guesses {', '.join(guesses)}, "
        f"one after another. One pass of the target over them chooses "
        f"{', '.join(own)}. {kept} guesses agree and are kept, and the target's next "
        "choice is added."
    )
    wide, left = 62, 96
    x = left + wide / 2
    sheet.text((0, 14), "draft guesses", size=13, anchor="start")
    colors = ["orange"] * kept + ["gray"] * (len(guesses) - kept)
    guessed = sheet.row(left, 0, [*map(visible, guesses)], width=wide, colors=colors)
    sheet.text((0, 64), "one pass", size=13, anchor="start")
    sheet.box(left, 50, wide * len(own), 28, "target, all places at once", color="blue")
    sheet.text((0, 114), "own choices", size=13, anchor="start")
    texts = [*map(visible, own)]
    colors = ["blue" if place <= kept else "gray" for place in range(len(own))]
    chosen = sheet.row(left, 100, texts, width=wide, colors=colors)
    for box in guessed:
        sheet.arrow([box.bottom, (box.bottom[0], 50)])
    for place, box in enumerate(chosen):
        sheet.arrow([(box.top[0], 78), box.top])
        verdict = "same" if place < kept else "differs" if place == kept else "unused"
        if place == len(guesses):
            verdict = "extra" if kept == place else "unused"
        sheet.text((x + place * wide, 142), verdict, size=12)
    sheet.text((0, 178), "the text gets", size=13, anchor="start")
    colors = ["orange"] * kept + ["blue"]
    sheet.row(left, 164, texts[: kept + 1], width=wide, colors=colors)
    return sheet.finish()


def written_by(rounds: Sequence[Sequence[str]], limit: int = 12) -> Picture:
    """A text as its rounds wrote it: kept guesses, and the target's own last token."""
    shown = rounds[:limit]
    counts = ", ".join(str(len(tokens)) for tokens in shown)
    sheet = Drawing(
        f"{len(shown)} rounds of a text. Each ends with a token of the "
        f"target's own; those before it are kept guesses. Tokens in each: {counts}."
    )
    x: Units = 0
    y: Units = 0
    for tokens in shown:
        wide = [text_width(visible(token), 13) + 12 for token in tokens]
        if x and x + sum(wide) > 450:
            x, y = 0, y + 46
        begin = x
        for place, (token, width) in enumerate(zip(tokens, wide, strict=True)):
            color = "blue" if place == len(tokens) - 1 else "orange"
            sheet.box(x, y, width, 26, visible(token), color=color, size=13, round=2)
            x += width
        sheet.line([(begin + 3, y + 32), (x - 3, y + 32)], color="gray")
        x += 10
    sheet.text((0, y + 52), "orange: kept guess", size=13, anchor="start")
    sheet.text((220, y + 52), "blue: target's own", size=13, anchor="start")
    return sheet.finish()


def judging(
    names: Sequence[str],
    target: Sequence[float],
    draft: Sequence[float],
    darts: Sequence[float],
) -> Picture:
    """Several guesses under judgment, from left to right, until one is not kept."""
    sheet = Drawing(
        "Guesses judged from left to right: each is kept if its dart is below p / q; "
        "the first that is not is replaced, and those after it are dropped."
    )
    wide, step, alive = 98, 112, True
    for place, (name, p, q, dart) in enumerate(
        zip(names, target, draft, darts, strict=True)
    ):
        left = place * step
        kept = alive and dart * q < p
        color = "green" if kept else "purple" if alive else "gray"
        sheet.box(left, 0, wide, 30, visible(name), color=color, mono=True)
        x = left + wide / 2
        sheet.text((x, 46), f"p {p:.2f}   q {q:.2f}", size=13)
        if alive:
            sheet.text((x, 66), f"p / q = {p / q:.2f}", size=13)
            sheet.text((x, 86), f"dart {dart:.2f}", size=13)
        verdict = "kept" if kept else "drawn again" if alive else "dropped"
        sheet.text((x, 108), verdict, size=14, bold=True, color=color)
        if place:
            sheet.arrow([(left - step + wide + 1, 15), (left - 1, 15)])
        alive = kept
    return sheet.finish()


def lookup(tokens: Sequence[str], found: int, size: int, ahead: int) -> Picture:
    """A guess without a model: where the last tokens stood before, and what followed.

    Args:
        tokens: The text so far.
        found: Where the same tokens begin, earlier.
        size: How many tokens are compared.
        ahead: How many are copied.
    """
    copied = tokens[found + size : found + size + ahead]
    sheet = Drawing(
        f"The last {size} tokens of a text stood in it before; the tokens that "
        f"followed them there, {' '.join(copied)}, are the guesses."
    )
    wide = min(58.0, 440 / (len(tokens) + ahead))
    colors = ["plain"] * len(tokens)
    last = len(tokens) - size
    colors[found : found + size] = colors[last:] = ["green"] * size
    colors[found + size : found + size + len(copied)] = ["orange"] * len(copied)
    given = sheet.row(
        0, 40, [*map(visible, tokens)], width=wide, colors=colors, size=13
    )
    guessed = sheet.row(
        wide * len(tokens) + 6, 40, [*map(visible, copied)], width=wide,
        colors="orange", size=13,
    )  # fmt: skip
    begin, end = given[found + size].top, guessed[0].top
    sheet.curve(begin, ((begin[0] + end[0]) / 2, -20), end, color="orange")
    sheet.brace(
        (given[found].x, 72),
        (given[found].x + size * wide, 72),
        "the same",
        color="green",
    )
    sheet.brace(
        (given[last].x, 72), (given[last].x + size * wide, 72), "last", color="green"
    )
    return sheet.finish()
