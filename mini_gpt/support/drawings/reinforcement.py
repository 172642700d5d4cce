"""Drawings for the chapter on learning from rewards: the loop, groups, pairs, verse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, text_width


def learning_loop(
    prompt: str, answers: Sequence[str], right: Sequence[bool]
) -> Picture:
    """A model answers, a program judges, and the answers' probabilities are moved."""
    told = ", ".join(
        f"{answer} {'right' if good else 'wrong'}"
        for answer, good in zip(answers, right, strict=True)
    )
    sheet = Drawing(
        f"The model answers {prompt} several times. A program judges: {told}. Right "
        "answers are to become likelier, wrong ones less likely, and the model goes on."
    )
    model = sheet.box(96, 0, 96, 44, "model", color="orange")
    tall = 34 * len(answers)
    asked = sheet.box(0, 8, 84, 28, prompt, color="gray", size=13, mono=True)
    sheet.arrow([asked.right, model.left])
    for number, (answer, good) in enumerate(zip(answers, right, strict=True)):
        y = 34 * number - tall / 2 + 28
        color = "green" if good else "red"
        box = sheet.box(232, y, 84, 28, answer, color="plain", size=13, mono=True)
        sheet.arrow([(192, 22), box.left])
        sheet.arrow([box.right, (342, y + 14)])
        said = "1, likelier" if good else "0, less likely"
        sheet.box(344, y, 110, 28, said, color=color, size=13)
    top, low = 28 - tall / 2, tall / 2 + 22
    sheet.text((274, top - 14), "drawn", size=12, color="gray")
    sheet.text((399, top - 14), "judged", size=12, color="gray")
    sheet.arrow([(399, low), (399, low + 22), (144, low + 22), model.bottom])
    sheet.text((270, low + 34), "the gradient moves the weights", size=12, color="gray")
    return sheet.finish()


def pushes(
    names: Sequence[str], shares: Sequence[float], changes: Sequence[float]
) -> Picture:
    """Probabilities as bars, and the push on each logit as an arrow up or down."""
    told = ", ".join(
        f"{name} {share:.2f} {'up' if change > 0 else 'down'}"
        for name, share, change in zip(names, shares, changes, strict=True)
    )
    sheet = Drawing(f"Probabilities as bars and the push on each: {told}.")
    boxes = sheet.bars(0, 0, list(shares), names, width=54, gap=50, height=110)
    largest = max(abs(change) for change in changes)
    for box, change in zip(boxes, changes, strict=True):
        long = max(12.0, 60 * abs(change) / largest)
        x, color = box.x + box.width + 25, "green" if change > 0 else "red"
        ends = [(x, 0), (x, -long)] if change > 0 else [(x, -long), (x, 0)]
        sheet.arrow(ends, color=color, width=2.5)
        sheet.text(
            (x, -long - 10), f"{change:+.2f}".replace("-", "−"), size=12, color=color
        )
    return sheet.finish()


def masked_row(
    tokens: Sequence[str], log_probs: Sequence[float], mask: Sequence[float]
) -> Picture:
    """A row of tokens; below those that the model chose, their log-probabilities."""
    chosen = sum(map(bool, mask))
    sheet = Drawing(
        f"The tokens {' '.join(tokens)} in a row. The last {chosen} were chosen by the "
        "model, and below each stands its log-probability; the others do not count."
    )
    wide = 33
    for place, token in enumerate(tokens):
        mine = place > 0 and mask[place - 1] > 0
        color = "blue" if mine else "gray"
        box = sheet.box(place * wide, 0, wide, 28, token, color=color, mono=True)
        if mine:
            sheet.arrow([box.bottom, (box.bottom[0], 46)])
            number = f"{log_probs[place - 1]:.1f}".replace("-", "−")
            sheet.text((box.bottom[0], 58), number, size=12)
    first = len(tokens) - chosen
    sheet.brace((2, -4), (first * wide - 4, -4), "given: mask 0", below=False)
    end = len(tokens) * wide
    sheet.brace((first * wide + 4, -4), (end - 2, -4), "chosen: mask 1", below=False)
    return sheet.finish()


def rollouts(
    prompts: Sequence[str], answers: Sequence[str], rewards: Sequence[float]
) -> Picture:
    """Rows of prompt and answer side by side, and what each row was paid."""
    sheet = Drawing(
        f"{len(prompts)} rows, one for each answer: the question in gray, then the "
        "answer, and at the end the reward. Answers to one question stand together."
    )
    for row, (prompt, answer, reward) in enumerate(
        zip(prompts, answers, rewards, strict=True)
    ):
        y = 25 * row + 12 * len({*prompts[:row]} - {prompt})  # room between groups
        sheet.row(0, y, list(prompt), width=26, height=22, colors="gray", size=12)
        left = 26 * len(prompt)
        sheet.row(left, y, list(answer), width=26, height=22, colors="blue", size=12)
        color = "green" if reward else "red"
        sheet.box(left + 26 * len(answer) + 14, y, 36, 22, f"{reward:g}", color=color)
    return sheet.finish()


def groups(
    prompts: Sequence[str],
    rewards: Sequence[Sequence[float]],
    advantages: Sequence[Sequence[float]],
) -> Picture:
    """The rewards of some prompts' answers, and what is left of them in the group."""
    told = "; ".join(
        f"{prompt} rewards {' '.join(f'{r:g}' for r in row)}"
        for prompt, row in zip(prompts, rewards, strict=True)
    )
    sheet = Drawing(
        f"Groups of answers: {told}. A rare right answer gets a large advantage; a "
        "group whose answers are all alike gets none."
    )
    for number, prompt in enumerate(prompts):
        y = 84 * number
        sheet.text((0, y + 14), prompt, size=13, anchor="start", mono=True)
        mean = sum(rewards[number]) / len(rewards[number])
        sheet.text(
            (0, y + 40), f"mean {mean:.2f}", size=12, anchor="start", color="gray"
        )
        for place, reward in enumerate(rewards[number]):
            x = 96 + 60 * place
            color = "green" if reward else "red"
            box = sheet.box(x, y, 48, 26, f"{reward:g}", color=color)
            sheet.arrow([box.bottom, (box.bottom[0], y + 44)])
            text = f"{advantages[number][place]:+.1f}".replace("-", "−")
            text = "0" if advantages[number][place] == 0 else text
            sheet.text((box.bottom[0], y + 56), text, size=13, bold=True)
    return sheet.finish()


def syllable_row(words: Sequence[str], counts: Sequence[Sequence[int]]) -> Picture:
    """The words of a line with their numbers of syllables, and the sums."""
    sums = {0}
    for some in counts:
        sums = {before + more for before in sums for more in some}
    unknown = [word for word, some in zip(words, counts, strict=True) if not some]
    total = " or ".join(map(str, sorted(sums))) if not unknown else "cannot be known"
    sheet = Drawing(f"The line {' '.join(words)}, with syllables counted: {total}.")
    x: Units = 0
    y: Units = 0
    for word, some in zip(words, counts, strict=True):
        wide = max(34.0, text_width(word, 13) + 12)
        if x + wide > 440:
            x, y = 0, y + 62
        color = "blue" if some else "red"
        sheet.box(x, y, wide, 26, word, color=color, size=13)
        number = " or ".join(map(str, sorted(some))) or "?"
        sheet.text((x + wide / 2, y + 38), number, size=13, bold=True)
        x += wide + 4
    sheet.text((0, y + 64), f"syllables: {total}", size=13, anchor="start")
    return sheet.finish()


def verses(columns: Mapping[str, Sequence[str]], good: Mapping[str, bool]) -> Picture:
    """Lines that models wrote, a card for each model; lines that earn are marked.

    Args:
        columns: The lines, by what to call the model.
        good: Whether a line earns a reward.
    """
    told = "; ".join(
        f"{name}: {', '.join(lines[:3])}" for name, lines in columns.items()
    )
    sheet = Drawing(f"Lines by each model, with a mark where ten syllables. {told}.")
    y: Units = 0
    for name, lines in columns.items():
        sheet.text((0, y + 8), name, size=13, anchor="start", bold=True)
        y += 22
        for line in lines:
            earns = good[line]
            shown = line.strip() or "(an empty line)"
            shown = shown if len(shown) <= 54 else shown[:53] + "…"
            color = "green" if earns else "gray"
            sheet.box(0, y, 34, 22, "10" if earns else "–", color=color, size=12)
            sheet.text((44, y + 11), shown, size=13, anchor="start")
            y += 25
        y += 12
    return sheet.finish()


def pair(
    prompt: str, better: str, worse: str, moved: Sequence[float], loss: float
) -> Picture:
    """Two answers to one question; how far each has moved from the reference.

    Args:
        moved: Log-probability now minus that of the reference, of both answers.
    """
    sheet = Drawing(
        f"Two answers to {prompt}: the better one, {better}, has moved by "
        f"{moved[0]:+.1f} nats from the reference, the worse one, {worse}, by "
        f"{moved[1]:+.1f}. Their difference goes into the loss, {loss:.2f}."
    )
    asked = sheet.box(0, 42, 92, 28, prompt, color="gray", size=13, mono=True)
    for y, text, color, move, name in (
        (0, better, "green", moved[0], "better"),
        (84, worse, "red", moved[1], "worse"),
    ):
        box = sheet.box(136, y, 92, 28, text, color=color, size=13, mono=True)
        sheet.arrow([asked.right, box.left])
        sheet.text((182, y - 9 if y == 0 else y + 38), name, size=12, color="gray")
        number = sheet.box(262, y, 68, 28, f"{move:+.1f}".replace("-", "−"), size=13)
        sheet.arrow([box.right, number.left])
        sheet.arrow([number.right, (372, 50 if y == 0 else 62)])
    gap = f"{moved[0] - moved[1]:+.1f}".replace("-", "−")
    sheet.box(374, 32, 86, 48, f"gap {gap}\nloss {loss:.2f}", color="orange", size=13)
    sheet.text((296, -9), "moved", size=12, color="gray")
    return sheet.finish()


def history(events: Sequence[tuple[str, str]]) -> Picture:
    """A line of time with what happened, from top to bottom."""
    told = "; ".join(f"{when}: {what}" for when, what in events)
    sheet = Drawing(f"A line of time. {told}.")
    for number, (when, what) in enumerate(events):
        y = 34 * number
        sheet.text((0, y), when, size=13, anchor="start", bold=True)
        sheet.circle((146, y), 5, color="blue")
        sheet.text((162, y), what, size=13, anchor="start")
        if number:
            sheet.line([(146, y - 29), (146, y - 5)])
    return sheet.finish()
