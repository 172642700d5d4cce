"""Questions by rule: lines with one thing damaged, lines cut in half, last words."""

from __future__ import annotations

import re

# Verbs that agree with their subject, and what does not.
AGREEMENT = {
    "thou art": "thou are",
    "thou hast": "thou have",
    "thou dost": "thou do",
    "thou wilt": "thou will",
    "thou shalt": "thou shall",
    "I am": "I is",
    "I have": "I hath",
    "he is": "he are",
    "she is": "she are",
    "it is": "it are",
    "he hath": "he have",
    "she hath": "she have",
    "he was": "he were",
    "we are": "we is",
    "we have": "we hath",
    "you are": "you is",
    "you have": "you hath",
    "they are": "they is",
    "they have": "they hath",
}
_SUBJECT_AND_VERB = re.compile(rf"\b({'|'.join(AGREEMENT)})\b")
_SPEECH = re.compile(r"([A-Z][A-Z ]+)\.\n(.+)", re.DOTALL)


def damage_agreement(line: str) -> str | None:
    """The first verb that stands beside its subject, put into another person."""
    damaged = _SUBJECT_AND_VERB.sub(lambda found: AGREEMENT[found[0]], line, count=1)
    return damaged if damaged != line else None


def speeches(text: str) -> list[tuple[str, str] | None]:
    """Speaker and speech for each paragraph; None for what is no speech."""
    found = [_SPEECH.match(paragraph) for paragraph in re.split(r"\n\n+", text)]
    return [(speech[1], speech[2]) if speech else None for speech in found]


def speaker_pairs(text: str, longest: int = 350) -> list[tuple[str, str]]:
    """Two who take turns; in the damaged copy the fourth turn goes to the third's.

    Both names stand in what comes before. Only who spoke last tells the turns apart.

    Args:
        longest: Characters of the three speeches before, at most.
    """
    parts, pairs = speeches(text), []
    for four in zip(*(parts[shift:] for shift in range(4)), strict=False):
        turns = [turn for turn in four if turn is not None]
        names = [name for name, _ in turns]
        if len(turns) < 4 or names[:2] != names[2:] or names[0] == names[1]:
            continue
        before = "\n\n".join(f"{name}.\n{speech}" for name, speech in turns[:3])
        if len(before) <= longest:
            last = turns[3][1].split("\n")[0]
            pairs.append(tuple(f"{before}\n\n{n}.\n{last}" for n in names[3:1:-1]))
    return [(whole, damaged) for whole, damaged in pairs]


def half_lines(text: str, before: int = 120) -> list[tuple[str, str]]:
    """Verse lines cut near their middle: what stands before, and the second half.

    Args:
        before: Characters of context, the first half of the line included.
    """
    halves = []
    for line in re.finditer(r"(?<=\n)[A-Z][^\n]{34,50}[.,;:!?](?=\n)", text):
        middle = text.find(" ", line.start() + len(line[0]) // 2)
        if 0 < middle < line.end() - 8:
            context = text[max(0, middle - before) : middle]
            halves.append((context, text[middle : line.end()]))
    return halves


def last_words(text: str, before: int = 300) -> list[tuple[str, str]]:
    """Lines that end with a word and a stop: what stands before the word, and the word.

    Args:
        before: Characters of context.
    """
    return [
        (text[max(0, word.start() - before) : word.start()], word[0])
        for word in re.finditer(r"(?<=[a-z]) [a-z]+(?=[.;:!?]\n)", text)
    ]
