"""How a model copies: two steps, their training texts, and the chain cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units


def induction(words: Sequence[str]) -> Picture:
    """The two steps of copying: each position learns what stood before, then a search.

    Args:
        words: The last of them has occurred before, once.
    """
    last = words[-1]
    found = words.index(last) + 1
    sheet = Drawing(
        f"Induction in two steps on {' '.join(words)}. In the first layer each "
        f"position notes the token before it. In the second, the last {last} looks for "
        f"the note after {last}, finds {words[found]}, and copies it as the next token."
    )
    step, wide = 68, 50
    boxes = sheet.row(0, 60, words, width=wide, gap=step - wide, height=34, size=15)
    guess = sheet.box(len(words) * step, 60, wide, 34, "?", dashed=True, size=15)
    for before, here in pairwise(boxes):
        sheet.arrow(
            [(before.x + wide, 77), (here.x, 77)], color="gray"
        )  # layer 1: one step
    for place, word in enumerate(words[:-1], start=1):
        color = "orange" if place == found else "gray"
        x = boxes[place].center[0]
        sheet.text((x, 108), f"after {word}", size=12, color=color, bold=place == found)
    sheet.text(
        (0, 192), "layer 1: each notes what stood before it", size=13, anchor="start"
    )
    end, target = boxes[-1].top, boxes[found].top
    middle = (end[0] + target[0]) / 2
    sheet.curve((end[0], 58), (middle, -16), (target[0], 58), color="orange", width=2)
    sheet.text(
        (middle, 4), f"layer 2: who stands after {last}?", size=13, color="orange"
    )
    ground = 156
    sheet.arrow(
        [(target[0], 118), (target[0], ground), (guess.center[0], ground),
         (guess.center[0], 96)], color="blue", width=2,
    )  # fmt: skip
    sheet.text(
        ((target[0] + guess.center[0]) / 2, ground + 13),
        f"so {words[found]} comes next",
        size=13, color="blue",
    )  # fmt: skip
    return sheet.finish()


def repeats(ids: Sequence[int], known: Sequence[bool]) -> Picture:
    """Random tokens that start over; those that can be known are lit.

    Args:
        known: For each token, whether the ones before it tell it.
    """
    first = known.index(True)
    sheet = Drawing(
        f"{len(ids)} random tokens in a row that start over after {first - 1}; from "
        "the second token of the repetition on they can be known and are lit."
    )
    across = 15
    for start in range(0, len(ids), across):
        end = min(start + across, len(ids))
        colors = ["blue" if known[place] else "plain" for place in range(start, end)]
        texts = [str(id) for id in ids[start:end]]
        y = 42 * (start // across)
        sheet.row(0, y, texts, width=29, height=28, size=13, colors=colors)
    bottom = 42 * ((len(ids) - 1) // across) + 46
    sheet.text((217, bottom), "blue: can be known from what came before", size=13)
    return sheet.finish()


def cut_chain(with_it: float, without_it: float) -> Picture:
    """The two heads of induction as a chain, whole and with the first one silenced."""
    sheet = Drawing(
        "A chain of two heads. With the head in layer 1 the head in layer 2 puts "
        f"{with_it:.2f} of its weight on the right place, without it {without_it:.2f}."
    )
    for row, (share, whole) in enumerate(((with_it, True), (without_it, False))):
        y: Units = row * 74
        color = "blue" if whole else "gray"
        one = sheet.box(
            0, y, 130, 44, "layer 1: what\nstood before", color=color, size=13,
            dashed=not whole,
        )  # fmt: skip
        two = sheet.box(
            190, y, 130, 44, "layer 2: find it,\ncopy", color="blue", size=13
        )
        sheet.arrow([one.right, two.left], dashed=not whole)
        if not whole:
            sheet.text((160, y + 10), "silent", size=12)
        sheet.text((336, y + 14), f"{share:.2f}", size=16, anchor="start", bold=True)
        sheet.text((336, y + 34), "at the place", size=12, anchor="start")
    return sheet.finish()
