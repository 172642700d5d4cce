"""Texts as a tree, and beams in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, visible

Shares = Mapping[str, float]


Beams = Sequence[tuple[float, Sequence[int]]]  # log-probabilities and ids


def text_tree(
    start: Shares, after: Mapping[str, Shares], greedy: str, best: str
) -> Picture:
    """All texts of two words as a tree, with the greedy path and the likeliest text."""
    ends = {
        one + two: p * q for one, p in start.items() for two, q in after[one].items()
    }
    listed = ", ".join(f"{text} {share:.2f}" for text, share in ends.items())
    sheet = Drawing(
        f"A tree of texts of two words. Their probabilities: {listed}. The greedy path "
        f"leads to {greedy}, and the likeliest text is {best}."
    )
    sheet.text((26, -24), "start", size=13)
    root = sheet.circle((26, 60), 8, color="gray")
    y: Units = 0
    for one, p in start.items():
        middle = y + 36 * (len(after[one]) - 1) / 2 + 13
        box = sheet.box(130, middle - 14, 84, 28, f"{one}  {p:.2f}", mono=True)
        _branch(sheet, root.right, box.left, one, greedy, best, p)
        for two, q in after[one].items():
            text = one + two
            color = {best: "orange", greedy: "blue"}.get(text, "plain")
            share = f"{text}  {ends[text]:.2f}"
            leaf = sheet.box(320, y, 92, 26, share, color=color, mono=True)
            _branch(sheet, box.right, leaf.left, text, greedy, best, q)
            y += 36
        y += 14
    sheet.text((366, -24), "texts", size=13)
    sheet.text((0, y + 4), "blue: greedy", size=13, anchor="start", color="blue")
    sheet.text((200, y + 4), "orange: likeliest", size=13, color="orange")
    return sheet.finish()


def _branch(
    sheet: Drawing,
    begin: tuple[Units, Units],
    end: tuple[Units, Units],
    text: str,
    greedy: str,
    best: str,
    share: float,
) -> None:
    """An arrow as thick as its share, in the color of the path that it is on."""
    color = "gray"
    if greedy.startswith(text):
        color = "blue"
    if best.startswith(text):
        color = "orange"
    sheet.arrow([begin, end], color=color, width=0.8 + 4 * share)


def beams(steps: Sequence[Beams], names: Mapping[int, str]) -> Picture:
    """Which texts are kept at each step of a beam search, and which were their parents.

    Args:
        steps: For each step the texts that it keeps, the likeliest first.
        names: The text of each token.
    """
    last = " | ".join("".join(names[id] for id in ids) for _, ids in steps[-1])
    sheet = Drawing(
        f"A beam search, a column for each step, the likeliest text on top. Each box "
        f"has the newest token and the score of the whole text. At the end: {last!r}."
    )
    wide, step = 76, 96
    boxes = {}
    for column, kept in enumerate(steps):
        sheet.text((column * step + wide / 2, -16), f"step {column + 1}", size=12)
        parents = {tuple(ids[:-1]) for _, ids in steps[column + 1]} if (
            column + 1 < len(steps)
        ) else {tuple(ids) for _, ids in kept}  # fmt: skip
        for row, (score, ids) in enumerate(kept):
            color = "orange" if tuple(ids) in parents else "gray"
            token = f"{visible(names[ids[-1]])}\n{score:.2f}"
            place = column * step, row * 56
            box = sheet.box(*place, wide, 42, token, color=color, size=13)
            boxes[tuple(ids)] = box
            if parent := boxes.get(tuple(ids[:-1])):
                sheet.arrow([parent.right, box.left])
    return sheet.finish()


def ranking(
    scores: Float[Tensor, "alive vocab_size"], rows: Sequence[str], names: Sequence[str]
) -> Picture:
    """All continuations of all beams in one table, the best of them lit.

    Args:
        rows: The text of each beam; as many continuations are lit.
        names: The token of each column.
    """
    flat = scores.flatten()
    best = set(flat.topk(len(rows)).indices.tolist())
    lit = ", ".join(
        f"{rows[place // len(names)]} {names[place % len(names)]}"
        for place in sorted(best)
    )
    sheet = Drawing(
        f"A table of scores, a row for each beam and a column for each token. The best "
        f"{len(rows)} of all are lit: {lit}."
    )
    wide, left = 64, 84
    for column, name in enumerate(names):
        center = left + (column + 0.5) * wide
        sheet.text((center, -14), visible(name), size=13, mono=True)
    for row, text in enumerate(rows):
        sheet.text(
            (0, row * 34 + 15), visible(text), size=13, anchor="start", mono=True
        )
        first = row * len(names)
        colors = [
            "orange" if first + column in best else "plain"
            for column in range(len(names))
        ]
        shown = [f"{score:.2f}" for score in scores[row].tolist()]
        sheet.row(left, row * 34, shown, width=wide, height=30, colors=colors, size=13)
    return sheet.finish()
