"""Ids and what they stand for, from where they come, how files write them."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, visible


def vocabulary_ranges(tokens: Sequence[bytes]) -> Picture:
    """Which ids are single bytes, which merged tokens, and which is special.

    Args:
        tokens: The ordinary tokens in the order of their ids.
    """
    first, last = (visible(tokens[id].decode()) for id in (256, -1))
    count = len(tokens)
    sheet = Drawing(
        f"The ids in a row: 0 to 255 are the single bytes, 256 to {count - 1} the "
        f"merged tokens from {first} to {last} in the order of learning, {count} is "
        "the special token that ends a text."
    )
    x = 0
    for width, ids, meaning, color in (
        (112, "0 … 255", "single bytes", "gray"),
        (210, f"256 … {count - 1:,}", f"merged: {first} … {last}", "blue"),
        (122, f"{count:,}", "<|endoftext|>", "orange"),
    ):
        sheet.text((x + width / 2, 0), ids, size=13, color="gray")
        sheet.box(x, 14, width, 34, meaning, color=color, size=13)
        x += width + 4
    sheet.brace((116, 54), (326, 54), "in the order of learning")
    return sheet.finish()


def from_a_folder() -> Picture:
    """Text files of a folder become one text, and that a tokenizer."""
    sheet = Drawing(
        "A folder with one.txt, a subfolder with two.txt, and a picture: the two texts "
        "are joined, and a tokenizer is learned from them; the picture is left alone."
    )
    sheet.text((0, 0), "folder", size=13, anchor="start", color="gray")
    names = ("one.txt", "deep/two.txt", "picture.png")
    files = [
        sheet.box(
            0,
            14 + 38 * place,
            110,
            28,
            name,
            color="gray" if name.endswith("png") else "blue",
            dashed=name.endswith("png"),
            size=13,
            mono=True,
        )
        for place, name in enumerate(names)
    ]
    text = sheet.box(166, 33, 80, 28, "one text", size=13)
    tokenizer = sheet.box(302, 33, 120, 28, "BPETokenizer", color="green", size=13)
    for file in files[:2]:
        sheet.arrow([file.right, text.left])
    sheet.arrow([text.right, tokenizer.left])
    return sheet.finish()


def byte_names(printable: Sequence[int]) -> Picture:
    """Which bytes GPT-2's files write as themselves, and where the others went.

    Args:
        printable: The bytes that stay.
    """
    stay = set(printable)
    runs: list[list[int]] = []
    for byte in range(256):
        if byte == 0 or (byte in stay) != (byte - 1 in stay):
            runs.append([])
        runs[-1].append(byte)
    sheet = Drawing(
        "A strip of the 256 bytes. "
        + "; ".join(
            f"{run[0]} to {run[-1]} {'stay' if run[0] in stay else 'move'}"
            for run in runs
        )
        + f". Those that move are written as the {256 - len(stay)} characters from "
        "U+0100 on, so byte 32, the space, is Ġ."
    )
    scale, moved = 1.5, 0
    for y, name in ((-8, "moved to"), (72, "bytes"), (152, "kept")):
        sheet.text((-8, y + 13), name, size=13, anchor="end", color="gray")
    for run in runs:
        x, wide = run[0] * scale, len(run) * scale
        middle, roomy = x + wide / 2, len(run) > 20
        color = "blue" if run[0] in stay else "orange"
        label = f"{run[0]}–{run[-1]}" if roomy else ""
        sheet.box(x, 72, wide, 26, label, color=color, round=0, size=12)
        if run[0] in stay:
            ends = f"{chr(run[0])} … {chr(run[-1])}" if roomy else ""
            below = sheet.box(x, 152, wide, 26, ends, color=color, round=0, size=13)
            sheet.arrow([(middle, 98), below.top], color="blue")
        else:
            wide = len(run) * scale * 2.4
            ends = (
                f"{chr(256 + moved)} … {chr(255 + moved + len(run))}" if roomy else ""
            )
            left = 60 + moved * scale * 2.4
            above = sheet.box(left, -8, wide, 26, ends, color=color, round=0, size=13)
            sheet.arrow([(middle, 72), above.bottom], color="orange")
            moved += len(run)
    return sheet.finish()
