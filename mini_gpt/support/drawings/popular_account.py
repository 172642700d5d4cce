"""Drawings for the chapter on an account that many have read: two machines, a leak."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, visible


def two_machines() -> Picture:
    """One block of GPT-2 beside one of the account, from below upwards."""
    sheet = Drawing(
        "Two stacks side by side. GPT-2: tokens plus positions; then in each block a "
        "normalization, maps to query, key and value, heads that see the past, a plus, "
        "a feed-forward network, a plus; then the output head. The account: tokens; in "
        "each block a feed-forward network, positions added to query, key and value, "
        "pieces of the sequence that see both ways, a concatenation with a linear map; "
        "then a compression and the output head."
    )
    ours = [
        ("tokens + positions", "gray"),
        ("query, key, value", "plain"),
        ("heads see the past", "plain"),
        ("added to the stream", "plain"),
        ("feed-forward", "plain"),
        ("added to the stream", "plain"),
        ("output head", "gray"),
    ]
    theirs = [
        ("tokens", "gray"),
        ("feed-forward", "orange"),
        ("query, key, value", "plain"),
        ("positions added to each", "orange"),
        ("pieces see both ways", "orange"),
        ("concatenated, linear map", "orange"),
        ("compression", "orange"),
        ("output head", "gray"),
    ]
    places = {"GPT-2": (0, ours, 1, 5), "the account": (240, theirs, 1, 5)}
    for title, (x, parts, first, last) in places.items():
        sheet.text((x + 89, -330), title, size=14, bold=True)
        boxes = []
        for number, (name, color) in enumerate(parts):
            y = -44 * number
            boxes.append(sheet.box(x, y, 178, 28, name, color=color, size=13))
        for low, high in pairwise(boxes):
            sheet.arrow([low.top, high.bottom])
        end = x + 184
        sheet.brace((end, boxes[last].y), (end, boxes[first].y + 28), "× L")
    return sheet.finish()


def answer_to_the_right(letters: str) -> Picture:
    """What each position is asked for, and that it stands one place further right."""
    shown = [visible(letter) for letter in letters]
    time = len(shown) - 1
    sheet = Drawing(
        f"A window of {time} characters, {' '.join(shown[:-1])}. Each position is "
        "asked for the next character, which is the input one place to its right; "
        "without a mask it can be copied. Only the last position, asked for "
        f"{shown[-1]}, has nothing to its right."
    )
    cell = min(46, 452 / time)
    for place in range(time):
        last, x, size = place == time - 1, cell * place, (cell - 8, 30)
        color = "green" if last else "red"
        sheet.box(x, 0, *size, shown[place + 1], color=color, mono=True)
        sheet.box(x, 96, *size, shown[place], color="gray", mono=True)
        middle = cell * place + cell / 2 - 4
        if not last:
            sheet.arrow([(middle + cell - 4, 94), (middle + 3, 33)], color="red")
    end = cell * time - 8
    sheet.text((0, -14), "asked for", size=13, anchor="start")
    sheet.text((0, 142), "given", size=13, anchor="start")
    sheet.text((end, 142), "nothing to the right", size=13, anchor="end", color="green")
    x = end - cell / 2 + 4
    sheet.arrow([(x, 92), (x, 34)], color="green", dashed=True)
    return sheet.finish()


def lessons(time: int) -> Picture:
    """How many positions of a window teach to predict: all, or only the last."""
    sheet = Drawing(
        f"Three windows of {time} positions. With a mask all {time} are lessons in "
        "prediction. Without one all but the last are lessons in copying. Without one "
        "and asked at the end only, there is one lesson."
    )
    rows = {
        "mask": ["green"] * time,
        "no mask": ["red"] * (time - 1) + ["green"],
        "no mask, asked at the end": ["plain"] * (time - 1) + ["green"],
    }
    for number, (name, colors) in enumerate(rows.items()):
        y = 56 * number
        sheet.text((0, y - 12), name, size=13, anchor="start")
        sheet.row(0, y, [""] * time, width=360 / time, height=22, colors=colors)
        said = sum(color == "green" for color in colors)
        sheet.text((372, y + 11), str(said), size=14, anchor="start", color="green")
    y = 56 * len(rows) - 8
    keys = (("predicts", "green"), ("copies", "red"), ("not asked", "plain"))
    for place, (name, color) in enumerate(keys):
        sheet.box(118 * place, y, 18, 16, color=color)
        sheet.text((118 * place + 26, y + 8), name, size=12, anchor="start")
    return sheet.finish()


def reach(pieces: int, layers: int) -> Picture:
    """How far back the last piece can see, layer by layer."""
    sheet = Drawing(
        f"A sequence cut into {pieces} pieces, once for each of {layers} layers and "
        "once for the input. In every layer a piece reads itself and the piece before, "
        f"so the last piece of the output depends on {min(pieces, layers + 1)} pieces."
    )
    cell = 380 / pieces
    for layer in range(layers + 1):
        y = -64 * layer
        known = [piece >= pieces - 1 - (layers - layer) for piece in range(pieces)]
        name = "input" if layer == 0 else f"layer {layer}"
        sheet.text((0, y + 14), name, size=13, anchor="start")
        for piece in range(pieces):
            color = "orange" if known[piece] else "plain"
            sheet.box(62 + cell * piece, y, cell - 8, 28, str(piece + 1), color=color)
        if layer == 0:
            continue
        for piece in range(pieces):
            middle = 58 + cell * (piece + 0.5)
            for source in (piece - 1, piece):
                if source >= 0:
                    below = 58 + cell * (source + 0.5)
                    color = "orange" if known[piece] else "gray"
                    sheet.arrow([(below, y + 63), (middle, y + 30)], color=color)
    return sheet.finish()


def one_hand(positions: Sequence[int]) -> Picture:
    """The single hand of a clock at some positions; several of them look alike."""
    told = ", ".join(f"{p} at {p % math.tau:.2f}" for p in positions)
    sheet = Drawing(
        "A clock with one hand that turns by one radian at each position, drawn for "
        f"some positions, in radians beyond whole turns: {told}."
    )
    for number, position in enumerate(positions):
        x = 74 * number
        sheet.circle((x, 0), 28)
        end = x + 24 * math.sin(position), -24 * math.cos(position)
        sheet.arrow([(x, 0), end], color="blue", width=2)
        sheet.text((x, 44), str(position), size=13)
    sheet.text((-28, 66), "position", size=12, anchor="start", color="gray")
    return sheet.finish()


def plus_or_concatenation() -> Picture:
    """Addition, and the linear map of both side by side, which can be addition."""
    sheet = Drawing(
        "Left: what a part found is added to the stream. Right: stream and finding are "
        "laid side by side and multiplied by a matrix of twice the width. Where the "
        "matrix is two identities side by side the two are the same."
    )
    stream = sheet.box(0, 100, 84, 28, "stream", color="gray", size=13)
    found = sheet.box(98, 100, 84, 28, "finding", color="blue", size=13)
    plus = sheet.circle((91, 44), 13, "+")
    out = sheet.box(49, -26, 84, 28, "stream", color="gray", size=13)
    sheet.arrow([stream.top, (plus.x + 2, 54)])
    sheet.arrow([found.top, (plus.x + 24, 54)])
    sheet.arrow([plus.top, out.bottom])
    x = 244
    sheet.box(x, 100, 100, 28, "stream", color="gray", size=13, round=0)
    sheet.box(x + 100, 100, 100, 28, "finding", color="blue", size=13, round=0)
    matrix = sheet.box(x + 10, 34, 180, 28, "[ A | B ]", color="orange", mono=True)
    out = sheet.box(x + 50, -26, 100, 28, "stream", color="gray", size=13)
    sheet.arrow([(x + 100, 98), matrix.bottom])
    sheet.arrow([matrix.top, out.bottom])
    sheet.text((x + 100, 146), "the same where A = B = identity", size=12)
    return sheet.finish()


def narrow(width: int, squeezed: int) -> Picture:
    """The stream before the head, squeezed through fewer features and back."""
    sheet = Drawing(
        f"Before the output head the stream of {width} features is mapped to "
        f"{squeezed} and back to {width}."
    )
    for number, count in enumerate((width, squeezed, width)):
        tall = 110 * count / width
        x = 96 * number
        box = sheet.box(x, -tall / 2, 40, tall, str(count), color="blue", size=13)
        if number:
            sheet.arrow([(x - 54, 0), (box.x - 2, 0)])
    head = sheet.box(288, -16, 96, 32, "output head", color="gray", size=13)
    sheet.arrow([(234, 0), head.left])
    return sheet.finish()


def lesson_and_writing(text: str) -> Picture:
    """In training the text is there; in writing only the prompt is."""
    shown = [visible(letter) for letter in text]
    count = len(shown)
    sheet = Drawing(
        f"Above, training: all of {text!r} is given, and each position is asked for "
        "the character after it. Below, writing: only the prompt is given, and each "
        "further character is drawn by the model itself and given back to it."
    )
    cell = min(34, 440 / count)
    given = count // 3
    for number, title in enumerate(
        ("training: the text is there", "writing: it is not")
    ):
        y = 84 * number
        sheet.text((0, y - 14), title, size=13, anchor="start")
        for place in range(count):
            own = number == 1 and place >= given
            sheet.box(
                cell * place,
                y,
                cell - 3,
                28,
                "?" if own else shown[place],
                color="orange" if own else "gray",
                size=13,
                mono=True,
                dashed=own,
            )
    sheet.brace((0, 118), (cell * given - 3, 118), "prompt")
    sheet.brace((cell * given, 118), (cell * count - 3, 118), "its own choices")
    return sheet.finish()


def true_of_a_neighbor(pairs: Sequence[tuple[str, str]]) -> Picture:
    """Each sentence of the account, and the neighbor of whom it is true.

    Args:
        pairs: A sentence, and where it is true; short, for a phone.
    """
    told = "; ".join(f"{said}: {where}" for said, where in pairs)
    sheet = Drawing(f"Sentences of the account, and where each is true. {told}.")
    sheet.text((100, -16), "said of GPT-2", size=13, bold=True)
    sheet.text((345, -16), "true of", size=13, bold=True)
    for number, (said, where) in enumerate(pairs):
        y = 38 * number
        left = sheet.box(0, y, 206, 28, said, color="orange", size=12)
        right = sheet.box(234, y, 222, 28, where, color="green", size=12)
        sheet.arrow([left.right, right.left])
    return sheet.finish()


def orders() -> Picture:
    """Three orders of the parts of a block, from left to right."""
    sheet = Drawing(
        "Three blocks as chains. GPT-2: attention, plus, feed-forward, plus. The "
        "kinder reading: feed-forward, plus, attention, plus. The stricter reading: "
        "the feed-forward network makes query, key and value; attention; plus."
    )
    chains = {
        "GPT-2": ["attention", "+", "feed-forward", "+"],
        "first, added": ["feed-forward", "+", "attention", "+"],
        "first, makes Q, K, V": ["feed-forward", "attention", "+"],
    }
    for number, (title, parts) in enumerate(chains.items()):
        y = 66 * number
        sheet.text((0, y - 26), title, size=13, anchor="start", color="gray")
        x, before = 0.0, None
        for name in parts:
            if name == "+":
                part = sheet.circle((x + 14, y), 13, "+")
            else:
                color = "orange" if name == "feed-forward" else "blue"
                part = sheet.box(x, y - 15, 104, 30, name, color=color, size=13)
            if before is not None:
                sheet.arrow([before.right, part.left])
            before, x = part, part.x + part.width + 26
    return sheet.finish()


def departures(names: Sequence[str]) -> Picture:
    """Where in a block each departure acts, from the input upwards."""
    acts = dict.fromkeys(("no mask", "cut sequence"), "the table of who sees whom")
    acts |= {
        "positions inside": "queries, keys and values",
        "one frequency": "the rows that are added there",
        "feed-forward first": "what makes them; no second part",
        "concatenation": "how a finding joins the stream",
        "compression": "before the output head, once",
    }
    told = "; ".join(f"{name}: {acts[name]}" for name in names)
    sheet = Drawing(f"The departures and what each of them changes. {told}.")
    for number, name in enumerate(names):
        y = 36 * number
        left = sheet.box(0, y, 160, 28, name, color="orange", size=13)
        right = sheet.box(196, y, 250, 28, acts[name], color="gray", size=13)
        sheet.arrow([left.right, right.left])
    return sheet.finish()


def entries(layers: int) -> Picture:
    """Where positions enter: once below, or in every layer."""
    sheet = Drawing(
        f"Two stacks of {layers} layers. In GPT-2 positions are added once, to the "
        "token embeddings below the first layer. In the account they are added to "
        "query, key and value inside every layer."
    )
    for number, title in enumerate(("GPT-2", "the account")):
        x = 224 * number
        sheet.text((x + 75, -58 * layers - 20), title, size=13, bold=True)
        below = sheet.box(x, 0, 150, 30, "tokens", color="gray", size=13)
        entering = [below] if number == 0 else []
        for layer in range(1, layers + 1):
            box = sheet.box(x, -58 * layer, 150, 38, f"layer {layer}", size=13)
            sheet.arrow([below.top, box.bottom])
            below = box
            if number == 1:
                entering.append(box)
        for box in entering:
            _, y = box.right
            name = "positions" if number == 0 else "to Q, K, V"
            sheet.arrow([(x + 176, y), box.right], color="orange", width=2)
            sheet.text((x + 160, y - 14), name, size=12, anchor="start", color="orange")
    return sheet.finish()
