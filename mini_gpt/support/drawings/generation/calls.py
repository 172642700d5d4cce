"""Which function calls which."""

from __future__ import annotations

from itertools import pairwise

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


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
