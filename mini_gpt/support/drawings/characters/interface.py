"""What a tokenizer must be able to do, and who asks for it."""

from __future__ import annotations

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


def protocol() -> Picture:
    """What the package asks of a tokenizer, and who asks for which part."""
    sheet = Drawing(
        "The tokenizer stands between text and ids: encode leads from text to ids, "
        "decode leads back. The model asks for vocab_size, the size of its tables; the "
        "data asks for end_of_text, the mark between documents; a file keeps what save "
        "and to_dict write."
    )
    sheet.box(0, 34, 70, 40, "text", color="gray")
    whole = sheet.box(158, 0, 130, 108, "tokenizer", color="orange", bold=True)
    sheet.box(376, 34, 70, 40, "ids", color="gray")
    for y, name, forth in ((44, "encode", True), (64, "decode", False)):
        for left, right in ((70, 158), (288, 376)):
            ends = [(left, y), (right, y)]
            sheet.arrow(ends if forth else ends[::-1])
        sheet.text((114, y + (-12 if forth else 13)), name, size=13, mono=True)
    asked = (
        (0, "vocab_size", "the model:\nhow many ids?"),
        (158, "end_of_text", "the data: where\ndoes a text end?"),
        (316, "save, to_dict", "a file: how can\nit be kept?"),
    )
    for x, name, question in asked:
        sheet.box(x, 178, 130, 44, question, size=12)
        sheet.text((x + 65, 166), name, size=13, mono=True)
        middle = x + 65
        points = [whole.bottom, (223, 132), (middle, 132), (middle, 154)]
        sheet.arrow([whole.bottom, (223, 154)] if middle == 223 else points)
    return sheet.finish()


def encoding_steps() -> Picture:
    """The two questions that decide what `encode` does."""
    sheet = Drawing(
        "The steps of encode. Are all characters known? If yes, the id of each. If no: "
        "is there a replacement? If yes, the id of each known character, and the "
        "replacement's id for the others. If no, an error that names the first unknown "
        "character and its position."
    )
    asked = (
        ("are all characters\nknown?", "the id of each", "green"),
        ("is there a\nreplacement?", "its id for the\nunknown ones", "green"),
    )
    last = None
    for number, (question, answer, color) in enumerate(asked):
        y = number * 92
        box = sheet.box(0, y, 160, 48, question, color="orange", round=14)
        end = sheet.box(250, y, 160, 48, answer, color=color)
        sheet.arrow([box.right, end.left], "yes")
        if last:
            sheet.arrow([last.bottom, box.top], "no")
        last = box
    fault = sheet.box(250, 184, 160, 48, "an error that\nnames the first", color="red")
    if last:
        sheet.arrow([last.bottom, (80, 208), fault.left], "no")
    return sheet.finish()
