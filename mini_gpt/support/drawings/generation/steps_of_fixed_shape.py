"""Steps of a fixed shape, recorded and replayed."""

from __future__ import annotations

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.generation.legend import legend
from mini_gpt.support.drawings.picture import Picture


def launches(operations: int = 6, recorded: int = 3) -> Picture:
    """Who waits for whom: Python asking for each operation, or once for a step."""
    sheet = Drawing(
        "Two time lines, lengths not to scale. As it is: Python asks for one short "
        "operation after the other, and between them the card is idle. Recorded: "
        "Python asks once, and the card does a whole step without a gap, then the next."
    )
    sheet.text((0, -14), "as it is", anchor="start", bold=True, size=13)
    wide = 396 / operations
    for line, name in ((0, "Python"), (1, "card")):
        sheet.text((-8, 34 * line + 13), name, size=13, anchor="end")
    for place in range(operations):
        x = wide * place
        asks = sheet.box(x, 0, wide - 4, 26, "ask", color="orange", size=13)
        sheet.box(x + wide - 22, 38, 18, 26, color="blue")
        sheet.arrow([(asks.x + asks.width - 9, 26), (asks.x + asks.width - 9, 38)])
    sheet.text((0, 88), "recorded, then replayed", anchor="start", bold=True, size=13)
    for line, name in ((0, "Python"), (1, "card")):
        sheet.text((-8, 116 + 38 * line), name, size=13, anchor="end")
    width = 18 * operations
    for step in range(recorded):
        x = step * (width + 6)
        sheet.box(x, 103, 52, 26, "replay", color="orange", size=13)
        boxes = sheet.row(
            x + 14, 141, [""] * operations, width=18, height=26, colors="blue"
        )
        sheet.arrow([(x + 26, 129), (x + 26, 141)])
        sheet.brace(
            (boxes[0].x, 170), (boxes[-1].x + 18, 170), f"step {step + 1}", color="blue"
        )
    return sheet.finish()


def hidden(capacity: int, count: int) -> Picture:
    """A cache of fixed size: what is written, and what the mask hides, step by step."""
    sheet = Drawing(
        f"A memory for {capacity} positions in each of {count} steps. All of it is "
        "returned each time; the mask hides the places that are not written yet."
    )
    for step in range(count):
        y = 34 * step
        sheet.text((-8, y + 14), f"step {step + 1}", size=13, anchor="end")
        for place in range(capacity):
            seen = place <= step
            color = "blue" if place == step else "gray" if seen else "red"
            text = "" if seen else "×"
            sheet.box(
                34 * place, y, 32, 28, text, color=color, round=2, dashed=not seen
            )
    entries = [("blue", "new"), ("gray", "kept"), ("red", "hidden by the mask")]
    legend(sheet, 34 * count + 10, entries)
    return sheet.finish()


def steps(rows: dict[str, tuple[float, float]], names: tuple[str, str]) -> Picture:
    """Milliseconds a step of two libraries, side by side for each case."""
    told = "; ".join(f"{case}: {a:.2f} and {b:.2f}" for case, (a, b) in rows.items())
    sheet = Drawing(f"Milliseconds a step of {names[0]} and {names[1]}. {told}.")
    top = max(value for pair in rows.values() for value in pair)
    for place, (case, pair) in enumerate(rows.items()):
        x = 112 * place
        for side, color in enumerate(("blue", "gray")):
            values, tall = [pair[side]], 110
            sheet.bars(
                x + 42 * side, 0, values, width=36, height=tall, top=top, color=color
            )
        for line, words in enumerate(case.split(", ")):
            sheet.text((x + 39, 16 + 16 * line), words, size=12)
    legend(sheet, 58, [("blue", names[0]), ("gray", names[1])])
    return sheet.finish()
