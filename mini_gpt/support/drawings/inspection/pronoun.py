"""Where the news about a pronoun stands, how it travels, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.inspection.words import shown, signed
from mini_gpt.support.drawings.picture import Picture, Units


def two_lines(words: Sequence[str], other: str, margins: Sequence[float]) -> Picture:
    """Two lines that differ in one token, and the margin after each."""
    changed = [*words[:2], other, *words[3:]]
    texts = ["".join(words), "".join(changed)]
    sheet = Drawing(
        f"Two lines, {texts[0]} with a margin of {margins[0]:+.2f} and {texts[1]} with "
        f"{margins[1]:+.2f}; only the third token differs."
    )
    for row, (line, margin) in enumerate(zip((words, changed), margins, strict=True)):
        y: Units = 58 * row
        colors = ["plain", "plain", "blue" if row == 0 else "orange", *["plain"] * 5]
        boxes = sheet.row(
            0, y, [shown(w) for w in line], width=44, height=30, size=12,
            colors=colors[: len(line)],
        )  # fmt: skip
        x = boxes[-1].x + boxes[-1].width
        sheet.arrow([(x, y + 15), (x + 26, y + 15)])
        word = "art" if margin > 0 else "are"
        sheet.text((x + 32, y + 8), f"rather {word}", size=12, anchor="start")
        sheet.text((x + 32, y + 24), signed(margin), size=13, anchor="start", bold=True)
    return sheet.finish()


def patch(words: Sequence[str], other: str, margins: Sequence[float]) -> Picture:
    """Two runs side by side; one vector goes from the clean into the damaged one."""
    changed = [*words[:2], other, *words[3:]]
    sheet = Drawing(
        f"Two runs. The clean one on {''.join(words)} ends with {margins[0]:+.2f}, the "
        f"damaged one on {''.join(changed)} with {margins[1]:+.2f}. The stream at one "
        "position and depth is carried from the first into the second; what margin "
        "comes out is the question."
    )
    count, step = len(words), 25
    places = {}
    for left, line, title, color in (
        (0, words, "clean run", "blue"), (240, changed, "damaged run", "orange")
    ):  # fmt: skip
        sheet.text((left + count * step / 2, 0), title, size=14, bold=True)
        for place, word in enumerate(line):
            x = left + place * step + 11
            lit = place == 2
            sheet.line([(x, 40), (x, 200)], color=color if lit else "gray")
            for depth in range(5):
                y = 200 - 36 * depth
                shade = color if lit else "plain"
                places[left, place, depth] = sheet.box(
                    x - 8, y - 7, 16, 14, color=shade
                )
            if lit:
                sheet.text((x, 222), shown(word), size=13, bold=True)
        end = left + (count - 1) * step + 11
        text = signed(margins[0]) if left == 0 else "?"
        sheet.text((end, 30), text, size=14, bold=True)
    source, target = places[0, 2, 1], places[240, 2, 1]
    low = source.center[1] + 18
    sheet.arrow(
        [(source.x + 8, source.y + 14), (source.x + 8, low), (target.x + 8, low),
         (target.x + 8, target.y + 15)], color="blue", width=2.5,
    )  # fmt: skip
    for depth in range(5):
        name = "before" if depth == 0 else f"{depth}"
        sheet.text((215, 200 - 36 * depth), name, size=11)
    sheet.text((215, 12), "layer", size=11)
    return sheet.finish()


def journey(words: Sequence[str], share: float) -> Picture:
    """The way of the pronoun's news through the layers to the last position."""
    sheet = Drawing(
        f"The way of the news about {words[2].strip()}: it stays at its own position "
        f"until layer 2; layer 3, head 3 carries it to the last position, {share:.2f} "
        "of it over 120 lines, where art is said."
    )
    step, wide = 50, 46
    boxes = sheet.row(
        60, 236, [shown(w) for w in words], width=wide, gap=step - wide, height=28,
        size=13, colors=["plain", "plain", "blue", *["plain"] * (len(words) - 3)],
    )  # fmt: skip
    here, last = boxes[2].center[0], boxes[-1].center[0]
    for depth in range(1, 5):
        y = 236 - 44 * depth
        sheet.text((0, y + 12), f"layer {depth}", size=13, anchor="start")
        for place, x in ((2, here), (len(words) - 1, last)):
            busy = depth <= 2 if place == 2 else depth >= 3
            sheet.box(x - 20, y, 40, 24, color="blue" if busy else "plain")
    for depth in range(2):
        top = 236 - 44 * depth
        sheet.arrow([(here, top), (here, top - 20)], color="blue", width=2)
    y3, y2 = 236 - 44 * 3 + 12, 236 - 44 * 2
    sheet.arrow([(here, y2), (here, y3), (last - 20, y3)], color="orange", width=3)
    sheet.text(
        ((here + last) / 2, y3 - 13), f"head 3: {share:.2f}", size=13, color="orange"
    )
    sheet.arrow(
        [(last, 236 - 44 * 3), (last, 236 - 44 * 4 + 24)], color="blue", width=2
    )
    sheet.arrow([(last, 236 - 44 * 4), (last, 36)], color="blue", width=2)
    sheet.text((last, 24), "art", size=15, bold=True)
    return sheet.finish()


def probe(words: Sequence[str]) -> Picture:
    """A linear map reads a label off the stream at every position after the pronoun."""
    sheet = Drawing(
        "A probe: the stream at each position after the pronoun goes through one "
        "linear map, which is to say whether the last pronoun was thou or you."
    )
    step, wide = 52, 46
    boxes = sheet.row(
        0, 150, [shown(w) for w in words], width=wide, gap=step - wide, height=28,
        size=13, colors=["plain", "plain", "orange", *["plain"] * (len(words) - 3)],
    )  # fmt: skip
    map_box = sheet.box(
        170, 20, 190, 32, "one linear map, fitted", color="green", size=13
    )
    for place, box in enumerate(boxes):
        x, y = box.top
        sheet.line([(x, y), (x, y - 24)])
        stream = sheet.box(
            x - 12, y - 60, 24, 36, color="blue" if place > 2 else "plain"
        )
        if place > 2:
            end = map_box.x + 20 + (place - 3) * 37
            sheet.arrow([stream.top, (end, map_box.y + map_box.height)])
    sheet.text((0, 66), "the stream", size=13, anchor="start")
    sheet.text((0, 82), "at one depth", size=13, anchor="start")
    sheet.arrow([map_box.right, (map_box.x + 222, 36)])
    sheet.text((map_box.x + 228, 28), "thou", size=13, anchor="start")
    sheet.text((map_box.x + 228, 44), "or you?", size=13, anchor="start")
    return sheet.finish()
