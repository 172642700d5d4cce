"""What GPT-2 makes of a text: the likeliest tokens, the loss of each."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, text_width


def _shown(token: str) -> str:
    """A token with its spaces and line ends made visible, and not too long."""
    text = token.replace(" ", "␣").replace("\n", "⏎")
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= 12 else text[:11] + "…"


def top_tokens(title: str, tokens: Sequence[str], shares: Sequence[Units]) -> Picture:
    """The likeliest next tokens as bars, with their probabilities.

    Args:
        title: Which model, and after what.
    """
    said = ", ".join(
        f"{_shown(t)!r} {p:.3f}" for t, p in zip(tokens, shares, strict=True)
    )
    sheet = Drawing(f"{title}: the likeliest next tokens as bars: {said}.")
    sheet.text((0, -20), title, size=13, anchor="start", bold=True)
    for place, (token, share) in enumerate(zip(tokens, shares, strict=True)):
        y = place * 28
        sheet.text((104, y + 11), _shown(token), size=13, anchor="end", mono=True)
        wide = max(1.0, 250 * share)
        box = sheet.box(112, y, wide, 22, color="blue", round=0)
        sheet.text((box.right[0] + 8, y + 11), f"{share:.3f}", size=12, anchor="start")
    sheet.line([(112, -4), (112, len(tokens) * 28)])
    return sheet.finish()


def loss_row(title: str, tokens: Sequence[str], losses: Sequence[Units]) -> Picture:
    """A text in tokens, each colored by its loss in nats, which stands below it.

    Args:
        losses: One number for each token but the first, which nothing predicts.
    """
    known = [
        f"{_shown(t)!r} {loss:.1f}" for t, loss in zip(tokens[1:], losses, strict=True)
    ]
    sheet = Drawing(f"{title}. Loss in nats of each token: {', '.join(known)}.")
    sheet.text((0, -20), title, size=13, anchor="start", bold=True)
    x: Units = 0
    y = 0
    for place, token in enumerate(tokens):
        text = _shown(token)
        wide = max(30.0, text_width(text, 13, mono=True) + 8)
        if x + wide > 455:
            x, y = 0, y + 58
        if place == 0:
            sheet.box(x, y, wide, 28, text, color="gray", size=13, mono=True, round=2)
        else:
            loss = losses[place - 1]
            color = ("plain", "yellow", "orange", "red")[
                sum(loss >= bound for bound in (1, 3, 6))
            ]
            sheet.box(x, y, wide, 28, text, color=color, size=13, mono=True, round=2)
            sheet.text((x + wide / 2, y + 38), f"{loss:.1f}", size=11)
        x += wide + 2
    return sheet.finish()
