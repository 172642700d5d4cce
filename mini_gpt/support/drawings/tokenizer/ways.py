"""The way of a text to ids and back."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, text_width, visible
from mini_gpt.support.drawings.tokenizer.boxes import part_boxes


def way_of_a_text(
    text: str, split: Sequence[Sequence[str]], ids: Sequence[int]
) -> Picture:
    """From a text to ids: cut, merge within each part, look up.

    Args:
        split: For each pretoken the texts of its tokens.
        ids: The id of each token.
    """
    tokens = [visible(token) for parts in split for token in parts]
    pretokens = [visible("".join(parts)) for parts in split]
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
    sheet.box(96, 0, end - 96, 26, visible(text), size=13, mono=True)
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


def two_ways_in(text: str, typed: Sequence[str], meant: Sequence[str]) -> Picture:
    """A special token typed and meant: two rows of ids, one text.

    Args:
        typed: Tokens of the text when nothing is allowed.
        meant: Tokens when the special one is.
    """
    special = next(part for part in meant if part not in typed)
    one, other = ([visible(part) for part in parts] for parts in (typed, meant))
    sheet = Drawing(
        f"The text {text!r} is encoded in two ways: as ordinary text into "
        f"{len(one)} tokens, {' | '.join(one)}, or with the special token allowed into "
        f"{len(other)}, {' | '.join(other)}. Decoding either gives the same text."
    )
    top = sheet.box(120, 0, 230, 28, text, size=13, mono=True)
    sheet.text((0, 62), "encode(text)", size=12, anchor="start", mono=True)
    boxes = part_boxes(sheet, (0, 74), one, ["blue"] * len(one))
    sheet.text(
        (0, 128),
        "encode(text, allowed_special=...)",
        size=12,
        anchor="start",
        mono=True,
    )
    colors = ["orange" if part == special else "blue" for part in meant]
    others = part_boxes(sheet, (0, 140), other, colors)
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
