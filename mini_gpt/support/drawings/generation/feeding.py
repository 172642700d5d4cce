"""What each pass of the model is fed."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.generation.legend import legend
from mini_gpt.support.drawings.picture import Picture


def passes(prompt: Sequence[str], drawn: Sequence[str]) -> Picture:
    """Prefill and decoding: what each pass is fed, what is kept, what it gives."""
    sheet = Drawing(
        f"The first pass, prefill, is fed {len(prompt)} words at once and gives "
        f"{drawn[0]}. Each further pass, decoding, is fed the one word that came last, "
        "and finds the others in the cache."
    )
    wide = 50
    words = [*prompt, *drawn]
    for number, word in enumerate(drawn):
        y = 44 * number
        old = 0 if number == 0 else len(prompt) + number - 1
        fed = words[old : len(prompt) + number]
        sheet.row(0, y, [""] * old, width=wide, height=28, colors="gray")
        boxes = sheet.row(
            wide * old, y, fed, width=wide, height=28, colors="blue", size=13
        )
        x, middle = boxes[-1].right
        sheet.arrow([(x + 3, middle), (x + 27, middle)])
        sheet.box(x + 28, y, wide, 28, word, color="orange", size=13)
        name = "prefill" if number == 0 else "decoding"
        sheet.text((-8, middle), name, size=13, anchor="end")
    entries = [("blue", "fed"), ("gray", "in the cache"), ("orange", "drawn")]
    legend(sheet, 44 * len(drawn) + 10, entries)
    return sheet.finish()


def parts(sizes: Sequence[int]) -> Picture:
    """A text that is fed in parts, and the position that each part must begin at."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    sheet = Drawing(
        f"{sum(sizes)} positions, fed in parts of {', '.join(map(str, sizes))}. The "
        f"length of the cache tells each part where it begins: {starts}."
    )
    wide = min(52, 440 // sum(sizes))
    for number, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        x = wide * start + 8 * number
        color = ("blue", "orange")[number % 2]
        numbers = [str(place) for place in range(start, start + size)]
        sheet.row(x, 0, numbers, width=wide, height=28, colors=color)
        middle = x + wide * size / 2
        sheet.text((middle, -16), f"part {number + 1}", size=12, color=color)
        sheet.arrow([(x + wide / 2, 62), (x + wide / 2, 30)], color=color)
        sheet.text((x + wide / 2, 74), str(start), size=13, color=color)
    sheet.text(
        (0, 94), "length of the cache when the part comes", size=12, anchor="start"
    )
    return sheet.finish()


def windows(prompt: int, new: int, context: int) -> Picture:
    """What each pass is fed, while the window slides once the context is full."""
    sheet = Drawing(
        f"{new} passes over a text, with a prompt of {prompt} and a context of "
        f"{context}. The first is fed the prompt, then one position each; once the "
        "context is full, each is fed a whole window."
    )
    for number in range(new):
        y, end = 32 * number, prompt + number
        sheet.text((-8, y + 13), f"pass {number + 1}", size=13, anchor="end")
        slides = end > context
        fed_from = end - context if slides else 0 if number == 0 else end - 1
        for place in range(max(0, end - context) if slides else 0, end):
            color = "blue" if place >= fed_from else "gray"
            sheet.box(40 * place, y, 38, 26, str(place), color=color, round=2)
    entries = [("blue", "fed"), ("gray", "in the cache")]
    legend(sheet, 32 * new + 10, entries)
    return sheet.finish()


def sliding(words: Sequence[str], context: int) -> Picture:
    """A window that slides by one word: everything in it stands one position lower."""
    sheet = Drawing(
        f"Before: the window holds {', '.join(words[:context])} at positions 0 to "
        f"{context - 1}. After: {', '.join(words[1:])}; each word that stays has moved "
        "to the position before."
    )
    wide, gap = 62, 14
    rows = []
    for line, part in enumerate((words[:context], words[1:])):
        y = 92 * line
        colors = ["red" if not line else "plain"] + ["plain"] * (context - 2)
        colors.append("blue" if line else "plain")
        boxes = sheet.row(
            0, y, part, width=wide, height=28, gap=gap, colors=colors, size=13
        )
        rows.append(boxes)
        for place, box in enumerate(boxes):
            above = box.top[0], y - 11 if line == 0 else y + 40
            sheet.text(above, f"position {place}", size=11, color="gray")
    for old, new in zip(rows[0][1:], rows[1][:-1], strict=True):
        sheet.arrow([(old.bottom[0], old.bottom[1] + 3), (new.top[0], new.top[1] - 3)])
    sheet.text((rows[0][0].x - 10, 14), "before", size=13, anchor="end")
    sheet.text((rows[0][0].x - 10, 106), "after", size=13, anchor="end")
    x, below = rows[0][0].bottom
    sheet.text((x - 4, below + 14), "dropped", size=12, color="red")
    return sheet.finish()
