"""What a vocabulary has to be: all single bytes, nothing empty, nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mini_gpt.support.lone_surrogates import refuse_lone_surrogates


def check_vocabulary(tokens: Sequence[bytes], special_tokens: Sequence[str]) -> None:
    """Refuse what cannot be a vocabulary, before anything is made of it.

    Raises:
        ValueError: if a single byte is missing, or a token is empty or there twice.
        TypeError: if the special tokens are one text, not several.
    """
    if isinstance(special_tokens, str):
        raise TypeError(
            f"special_tokens {special_tokens!r} is one text; put it in a list"
        )
    for text in special_tokens:
        refuse_lone_surrogates(text, "the special token")
    for token, count in Counter((*tokens, *special_tokens)).items():
        if not token:
            raise ValueError("the vocabulary holds an empty token; leave it out")
        if count > 1:
            raise ValueError(
                f"the vocabulary has {token!r} twice; each token needs one id"
            )
    known = set(tokens)
    missing = [byte for byte in range(256) if bytes([byte]) not in known]
    if missing:
        raise ValueError(
            f"the vocabulary lacks the single byte {missing[0]}; "
            "all 256 are needed to encode any text"
        )
