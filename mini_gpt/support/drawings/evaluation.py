"""Drawings of the chapter on evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, text_width


def _shown(text: str) -> str:
    return text.replace("\n", "⏎").replace(" ", "␣")


def alone_or_taught() -> Picture:
    """The two ways to read an exam: with nothing before it, and after other text."""
    sheet = Drawing(
        "An exam that is read alone, and one that is read after the training text: all "
        "of the first row is measured; of the second, only the exam behind the long "
        "training text, and what came before it is free."
    )
    sheet.text((0, 15), "alone", anchor="start", bold=True)
    sheet.box(300, 0, 100, 30, "exam", color="orange")
    sheet.text((0, 71), "taught", anchor="start", bold=True)
    sheet.box(
        66, 56, 234, 30, "training text, 4.6 million bytes", color="blue", size=13
    )
    sheet.box(300, 56, 100, 30, "exam", color="orange")
    sheet.brace((66, 90), (300, 90), "read, but not measured")
    sheet.brace((302, 90), (400, 90), "measured")
    return sheet.finish()


def windows(tokens: int, context: int, stride: int) -> Picture:
    """Windows side by side, and overlapping ones; what counts in each is lit."""
    sheet = Drawing(
        f"{tokens} tokens in windows of {context}. Side by side, the first target of "
        f"each window has one token before it. With a stride of {stride} the windows "
        "overlap, and in each but the first only the last targets count, which have "
        "more before them."
    )
    cell = min(26, 440 // tokens)
    y = 0
    for title, step in (("side by side", context), (f"stride {stride}", stride)):
        sheet.text((0, y), title, anchor="start", bold=True, size=13)
        y += 14
        begin = done = 0
        while done < tokens:
            end = min(begin + context, tokens)
            lit = ["orange" if place >= done else "gray" for place in range(begin, end)]
            sheet.row(
                begin * cell, y, [""] * (end - begin), width=cell, height=16, colors=lit
            )
            begin, done = begin + step, end
            y += 20
        y += 22
    return sheet.finish()


def resampling(values: Sequence[Units], draws: Sequence[Sequence[int]]) -> Picture:
    """Numbers of some blocks, and rows that were drawn from them with replacement."""
    means = [sum(values[i] for i in drawn) / len(drawn) for drawn in draws]
    sheet = Drawing(
        f"A row of {len(values)} blocks with their bits per byte; below it rows of as "
        "many, drawn with replacement, so that some blocks come twice and some not at "
        "all. Their means are " + ", ".join(f"{mean:.2f}" for mean in means) + "."
    )
    wide, colors = 42, ("blue", "green", "orange", "purple", "yellow", "red", "gray")
    left = 62
    own = [colors[place % len(colors)] for place in range(len(values))]
    sheet.text((0, 14), "text", anchor="start", bold=True, size=13)
    sheet.row(left, 0, [f"{v:.1f}" for v in values], width=wide, colors=own, size=13)
    right = left + wide * len(values) + 10
    mean = sum(values) / len(values)
    sheet.text((right, 14), f"{mean:.2f}", anchor="start", bold=True)
    for row, (drawn, of_row) in enumerate(zip(draws, means, strict=True)):
        y = 46 + 36 * row
        sheet.text((0, y + 14), f"draw {row + 1}", anchor="start", size=13)
        texts, lit = [f"{values[i]:.1f}" for i in drawn], [own[i] for i in drawn]
        sheet.row(left, y, texts, width=wide, colors=lit, size=13)
        sheet.text((right, y + 14), f"{of_row:.2f}", anchor="start")
    return sheet.finish()


def pair(rows: Sequence[tuple[str, Sequence[str], Sequence[Units]]]) -> Picture:
    """A line and its damaged copy as tokens, with the surprisal of each token below.

    Args:
        rows: For each: its name, its tokens, and their nats.
    """
    sheet = Drawing(
        "Two lines cut into tokens, with the nats of each below. "
        + "; ".join(f"{name}: {sum(nats):.1f} nats in all" for name, _, nats in rows)
        + "."
    )
    size = 12.5
    most = max(
        sum(max(text_width(_shown(t), size, mono=True) + 6, 32) for t in parts)
        for _, parts, _ in rows
    )
    size *= min(1, 440 / most)
    for number, (name, parts, nats) in enumerate(rows):
        y, x = 88 * number, 0.0
        sheet.text((0, y), f"{name}: {sum(nats):.1f} nats", anchor="start", bold=True)
        for place, (part, nat) in enumerate(zip(parts, nats, strict=True)):
            shown = _shown(part)
            wide = max(text_width(shown, size, mono=True) + 6, 32 * size / 12.5)
            color = "red" if nat > 6 else ("blue", "plain")[place % 2]
            sheet.box(x, y + 14, wide, 26, shown, mono=True, size=size, color=color)
            sheet.text((x + wide / 2, y + 53), f"{nat:.1f}", size=11)
            x += wide
    return sheet.finish()


def four(
    context: str, options: Sequence[str], columns: dict[str, Sequence[Units]]
) -> Picture:
    """Continuations of a context, the first of them true, scored in several ways.

    Args:
        columns: For each way its numbers, of which the lowest is chosen.
    """
    choices = {
        name: min(range(4), key=values.__getitem__) for name, values in columns.items()
    }
    sheet = Drawing(
        f"The context {context!r} and four continuations, of which the first is the "
        "true one. "
        + " ".join(
            f"By {name} number {place + 1} is chosen."
            for name, place in choices.items()
        )
    )
    sheet.text((0, 0), f"… {context}", anchor="start", size=13, mono=True)
    for number, (name, values) in enumerate(columns.items()):
        x = 330 + 70 * number
        sheet.text((x, 26), name, size=12)
        for place, value in enumerate(values):
            y, chosen = 40 + 34 * place, choices[name] == place
            color = "orange" if chosen else "plain"
            sheet.box(
                x - 30, y, 60, 26, f"{value:.1f}", color=color, size=13, bold=chosen
            )
    for place, option in enumerate(options):
        y = 40 + 34 * place
        color = "green" if place == 0 else "plain"
        sheet.box(0, y, 288, 26, _shown(option), color=color, mono=True, size=12.5)
    return sheet.finish()


def tokens_hit(
    parts: Sequence[str], confidence: Sequence[Units], hits: Sequence[bool]
) -> Picture:
    """Tokens that came, with how sure the model was of its own guess before each."""
    said = ", ".join(
        f"{_shown(part)} {sure:.0%} {'hit' if hit else 'missed'}"
        for part, sure, hit in zip(parts, confidence, hits, strict=True)
    )
    sheet = Drawing(
        f"Tokens of a line; under each, how sure the model was of its guess: {said}."
    )
    x, y = 0.0, 0.0
    for part, sure, hit in zip(parts, confidence, hits, strict=True):
        wide = max(text_width(_shown(part), 14, mono=True) + 8, 42)
        if x + wide > 450:
            x, y = 0.0, y + 66
        color = "green" if hit else "plain"
        sheet.box(x, y, wide, 28, _shown(part), color=color, mono=True)
        sheet.text((x + wide / 2, y + 41), f"{sure:.0%}", size=12)
        x += wide
    return sheet.finish()


def runs(words: Sequence[str], copied: Sequence[bool], length: int) -> Picture:
    """Words of a text, with a line under each run of so many that the source has."""
    found = [
        " ".join(words[place : place + length])
        for place, known in enumerate(copied)
        if known
    ]
    sheet = Drawing(
        f"The words {' '.join(words)!r}; of their runs of {length}, these stand in the "
        f"training text: {', '.join(found) or 'none'}."
    )
    spans, x, line = [], 0.0, 0
    for word in words:
        wide = text_width(word, 14) + 16
        if x + wide > 450:
            x, line = 0.0, line + 1
        spans.append((x, line, wide))
        x += wide + 2
    marked = {  # lines of words with a copied run below them
        line
        for place, known in enumerate(copied)
        if known
        for _, line, _ in spans[place : place + length]
    }
    tops = [0.0]
    for line in range(spans[-1][1]):
        tops.append(tops[-1] + (42 + 8 * length if line in marked else 34))
    for word, (x, line, wide) in zip(words, spans, strict=True):
        sheet.box(x, tops[line], wide, 26, word)
    for place, known in enumerate(copied):
        for x, line, wide in spans[place : place + length] if known else []:
            y = tops[line] + 33 + 8 * (place % length)
            sheet.line([(x, y), (x + wide, y)], color="orange")
    return sheet.finish()


def exam(plays: Sequence[str]) -> Picture:
    """The corpus as a bar: what was trained on, and of the rest a part of each play."""
    sheet = Drawing(
        "The corpus and the exam: nine tenths of a long bar are the training text, the "
        "last tenth is drawn larger below. It holds "
        + ", ".join(plays)
        + "; of each a "
        "part is lit, and the parts together are the exam."
    )
    sheet.box(0, 0, 405, 28, "training text, 90%", color="blue", round=0)
    sheet.box(405, 0, 45, 28, "10%", size=13, round=0)
    sheet.line([(405, 28), (0, 58)], dashed=True)
    sheet.line([(450, 28), (450, 58)], dashed=True)
    wide = 450 / len(plays)
    for place, play in enumerate(plays):
        sheet.box(place * wide, 58, wide, 28, round=0)
        sheet.box(place * wide, 58, wide * 0.27, 28, color="orange", round=0)
        sheet.text(
            (place * wide + 2, 100), play.split(" and ")[0], anchor="start", size=11.5
        )
    return sheet.finish()
