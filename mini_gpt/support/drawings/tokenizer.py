"""Drawings of the chapter on the tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import regex

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Point, text_width

# What a part of a text is, by its first match, and the color of its box.
KINDS = {
    "ending": (r"'\p{L}+", "green"),
    "marks": (r"\p{M}+", "purple"),
    "letters": (r"\s?[\p{L}\p{M}]+", "blue"),
    "digits": (r"\s?\p{N}+", "yellow"),
    "signs": (r"\s?[^\s\p{L}\p{N}]+", "orange"),
    "white space": (r"\s+", "gray"),
}


def _visible(text: str) -> str:
    """A text whose white space can be seen."""
    return text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")


def _kind(part: str) -> str:
    whole = (name for name, (form, _) in KINDS.items() if regex.fullmatch(form, part))
    return next(whole, "mixed")


def _boxes(
    sheet: Drawing, place: Point, parts: Sequence[str], colors: Sequence[str]
) -> list[Box]:
    """Boxes as wide as their texts, side by side."""
    (x, y), boxes = place, []
    for part, color in zip(parts, colors, strict=True):
        width = max(18, text_width(part, 13, mono=True) + 6)
        boxes.append(sheet.box(x, y, width, 26, part, color=color, size=13, mono=True))
        x += width + 3
    return boxes


def cut_rows(rows: Mapping[str, Sequence[str]]) -> Picture:
    """Texts that were cut into parts: a box for each, colored by what it holds.

    Args:
        rows: For each row its name, and the parts in order.
    """
    shown = {name: [_visible(part) for part in parts] for name, parts in rows.items()}
    told = "; ".join(f"{name}: {' | '.join(parts)}" for name, parts in shown.items())
    sheet = Drawing(f"Rows of boxes, each a part of a text that was cut. {told}.")
    kinds = {name: [_kind(part) for part in parts] for name, parts in rows.items()}
    y = 0
    for name, parts in shown.items():
        sheet.text((0, y + 8), name, size=13, anchor="start", color="gray")
        colors = [KINDS.get(kind, ("", "red"))[1] for kind in kinds[name]]
        _boxes(sheet, (0, y + 20), parts, colors)
        y += 60
    seen = {kind for row in kinds.values() for kind in row}
    x = 0.0
    for kind in [*(name for name in KINDS if name in seen), "mixed"]:
        if kind in seen:
            color = KINDS.get(kind, ("", "red"))[1]
            sheet.box(x, y + 4, 14, 14, color=color)
            sheet.text((x + 20, y + 11), kind, size=12, anchor="start")
            x += 34 + text_width(kind, 12)
    return sheet.finish()


def counted(pretokens: Sequence[str]) -> Picture:
    """Pretokens in the order of the text, and each distinct one with its count."""
    shown = [_visible(part) for part in pretokens]
    counts = Counter(shown)
    told = ", ".join(f"{part} {count} times" for part, count in counts.items())
    sheet = Drawing(f"The pretokens {' | '.join(shown)} are counted: {told}.")
    sheet.text((0, 8), "in the text", size=13, anchor="start", color="gray")
    above = _boxes(sheet, (84, -5), shown, ["blue"] * len(shown))
    sheet.text((0, 84), "distinct", size=13, anchor="start", color="gray")
    labels = [f"{part} × {count}" for part, count in counts.items()]
    below = _boxes(sheet, (84, 71), labels, ["green"] * len(labels))
    place = dict(zip(counts, below, strict=True))
    for part, box in zip(shown, above, strict=True):
        sheet.arrow([box.bottom, place[part].top])
    return sheet.finish()


def lengths(tokens: Mapping[str, int]) -> Picture:
    """How many tokens the same text has, for several ways to cut it."""
    told = ", ".join(f"{name} {count:,}" for name, count in tokens.items())
    sheet = Drawing(f"Bars: the number of tokens of the same text, {told}.")
    scale = 200 / max(tokens.values())
    for place, (name, count) in enumerate(tokens.items()):
        y, long = 34 * place, count * scale
        sheet.text((0, y + 12), name, size=13, anchor="start")
        sheet.box(166, y, long, 24, color="blue", round=0)
        sheet.text((172 + long, y + 12), f"{count:,}", size=13, anchor="start")
    return sheet.finish()


def vocabulary_ranges(tokens: Sequence[bytes]) -> Picture:
    """Which ids are single bytes, which merged tokens, and which is special.

    Args:
        tokens: The ordinary tokens in the order of their ids.
    """
    first, last = (_visible(tokens[id].decode()) for id in (256, -1))
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


def way_of_a_text(
    text: str, split: Sequence[Sequence[str]], ids: Sequence[int]
) -> Picture:
    """From a text to ids: cut, merge within each part, look up.

    Args:
        split: For each pretoken the texts of its tokens.
        ids: The id of each token.
    """
    tokens = [_visible(token) for parts in split for token in parts]
    pretokens = [_visible("".join(parts)) for parts in split]
    sheet = Drawing(
        f"The text {text!r} is cut into the pretokens {' | '.join(pretokens)}; merging "
        f"within each gives the tokens {' | '.join(tokens)}; their ids are "
        f"{', '.join(map(str, ids))}. Decoding goes back from ids to bytes to text."
    )
    widths = [
        max(
            text_width(token, 13, mono=True) + 8,
            text_width(str(id), 13, mono=True) + 8,
        )
        for token, id in zip(tokens, ids, strict=True)
    ]
    lefts, x, number = [], 96.0, 0
    for parts in split:
        for _ in parts:
            lefts.append(x)
            x += widths[number] + 2
            number += 1
        x += 8
    end = x - 10
    middle = [left + width / 2 for left, width in zip(lefts, widths, strict=True)]
    for y, name in ((0, "text"), (64, "pretokens"), (128, "tokens"), (192, "ids")):
        sheet.text((0, y + 13), name, size=13, anchor="start", color="gray")
    sheet.box(96, 0, end - 96, 26, _visible(text), size=13, mono=True)
    number = 0
    for pretoken, parts in zip(pretokens, split, strict=True):
        last = number + len(parts) - 1
        width = lefts[last] + widths[last] - lefts[number]
        box = sheet.box(
            lefts[number], 64, width, 26, pretoken, color="gray", size=13, mono=True
        )
        sheet.arrow([(box.center[0], 26), box.top])
        for at in range(number, last + 1):
            left, width, color = lefts[at], widths[at], ("blue", "yellow")[at % 2]
            sheet.arrow([(middle[at], 90), (middle[at], 128)])
            token, id = tokens[at], str(ids[at])
            sheet.box(left, 128, width, 26, token, color=color, size=13, mono=True)
            sheet.arrow([(middle[at], 154), (middle[at], 192)])
            sheet.box(left, 192, width, 26, id, color=color, size=13, mono=True)
        number = last + 1
    for y, name in ((45, "cut"), (109, "merge"), (173, "look up")):
        sheet.text((0, y), name, size=12, anchor="start", color="green")
    return sheet.finish()


def held_back(tokens: Sequence[bytes], shown: Sequence[str]) -> Picture:
    """Tokens as they come, and what may be shown after each.

    Args:
        tokens: The bytes of each.
        shown: What a stream gives after each; empty where it has to wait.
    """
    told = "; ".join(
        f"after {token.hex(' ')} {'show ' + text if text else 'wait'}"
        for token, text in zip(tokens, shown, strict=True)
    )
    sheet = Drawing(f"Tokens as bytes on a line of time, and the text shown: {told}.")
    for y, name in ((13, "token"), (67, "shown")):
        sheet.text((0, y), name, size=13, anchor="start", color="gray")
    for place, (token, text) in enumerate(zip(tokens, shown, strict=True)):
        x, color = 62 + 62 * place, "green" if text else "gray"
        above = sheet.box(x, 0, 52, 26, token.hex(" "), size=13, mono=True)
        below = sheet.box(x, 54, 52, 26, text or "wait", color=color, size=13)
        sheet.arrow([above.bottom, below.top])
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


def two_ways_in(text: str, typed: Sequence[str], meant: Sequence[str]) -> Picture:
    """A special token typed and meant: two rows of ids, one text.

    Args:
        typed: Tokens of the text when nothing is allowed.
        meant: Tokens when the special one is.
    """
    special = next(part for part in meant if part not in typed)
    one, other = ([_visible(part) for part in parts] for parts in (typed, meant))
    sheet = Drawing(
        f"The text {text!r} is encoded in two ways: as ordinary text into "
        f"{len(one)} tokens, {' | '.join(one)}, or with the special token allowed into "
        f"{len(other)}, {' | '.join(other)}. Decoding either gives the same text."
    )
    top = sheet.box(120, 0, 230, 28, text, size=13, mono=True)
    sheet.text((0, 62), "encode(text)", size=12, anchor="start", mono=True)
    boxes = _boxes(sheet, (0, 74), one, ["blue"] * len(one))
    sheet.text(
        (0, 128),
        "encode(text, allowed_special=...)",
        size=12,
        anchor="start",
        mono=True,
    )
    colors = ["orange" if part == special else "blue" for part in meant]
    others = _boxes(sheet, (0, 140), other, colors)
    end = max(boxes[-1].x + boxes[-1].width, 380)
    sheet.arrow([(top.x + top.width / 2, 28), (top.x + top.width / 2, 74)])
    sheet.arrow([top.right, (end + 30, 14), (end + 30, 153), others[-1].right])
    sheet.box(120, 200, 230, 28, text, size=13, mono=True)
    sheet.text((0, 214), "decode(ids)", size=12, anchor="start", mono=True)
    sheet.arrow([(170, 166), (170, 200)])
    down = boxes[-1].center[0]
    sheet.arrow([(down, 100), (down, 200)])
    return sheet.finish()


def parts_of_the_tokenizer() -> Picture:
    """Which function of the chapter hands what to which."""
    sheet = Drawing(
        "How the parts of the tokenizer work together. Training: count_pretokens "
        "cuts a text and counts, train_bpe makes tokens of the counts. Encoding: "
        "special tokens are split off, the pattern cuts the rest, and a memory, "
        "byte_pair_encode or tiktoken turns pretokens into ids. Decoding: the "
        "vocabulary turns ids into bytes and text."
    )
    sheet.text((0, 8), "train", size=13, anchor="start", bold=True)
    counts = sheet.box(60, -8, 140, 32, "count_pretokens", color="blue", size=12)
    train = sheet.box(236, -8, 90, 32, "train_bpe", color="blue", size=12)
    tokens = sheet.box(362, -8, 86, 32, "tokens", size=12)
    sheet.arrow([counts.right, train.left])
    sheet.arrow([train.right, tokens.left])
    sheet.text((0, 80), "encode", size=13, anchor="start", bold=True)
    special = sheet.box(
        60, 62, 120, 36, "special tokens\nsplit off", color="orange", size=12
    )
    cut = sheet.box(206, 62, 90, 36, "cut by the\npattern", color="blue", size=12)
    known = sheet.box(322, 62, 126, 24, "memory", color="green", size=12)
    merge = sheet.box(322, 92, 126, 24, "byte_pair_encode", color="blue", size=12)
    engine = sheet.box(
        322, 122, 126, 24, "tiktoken", color="gray", dashed=True, size=12
    )
    sheet.arrow([special.right, cut.left])
    sheet.arrow([cut.right, (309, 80), (309, 74), known.left])
    sheet.arrow([known.bottom, merge.top])
    sheet.arrow([special.bottom, (120, 134), engine.left], "long texts", dashed=True)
    sheet.text((0, 190), "decode", size=13, anchor="start", bold=True)
    ids = sheet.box(60, 174, 70, 32, "ids", size=12)
    vocabulary = sheet.box(166, 174, 104, 32, "Vocabulary", color="blue", size=12)
    text = sheet.box(306, 174, 142, 32, "bytes, then text", size=12)
    sheet.arrow([ids.right, vocabulary.left])
    sheet.arrow([vocabulary.right, text.left])
    sheet.line([tokens.right, (456, 8), (456, 160)], dashed=True)
    sheet.arrow([(456, 160), (218, 160), vocabulary.top], dashed=True)
    return sheet.finish()
