"""Text that grows, and what of it is certain."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.generation.legend import legend
from mini_gpt.support.drawings.picture import Picture

SPAN_COLORS = {"shown": "green", "held": "orange", "byte": "gray", "dropped": "red"}


def timeline(rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> Picture:
    """A text while it grows, a line for each token that comes.

    Args:
        rows: What came, and the text then as spans: ("shown", text), ("held", text),
            ("byte", hexadecimal) or ("dropped", text).
    """
    told = "; ".join(
        f"after {came}: " + ", ".join(f"{kind} {text}" for kind, text in spans if text)
        for came, spans in rows
    )
    sheet = Drawing(f"A growing text, line by line. {told}.".replace("\n", " "))
    cells = [
        [
            (kind, cell)
            for kind, text in spans
            for cell in ([text] if kind == "byte" else text)
        ]
        for _, spans in rows
    ]
    wide = min(24, 380 // max(map(len, cells)))
    sheet.text((-10, -14), "what came", size=13, anchor="end", color="gray")
    sheet.text((0, -14), "the text so far", size=13, anchor="start", color="gray")
    for line, ((came, _), spans) in enumerate(zip(rows, cells, strict=True)):
        y = 30 * line
        sheet.text((-10, y + 13), came, size=13, anchor="end", mono=True)
        for place, (kind, text) in enumerate(spans):
            color = SPAN_COLORS[kind]
            shown = "␣" if text == " " else text
            size = 11 if kind == "byte" else 13
            sheet.box(wide * place, y, wide, 26, shown, color=color, size=size, round=0)
    used = {kind for _, spans in rows for kind, text in spans if text}
    entries = [(color, kind) for kind, color in SPAN_COLORS.items() if kind in used]
    legend(sheet, 30 * len(rows) + 14, entries)
    return sheet.finish()


def over_bytes(text: str) -> Picture:
    """Characters over the bytes that they are made of."""
    spelled = [(letter, letter.encode()) for letter in text]
    told = "; ".join(f"{letter} is {code.hex(' ')}" for letter, code in spelled)
    sheet = Drawing(f"Characters over their bytes in UTF-8: {told}.")
    x = 0
    for place, (letter, code) in enumerate(spelled):
        color = ("blue", "orange", "green")[place % 3]
        wide = 48 * len(code)
        sheet.box(x, 0, wide - 4, 30, letter, color=color)
        for number, byte in enumerate(code):
            sheet.box(
                x + 48 * number, 38, 44, 28, f"{byte:02x}", color=color, mono=True
            )
        x += wide
    sheet.text((-8, 15), "character", size=13, anchor="end")
    sheet.text((-8, 52), "bytes", size=13, anchor="end")
    return sheet.finish()
