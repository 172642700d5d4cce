"""What an alphabet must be, so that each of its characters has one id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mini_gpt.support.lone_surrogates import refuse_lone_surrogates


def check_alphabet(alphabet: Sequence[str], replacement: str | None) -> None:
    """Raise ValueError, saying what to do, unless a tokenizer can use the alphabet.

    Args:
        alphabet: Characters; there must be at least one, and each only once.
        replacement: Where given, it must be one of them.
    """
    if not alphabet:
        raise ValueError("the alphabet is empty; train the tokenizer on some text")
    for character, count in Counter(alphabet).items():
        if len(character) != 1:
            raise ValueError(
                f"the alphabet holds {character!r}, which is not one character"
            )
        if count > 1:
            raise ValueError(f"the alphabet has {character!r} twice; each needs one id")
    refuse_lone_surrogates("".join(alphabet), "the alphabet")
    if replacement is not None and replacement not in alphabet:
        raise ValueError(f"the alphabet lacks the replacement {replacement!r}; add it")
