"""Drawings of the chapter on writing text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units

SPAN_COLORS = {"shown": "green", "held": "orange", "byte": "gray", "dropped": "red"}


def _legend(
    sheet: Drawing, y: Units, entries: Sequence[tuple[str, str]], x: Units = 0
) -> None:
    for color, name in entries:
        sheet.box(x, y - 8, 18, 16, color=color, round=2)
        sheet.text((x + 24, y), name, size=13, anchor="start")
        x += 24 + 7.4 * len(name) + 18


def waste(words: Sequence[str]) -> Picture:
    """What the naive loop computes in each step: all positions, one of them new."""
    total = len(words) * (len(words) + 1) // 2
    sheet = Drawing(
        f"A staircase of {len(words)} steps. Each step computes all words so far: one "
        f"is new, the others were computed before. {total} cells, of which "
        f"{len(words)} are new."
    )
    sheet.text((-8, -14), "step", size=13, anchor="end")
    sheet.text((len(words) * 58 + 8, -14), "computed", size=13, anchor="start")
    for step in range(1, len(words) + 1):
        y = 30 * (step - 1)
        colors = ["orange"] * (step - 1) + ["blue"]
        sheet.row(0, y, words[:step], width=58, height=26, colors=colors, size=13)
        sheet.text((-14, y + 13), str(step), anchor="end")
        sheet.text((len(words) * 58 + 24, y + 13), str(step), anchor="start")
    y = 30 * len(words) + 14
    _legend(sheet, y, [("blue", "new"), ("orange", "computed before, unchanged")])
    sheet.text((len(words) * 58 + 8, y), f"sum: {total}", anchor="start", bold=True)
    return sheet.finish()


def kept(words: Sequence[str]) -> Picture:
    """One layer at the newest word: its query meets all keys and gathers all values."""
    *old, new = words
    sheet = Drawing(
        f"Attention at the new word {new}. Its query meets its own key and those of "
        f"{', '.join(old)}; the shares gather the values. Old ones are kept, "
        "new ones are appended; there are no old queries."
    )
    wide, left = 62, 66
    end = left + wide * len(words)
    for place, word in enumerate(words):
        color = "blue" if word is new else "plain"
        middle = left + wide * (place + 0.5)
        sheet.text((middle, 0), word, bold=word is new, color=color)
    colors = ["gray"] * len(old) + ["blue"]
    keys = sheet.row(
        left, 66, ["key"] * len(words), width=wide, height=28, colors=colors, size=13
    )
    values = sheet.row(
        left, 128, ["value"] * len(words), width=wide, height=28, colors=colors, size=13
    )
    query = sheet.box(
        left + wide * len(old) - 6, 20, wide + 12, 26, "query", color="blue"
    )
    x, y = query.left
    sheet.line([(x, y), (keys[0].top[0], y)], color="blue")
    for box in keys[:-1]:
        sheet.arrow([(box.top[0], y), box.top], color="blue")
    sheet.arrow([query.bottom, keys[-1].top], color="blue")
    for key, value in zip(keys, values, strict=True):
        sheet.arrow([key.bottom, value.top])
    sheet.text((left - 8, 80), "kept", size=13, anchor="end", color="gray")
    sheet.text((left - 8, 142), "kept", size=13, anchor="end", color="gray")
    sheet.text((left - 8, 111), "shares", size=13, anchor="end", color="gray")
    sheet.brace((left, 162), (end, 162))
    sheet.arrow([((left + end) / 2, 169), ((left + end) / 2, 190)])
    text = f"what {new} receives"
    sheet.box((left + end) / 2 - 80, 190, 160, 28, text, color="blue")
    return sheet.finish()


def memory(capacity: int, states: Sequence[tuple[str, int]]) -> Picture:
    """A cache's memory after each call.

    Args:
        capacity: Positions that it has room for.
        states: What was called, and how many positions are kept after it.
    """
    told = "; ".join(f"after {name}, {length}" for name, length in states)
    sheet = Drawing(
        f"A memory for {capacity} positions, taken once. Positions kept: {told}."
    )
    before = 0
    for line, (name, length) in enumerate(states):
        y = 36 * line
        sheet.text((-10, y + 14), name, size=13, anchor="end", mono=True)
        for place in range(capacity):
            new = before <= place < length
            color = "blue" if new else "gray" if place < length else "plain"
            text = str(place) if place < length else ""
            free = place >= length
            sheet.box(40 * place, y, 38, 28, text, color=color, dashed=free, round=2)
        before = length
    entries = [("blue", "copied now"), ("gray", "kept"), ("plain", "free")]
    _legend(sheet, 36 * len(states) + 12, entries)
    return sheet.finish()


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
    _legend(sheet, 44 * len(drawn) + 10, entries)
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


def rows_in_time(
    rows: Sequence[Sequence[str]], given: Sequence[int], ends: Sequence[int]
) -> Picture:
    """Rows against time: which words were given, which drawn, and where a row ended.

    Args:
        rows: The words of each row.
        given: How many of them are its prompt.
        ends: How many words each row has when it stops.
    """
    told = "; ".join(
        f"row {row} is given {has} and draws {end - has}"
        for row, (has, end) in enumerate(zip(given, ends, strict=True), start=1)
    )
    first, last = min(given), max(ends)
    sheet = Drawing(f"Rows of words against time: {told}. The first {first} columns "
                    "are one pass, each further column is a pass.")  # fmt: skip
    wide = min(62, 400 // last)
    for line, (words, has, end) in enumerate(zip(rows, given, ends, strict=True)):
        y = 38 * line
        sheet.text((-8, y + 15), f"row {line + 1}", size=13, anchor="end")
        colors = ["orange"] * has + ["blue"] * (end - has)
        sheet.row(
            0, y, words[:end], width=wide, height=30, colors=colors, size=11, mono=True
        )
        if end < last:
            x = wide * end + 8
            sheet.text((x, y + 15), "stopped", size=11, anchor="start")
    sheet.line([(wide * first, -8), (wide * first, 38 * len(rows) + 2)], dashed=True)
    sheet.brace((2, -8), (wide * first - 4, -8), "one pass", below=False)
    name = "a pass for each column"
    sheet.brace((wide * first + 4, -8), (wide * last, -8), name, below=False)
    entries = [("orange", "given: prompt"), ("blue", "drawn")]
    _legend(sheet, 38 * len(rows) + 20, entries)
    return sheet.finish()


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
    _legend(sheet, 30 * len(rows) + 14, entries)
    return sheet.finish()


def writing() -> Picture:
    """The way of a text through the parts of this chapter, and round again."""
    sheet = Drawing(
        "The loop of generate. The prompt is encoded and fed to the session, whose "
        "caches keep keys and values; its logits go to the choice, the chosen id goes "
        "to the streamer, which shows text or holds it, and back into the session."
    )
    prompt = sheet.box(0, 0, 110, 40, "encode_prompt", size=13)
    session = sheet.box(0, 84, 110, 56, "session\nmodel, caches", color="blue", size=13)
    choice = sheet.box(162, 92, 120, 40, "choose_tokens", color="orange", size=13)
    streamer = sheet.box(328, 92, 110, 40, "TextStreamer", color="green", size=13)
    shown = sheet.box(328, 172, 110, 30, "text to show", size=13)
    sheet.arrow([prompt.bottom, session.top], "ids")
    sheet.arrow([session.right, choice.left], "logits")
    sheet.arrow([choice.right, streamer.left], "id")
    sheet.arrow([streamer.bottom, shown.top])
    x, y = choice.bottom
    back = session.bottom[0]
    sheet.arrow([(x, y), (x, 187), (back, 187), (back, 140)], color="blue")
    sheet.text(((x + back) / 2, 200), "one new id a row", size=12, color="blue")
    x, y = streamer.top
    sheet.arrow([(x, y), (x, 50)], color="red")
    sheet.text((x, 38), "done? leave the batch", size=12, color="red")
    return sheet.finish()


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


def told(words: Sequence[str], right: Sequence[int], wrong: Sequence[int]) -> Picture:
    """Which position each word is told, by a right cache and by a wrong one."""
    sheet = Drawing(
        f"The words {', '.join(words)} are told positions {list(right)} by the right "
        f"cache, and {list(wrong)} by the forgetful one."
    )
    sheet.row(0, 0, words, width=58, height=28, size=13)
    for line, (name, numbers, color) in enumerate(
        (("right cache", right, "green"), ("forgetful", wrong, "red"))
    ):
        y = 38 * (line + 1)
        sheet.text((-8, y + 14), name, size=13, anchor="end")
        sheet.row(0, y, [str(n) for n in numbers], width=58, height=28, colors=color)
    return sheet.finish()


def lookback(count: int, window: int) -> Picture:
    """Which positions a window cache still holds when each new one has come."""
    sheet = Drawing(
        f"For each of {count} positions that come, the positions that a cache with a "
        f"window of {window} holds: the new one and at most {window - 1} before it."
    )
    sheet.text((-10, -14), "new", size=13, anchor="end", color="gray")
    sheet.text((0, -14), "held then", size=13, anchor="start", color="gray")
    for new in range(count):
        sheet.text((-14, 30 * new + 13), str(new), anchor="end")
        for place in range(max(0, new - window + 1), new + 1):
            color = "blue" if place == new else "gray"
            sheet.box(40 * place, 30 * new, 38, 26, str(place), color=color, round=2)
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


def hooked(blocks: int, off: int) -> Picture:
    """One forward pass: the session calls the model, it its blocks, one of them off.

    Args:
        blocks: How many blocks the model has.
        off: The one that returns what went in.
    """
    sheet = Drawing(
        f"The session calls the model, which calls its embedding, {blocks} blocks and "
        f"its head. A hook lets what goes into block {off} pass by it unchanged."
    )
    sheet.box(-8, -46, 64 * (blocks + 2) + 6, 96, dashed=True)
    sheet.text((2, -34), "model", size=12, anchor="start", color="gray")
    names = ["embed", *(f"block {n}" for n in range(blocks)), "head"]
    boxes = []
    for place, name in enumerate(names):
        color = "red" if place == off + 1 else "blue"
        box = sheet.box(
            64 * place, 0, 52, 30, name, color=color, size=12, dashed=color == "red"
        )
        boxes.append(box)
    for left, right in pairwise(boxes):
        sheet.arrow([left.right, right.left])
    before, after = boxes[off + 1].left, boxes[off + 1].right
    sheet.arrow(
        [
            (before[0] - 6, 15),
            (before[0] - 6, -14),
            (after[0] + 5, -14),
            (after[0] + 5, 9),
        ],
        color="red",
    )
    sheet.text((boxes[off + 1].center[0], -26), "the hook", size=12, color="red")
    start = boxes[0].left[0]
    sheet.box(start - 100, -6, 74, 42, "session\n.feed", size=13)
    sheet.arrow([(start - 26, 15), (start, 15)])
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
    _legend(sheet, 58, [("blue", names[0]), ("gray", names[1])])
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
    _legend(sheet, 34 * count + 10, entries)
    return sheet.finish()


def callers() -> Picture:
    """Which function calls which, from what users call down to the two loops."""
    sheet = Drawing(
        "generate, generate_stream and the command mini-gpt sample all call "
        "generate_rows. It writes with _grow, step by step, or with replay, which "
        "repeats a recorded step; both feed an InferenceSession."
    )
    tops = []
    for place, name in enumerate(("generate", "generate_stream", "mini-gpt sample")):
        color = "gray" if place == 2 else "blue"
        tops.append(sheet.box(146 * place, 0, 132, 32, name, color=color, size=13))
    rows = sheet.box(146, 70, 132, 32, "generate_rows", color="blue", size=13)
    for place, box in enumerate(tops):
        end = rows.top[0] + 30 * (place - 1), rows.top[1]
        sheet.arrow([box.bottom, end])
    grow = sheet.box(50, 140, 132, 40, "_grow\nstep by step", color="green", size=13)
    replay = sheet.box(242, 140, 132, 40, "replay\nrecorded", color="orange", size=13)
    sheet.arrow([(rows.x + 36, 102), (grow.center[0] + 20, 140)])
    sheet.arrow([(rows.x + 96, 102), (replay.center[0] - 20, 140)])
    session = sheet.box(138, 218, 148, 32, "InferenceSession", color="blue", size=13)
    sheet.arrow([(grow.center[0] + 20, 180), (session.x + 34, 218)])
    sheet.arrow([(replay.center[0] - 20, 180), (session.x + 114, 218)])
    return sheet.finish()


def seeds(count: int, firsts: Sequence[int]) -> Picture:
    """The seed of each row, for calls whose configurations begin at these seeds."""
    told = "; ".join(
        f"seed {first}: rows {list(range(first, first + count))}" for first in firsts
    )
    sheet = Drawing(f"The seed of each row, counted on from the call's seed. {told}.")
    for line, first in enumerate(firsts):
        y = 40 * line
        sheet.text((-8, y + 15), f"seed={first}", size=13, anchor="end", mono=True)
        for row in range(count):
            seed = first + row
            twice = sum(f <= seed < f + count for f in firsts) > 1
            color = "red" if twice else "green"
            sheet.box(44 * seed, y, 40, 30, str(seed), color=color)
    entries = [("green", "drawn once"), ("red", "drawn twice")]
    _legend(sheet, 40 * len(firsts) + 12, entries)
    return sheet.finish()


def shelves(layers: int, positions: int) -> Picture:
    """What is kept of one text: in every layer keys and values, for every position."""
    sheet = Drawing(
        f"The cache of one text: {layers} layers, each with keys and values for "
        f"{positions} positions. A cell holds a vector for each head of keys."
    )
    for layer in range(layers):
        y = 74 * layer
        sheet.text((-62, y + 29), f"layer {layer}", size=13, anchor="end")
        for line, name in enumerate(("keys", "values")):
            top = y + 30 * line
            color = ("blue", "orange")[line]
            sheet.text((-8, top + 13), name, size=12, anchor="end", color=color)
            sheet.row(0, top, [""] * positions, width=40, height=26, colors=color)
    y = 74 * layers - 6
    sheet.brace((0, y), (40 * positions, y), "context_length")
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
    _legend(sheet, 32 * new + 10, entries)
    return sheet.finish()
