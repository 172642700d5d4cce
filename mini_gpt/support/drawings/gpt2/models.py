"""The model whose weights are read, and the one beside it that must agree."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


def dataflow() -> Picture:
    """The way through GPT-2 with the names that its file gives to the parts."""
    sheet = Drawing(
        "GPT-2 from bottom to top, with the names of its file. Rows of wte and wpe are "
        "added and make the residual stream. In each block h.0, h.1 and so on, ln_1, "
        "c_attn, the heads and attention's c_proj write to the stream; then ln_2, "
        "c_fc, GELU and the c_proj of mlp write to it. At the end stand ln_f and, once "
        "more, wte as the output head."
    )
    x = 60
    sheet.arrow([(x, 470), (x, 42)], color="blue", width=5)
    sheet.text((x, 26), "logits", size=13, bold=True)
    for name, y, color in (("wte (head)", 52, "yellow"), ("ln_f", 88, "green")):
        sheet.box(x - 50, y, 100, 28, name, color=color, size=13, mono=True)
    lower = (("wte", 470, "yellow"), ("wpe", 504, "green"))
    for name, y, color in lower:
        sheet.box(x - 50, y, 100, 28, name, color=color, size=13, mono=True)
    sheet.text((x + 62, 500), "added", size=12, anchor="start", color="gray")
    sheet.box(104, 126, 330, 332, color="gray", dashed=True)
    sheet.text((424, 142), "h.0, h.1, … each block", size=12, anchor="end")

    def branch(top: int, names: Sequence[tuple[str, str]], part: str) -> None:
        """One part: from the stream, through its steps, and back to the stream."""
        bottom = top + 118
        sheet.arrow([(x, bottom), (128, bottom)])
        steps = list(names)
        for place, (name, color) in enumerate(steps):
            y = bottom - 14 - place * 36
            mono = color != "plain"
            sheet.box(128, y, 116, 28, name, color=color, size=13, mono=mono)
            if place:
                sheet.arrow([(186, y + 36), (186, y + 28)])
        last = bottom - 14 - (len(steps) - 1) * 36 + 14
        sheet.arrow([(128, last), (x + 11, last)], color="orange", width=2.5)
        sheet.circle((x, last), 10, "+")
        sheet.text((256, bottom - 54), part, size=13, anchor="start", color="gray")

    mlp = [("ln_2", "green"), ("mlp.c_fc", "orange"), ("GELU", "plain")]
    branch(166, [*mlp, ("mlp.c_proj", "orange")], "feed-forward")
    attention = [("ln_1", "green"), ("attn.c_attn", "blue"), ("heads", "plain")]
    branch(322, [*attention, ("attn.c_proj", "blue")], "attention")
    return sheet.finish()


def side_by_side(names: Sequence[str], parts_at: int) -> Picture:
    """Two models on the same ids, compared part by part up to a difference."""
    said = (
        "equal" if parts_at >= len(names) else f"first different at {names[parts_at]}"
    )
    sheet = Drawing(
        "Two models get the same ids. Their parts stand in two columns in the order of "
        f"computation, {', '.join(names)}; each pair is compared: {said}."
    )
    for place, name in enumerate(names):
        y, good = -place * 40, place < parts_at
        color = "green" if good else ("red" if place == parts_at else "gray")
        sheet.box(0, y, 170, 30, name, color=color, size=13)
        sheet.box(250, y, 170, 30, name, color=color, size=13)
        sign = "=" if good else ("≠" if place == parts_at else "?")
        sheet.text((210, y + 15), sign, size=16, bold=True)
        if place:
            sheet.arrow([(85, y + 40), (85, y + 30)])
            sheet.arrow([(335, y + 40), (335, y + 30)])
    sheet.box(125, 52, 170, 28, "the same ids", color="yellow", size=13)
    sheet.arrow([(150, 52), (85, 30)])
    sheet.arrow([(270, 52), (335, 30)])
    sheet.text((85, -len(names) * 40 + 26), "ours", size=13, bold=True)
    sheet.text((335, -len(names) * 40 + 26), "theirs", size=13, bold=True)
    return sheet.finish()


def which_model() -> Picture:
    """Where the released weights come from, or what stands in for them."""
    sheet = Drawing(
        "Three questions in a row. Are the released weights in the cache? Then GPT-2 "
        "speaks. If not, is fetch set and the hub in reach? Then they are fetched, and "
        "GPT-2 speaks. If not, a small random model of the same form stands in."
    )
    cache = sheet.box(0, 0, 130, 44, "in the cache\nof this machine?", size=13)
    fetch = sheet.box(0, 84, 130, 44, "fetch = True, and\nthe hub answers?", size=13)
    sheet.box(260, 40, 130, 44, "GPT-2 speaks", color="green", bold=True)
    random = sheet.box(
        0, 168, 130, 44, "a random model\nstands in", color="gray", size=13
    )
    sheet.arrow([cache.right, (200, 22), (200, 52), (260, 52)])
    sheet.arrow([fetch.right, (200, 106), (200, 74), (260, 74)])
    sheet.arrow([cache.bottom, fetch.top], "no")
    sheet.arrow([fetch.bottom, random.top], "no")
    sheet.text((165, 12), "yes", size=12)
    sheet.text((165, 118), "yes", size=12)
    return sheet.finish()
