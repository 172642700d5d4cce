"""The shares of target and draft: what they have in common, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Point, Units


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
