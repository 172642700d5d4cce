"""Drawings of the chapter on searching and guessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Point, Units, text_width

Shares = Mapping[str, float]
Beams = Sequence[tuple[float, Sequence[int]]]  # log-probabilities and ids


def _seen(token: str) -> str:
    """A token's text with its spaces and line breaks to be seen."""
    return token.replace(" ", "␣").replace("\n", "⏎")


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
            token = f"{_seen(names[ids[-1]])}\n{score:.2f}"
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
        sheet.text((center, -14), _seen(name), size=13, mono=True)
    for row, text in enumerate(rows):
        sheet.text((0, row * 34 + 15), _seen(text), size=13, anchor="start", mono=True)
        first = row * len(names)
        colors = [
            "orange" if first + column in best else "plain"
            for column in range(len(names))
        ]
        shown = [f"{score:.2f}" for score in scores[row].tolist()]
        sheet.row(left, row * 34, shown, width=wide, height=30, colors=colors, size=13)
    return sheet.finish()


def guessing_round(
    before: Sequence[str], guesses: Sequence[str], own: Sequence[str]
) -> Picture:
    """One round: the draft's guesses, the target's own choices, and what is kept.

    Args:
        before: The last tokens of the text so far.
        own: The target's choice at each guess, and one more.
    """
    kept = 0
    while kept < len(guesses) and guesses[kept] == own[kept]:
        kept += 1
    sheet = Drawing(
        f"One round after {' '.join(before)}. The draft guesses {', '.join(guesses)}, "
        f"one after another. One pass of the target over them chooses "
        f"{', '.join(own)}. {kept} guesses agree and are kept, and the target's next "
        "choice is added."
    )
    wide, left = 62, 96
    x = left + wide / 2
    sheet.text((0, 14), "draft guesses", size=13, anchor="start")
    colors = ["orange"] * kept + ["gray"] * (len(guesses) - kept)
    guessed = sheet.row(left, 0, [*map(_seen, guesses)], width=wide, colors=colors)
    sheet.text((0, 64), "one pass", size=13, anchor="start")
    sheet.box(left, 50, wide * len(own), 28, "target, all places at once", color="blue")
    sheet.text((0, 114), "own choices", size=13, anchor="start")
    texts = [*map(_seen, own)]
    colors = ["blue" if place <= kept else "gray" for place in range(len(own))]
    chosen = sheet.row(left, 100, texts, width=wide, colors=colors)
    for box in guessed:
        sheet.arrow([box.bottom, (box.bottom[0], 50)])
    for place, box in enumerate(chosen):
        sheet.arrow([(box.top[0], 78), box.top])
        verdict = "same" if place < kept else "differs" if place == kept else "unused"
        if place == len(guesses):
            verdict = "extra" if kept == place else "unused"
        sheet.text((x + place * wide, 142), verdict, size=12)
    sheet.text((0, 178), "the text gets", size=13, anchor="start")
    colors = ["orange"] * kept + ["blue"]
    sheet.row(left, 164, texts[: kept + 1], width=wide, colors=colors)
    return sheet.finish()


def written_by(rounds: Sequence[Sequence[str]], limit: int = 12) -> Picture:
    """A text as its rounds wrote it: kept guesses, and the target's own last token."""
    shown = rounds[:limit]
    counts = ", ".join(str(len(tokens)) for tokens in shown)
    sheet = Drawing(
        f"{len(shown)} rounds of a text. Each ends with a token of the "
        f"target's own; those before it are kept guesses. Tokens in each: {counts}."
    )
    x: Units = 0
    y: Units = 0
    for tokens in shown:
        wide = [text_width(_seen(token), 13) + 12 for token in tokens]
        if x and x + sum(wide) > 450:
            x, y = 0, y + 46
        begin = x
        for place, (token, width) in enumerate(zip(tokens, wide, strict=True)):
            color = "blue" if place == len(tokens) - 1 else "orange"
            sheet.box(x, y, width, 26, _seen(token), color=color, size=13, round=2)
            x += width
        sheet.line([(begin + 3, y + 32), (x - 3, y + 32)], color="gray")
        x += 10
    sheet.text((0, y + 52), "orange: kept guess", size=13, anchor="start")
    sheet.text((220, y + 52), "blue: target's own", size=13, anchor="start")
    return sheet.finish()


def overlap(
    target: Float[Tensor, " vocab_size"],
    draft: Float[Tensor, " vocab_size"],
    names: Sequence[str],
) -> Picture:
    """p and q as bars, then the overlap with the gaps of p and what q has too much."""
    shared = target.minimum(draft)
    numbers = "; ".join(
        f"{name}: p {p:.1f}, q {q:.1f}, overlap {both:.1f}, gap {p - both:.1f}"
        for name, p, q, both in zip(
            names, target.tolist(), draft.tolist(), shared.tolist(), strict=True
        )
    )
    sheet = Drawing(f"Bars of the target p and the draft q for each token. {numbers}.")
    high, wide, step, ground = 200.0, 20, 52, 150
    for place, (p, q) in enumerate(zip(target.tolist(), draft.tolist(), strict=True)):
        x = place * step
        for left, share, color in ((x, p, "blue"), (x + wide, q, "orange")):
            tall = high * share
            sheet.box(left, ground - tall, wide, tall, color=color, round=0)
            label = f"{share:.1f}".removeprefix("0") if share else "0"
            sheet.text((left + wide / 2, ground - tall - 9), label, size=12)
        sheet.text((x + wide, ground + 13), names[place], size=14, mono=True)
    sheet.text((0, ground + 36), "blue: target p", size=13, anchor="start")
    sheet.text((0, ground + 54), "orange: draft q", size=13, anchor="start")
    shift, wide = 4 * step + 44, 34
    for place, both in enumerate(shared.tolist()):
        x, p, q = shift + place * step, float(target[place]), float(draft[place])
        low = ground - high * both
        if both:
            sheet.box(x, low, wide, high * both, f"{both:.1f}", color="green", round=0)
        if p > both:
            tall = high * (p - both)
            gap = f"{p - both:.1f}"
            sheet.box(x, low - tall, wide, tall, gap, color="purple", round=0)
        if q > both:
            tall = high * (q - both)
            more = f"{q - both:.1f}"
            sheet.box(x, low - tall, wide, tall, more, dashed=True, round=0)
        sheet.text((x + wide / 2, ground + 13), names[place], size=14, mono=True)
    for row, note in enumerate(
        (
            "green: overlap, kept",
            "purple: gap of p, redrawn",
            "dashed: excess, not kept",
        )
    ):
        place_of_note = shift - 6, ground + 36 + 18 * row
        sheet.text(place_of_note, note, size=13, anchor="start")
    return sheet.finish()


def exchange(
    target: Float[Tensor, " vocab_size"],
    draft: Float[Tensor, " vocab_size"],
    names: Sequence[str],
) -> Picture:
    """Where each share of q goes: kept, or collected and dealt out again."""
    shared = target.minimum(draft)
    lost = float((draft - shared).sum())
    sheet = Drawing(
        f"A strip for the draft q above one for the target p. Of q, "
        f"{float(shared.sum()):.1f} is kept and goes straight down. The other "
        f"{lost:.1f} is collected in the middle and dealt out to the gaps of p."
    )
    slots = target.maximum(draft).tolist()
    scale = (440 - 10 * len(slots)) / sum(slots)
    pool = sheet.box(160, 92, 150, 30, f"not kept: {lost:.1f}", color="gray")
    inside = pool.x + 12, pool.x + pool.width - 12
    x: Units = 0
    for name, slot, p, q, both in zip(
        names, slots, target.tolist(), draft.tolist(), shared.tolist(), strict=True
    ):
        kept, extra = scale * both, scale * (slot - both)
        for y, share in ((0, q), (184, p)):
            if both:
                sheet.box(x, y, kept, 28, color="green", round=0)
            if share > both:
                color = "purple" if y else "plain"
                sheet.box(x + kept, y, extra, 28, color=color, round=0)
            label = x + scale * share / 2, y + (42 if y else -12)
            sheet.text(label, f"{name} {share:.1f}", size=13, mono=True)
        if both:
            kept_way: list[Point] = [(x + kept / 2, 28), (x + kept / 2, 184)]
            sheet.arrow(kept_way, color="green", width=1 + 8 * both)
        middle = x + kept + extra / 2
        end = min(max(middle, inside[0]), inside[1])
        if q > both:
            sheet.arrow([(middle, 28), (end, pool.y)], width=1 + 8 * (q - both))
        if p > both:
            way: list[Point] = [(end, pool.y + 30), (middle, 184)]
            sheet.arrow(way, color="purple", width=1 + 8 * (p - both))
        x += scale * slot + 10
    sheet.text((-16, 14), "q", size=15)
    sheet.text((-16, 198), "p", size=15)
    return sheet.finish()


def compared(names: Sequence[str], rows: Mapping[str, Sequence[float]]) -> Picture:
    """Several shares of each token side by side, as bars."""
    listed = "; ".join(
        f"{row}: {', '.join(f'{share:.2f}' for share in shares)}"
        for row, shares in rows.items()
    )
    sheet = Drawing(f"Bars of the tokens {', '.join(names)}, side by side. {listed}.")
    wide, looks = 30, ("blue", "orange", "purple")
    step = wide * len(rows) + 20
    for group, (row, shares) in enumerate(rows.items()):
        for place, share in enumerate(shares):
            x, tall = place * step + group * wide, 150 * share
            sheet.box(x, 150 - tall, wide, tall, color=looks[group], round=0)
            number = f"{share:.2f}".removeprefix("0")
            sheet.text((x + wide / 2, 141 - tall), number, size=12)
        note = f"{looks[group]}: {row}"
        sheet.text((0, 188 + 18 * group), note, size=13, anchor="start")
    for place, name in enumerate(names):
        sheet.text((place * step + wide * len(rows) / 2, 164), name, mono=True)
    return sheet.finish()


def judging(
    names: Sequence[str],
    target: Sequence[float],
    draft: Sequence[float],
    darts: Sequence[float],
) -> Picture:
    """Several guesses under judgment, from left to right, until one is not kept."""
    sheet = Drawing(
        "Guesses judged from left to right: each is kept if its dart is below p / q; "
        "the first that is not is replaced, and those after it are dropped."
    )
    wide, step, alive = 98, 112, True
    for place, (name, p, q, dart) in enumerate(
        zip(names, target, draft, darts, strict=True)
    ):
        left = place * step
        kept = alive and dart * q < p
        color = "green" if kept else "purple" if alive else "gray"
        sheet.box(left, 0, wide, 30, _seen(name), color=color, mono=True)
        x = left + wide / 2
        sheet.text((x, 46), f"p {p:.2f}   q {q:.2f}", size=13)
        if alive:
            sheet.text((x, 66), f"p / q = {p / q:.2f}", size=13)
            sheet.text((x, 86), f"dart {dart:.2f}", size=13)
        verdict = "kept" if kept else "drawn again" if alive else "dropped"
        sheet.text((x, 108), verdict, size=14, bold=True, color=color)
        if place:
            sheet.arrow([(left - step + wide + 1, 15), (left - 1, 15)])
        alive = kept
    return sheet.finish()


def sessions(prompt: int, guesses: int, kept: int) -> Picture:
    """What the two sessions have been fed before, in and after one round.

    Args:
        prompt: Tokens before the round.
        guesses: How many tokens the draft guesses.
        kept: How many of them are kept.
    """
    sheet = Drawing(
        f"Positions in the caches. Before a round all {prompt} tokens but the last "
        "have been fed. The draft is fed the last one and its guesses but the final; "
        f"the target is fed the last one and all {guesses} guesses. Then both are "
        f"cropped to the {prompt + kept} tokens that stay, and the target's own token "
        "is fed next time."
    )
    wide, left = 28, 100
    letters = [str(place + 1) for place in range(prompt + guesses)]
    old = ["gray"] * (prompt - 1)
    stay = old + ["green"] * (1 + kept)
    lines = [
        ("text before", letters[:prompt], ["gray"] * prompt),
        ("draft is fed", letters[:-1], old + ["orange"] * guesses),
        ("target is fed", letters, old + ["blue"] * (guesses + 1)),
        ("after crop", letters[: len(stay)], stay),
    ]
    for row, (name, texts, colors) in enumerate(lines):
        sheet.text((0, row * 42 + 13), name, size=13, anchor="start")
        sheet.row(left, row * 42, texts, width=wide, height=26, colors=colors, size=13)
    x = left + wide * len(stay) + 6
    sheet.text((x, 139), "next: the own token", size=12, anchor="start")
    return sheet.finish()


def costs(rows: Mapping[str, Mapping[str, float]]) -> Picture:
    """What the time of each way of writing consists of, as bars of milliseconds."""
    totals = {name: sum(parts.values()) for name, parts in rows.items()}
    listed = ", ".join(f"{name} {total:.2f}" for name, total in totals.items())
    sheet = Drawing(f"Bars of milliseconds, by what the time goes into: {listed}.")
    full = max(totals.values())
    looks = {"target": "blue", "draft": "orange", "choice": "green"}
    for row, (name, parts) in enumerate(rows.items()):
        y = row * 58
        sheet.text((0, y - 10), f"{name}: {totals[name]:.2f} ms", size=13,
                   anchor="start")  # fmt: skip
        x: Units = 0
        for part, cost in parts.items():
            wide = 440 * cost / full
            sheet.box(x, y, wide, 24, color=looks[part], round=0)
            if wide > 60:
                sheet.text((x + wide / 2, y + 12), f"{cost:.2f}", size=12)
            x += wide
    y = len(rows) * 58 - 8
    for place, (part, color) in enumerate(looks.items()):
        sheet.box(place * 120, y, 16, 14, color=color, round=0)
        sheet.text((place * 120 + 22, y + 7), part, size=13, anchor="start")
    return sheet.finish()


def lookup(tokens: Sequence[str], found: int, size: int, ahead: int) -> Picture:
    """A guess without a model: where the last tokens stood before, and what followed.

    Args:
        tokens: The text so far.
        found: Where the same tokens begin, earlier.
        size: How many tokens are compared.
        ahead: How many are copied.
    """
    copied = tokens[found + size : found + size + ahead]
    sheet = Drawing(
        f"The last {size} tokens of a text stood in it before; the tokens that "
        f"followed them there, {' '.join(copied)}, are the guesses."
    )
    wide = min(58.0, 440 / (len(tokens) + ahead))
    colors = ["plain"] * len(tokens)
    last = len(tokens) - size
    colors[found : found + size] = colors[last:] = ["green"] * size
    colors[found + size : found + size + len(copied)] = ["orange"] * len(copied)
    given = sheet.row(0, 40, [*map(_seen, tokens)], width=wide, colors=colors, size=13)
    guessed = sheet.row(
        wide * len(tokens) + 6, 40, [*map(_seen, copied)], width=wide,
        colors="orange", size=13,
    )  # fmt: skip
    begin, end = given[found + size].top, guessed[0].top
    sheet.curve(begin, ((begin[0] + end[0]) / 2, -20), end, color="orange")
    sheet.brace(
        (given[found].x, 72),
        (given[found].x + size * wide, 72),
        "the same",
        color="green",
    )
    sheet.brace(
        (given[last].x, 72), (given[last].x + size * wide, 72), "last", color="green"
    )
    return sheet.finish()
