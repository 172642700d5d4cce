"""What a vocabulary has to be, and which id each of its tokens has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from mini_gpt.support.lone_surrogates import refuse_lone_surrogates
from mini_gpt.support.validation import whole_number


class TokenIds(NamedTuple):
    """The id of each token.

    Attributes:
        ordinary: By their bytes, in the order of their learning; so are the ids.
        special: By their texts.
        added: Likewise; an added token that is an ordinary one too has its id.
    """

    ordinary: dict[bytes, int]
    special: dict[str, int]
    added: dict[str, int]

    def in_order(self) -> tuple[bytes, ...]:
        """The bytes that each id stands for."""
        by_id = {id: token for token, id in self.ordinary.items()}
        by_text = {**self.special, **self.added}
        by_id |= {id: text.encode() for text, id in by_text.items()}
        return tuple(by_id[id] for id in range(len(by_id)))

    def to_dict(self) -> dict[str, object]:
        """The special and added tokens, ready for JSON.

        Ids are there only where they are not the last ones: what most files hold, and
        with it the fingerprints of most tokenizers, stays as it was before there were
        others.
        """
        content: dict[str, object] = {"special_tokens": [*self.special]}
        ids, size = [*self.special.values()], len(self.in_order())
        if ids != [*range(size - len(ids), size)]:
            content["special_ids"] = ids
        if self.added:
            content["added_tokens"] = {
                text: None if self.ordinary.get(text.encode()) == id else id
                for text, id in self.added.items()
            }
        return content


def check_vocabulary(
    tokens: Sequence[bytes],
    special_tokens: Iterable[str],
    added_tokens: Iterable[str] | None = None,
) -> None:
    """Refuse what cannot be a vocabulary, before anything is made of it.

    Raises:
        ValueError: if a single byte is missing, or a token is empty or there twice.
        TypeError: if the special tokens are one text, not several.
    """
    if isinstance(special_tokens, str):
        raise TypeError(
            f"special_tokens {special_tokens!r} is one text; put it in a list"
        )
    texts = (*special_tokens, *(added_tokens or ()))
    for text in texts:
        refuse_lone_surrogates(text, "the special token")
    for token, count in Counter((*tokens, *texts)).items():
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


def number_tokens(
    tokens: Sequence[bytes],
    special_tokens: Sequence[str] | Mapping[str, int],
    added_tokens: Mapping[str, int | None] | None = None,
) -> TokenIds:
    """The id of each token of a vocabulary.

    Special and added tokens have the ids that are given for them; special tokens for
    which none are given, the last ones. The ordinary tokens fill the other places.

    Args:
        tokens: The bytes of the ordinary tokens, in the order of their learning.
        special_tokens: Texts, perhaps with their ids.
        added_tokens: Texts with their ids; None is that of the ordinary token.

    Raises:
        ValueError: naming the first token whose id is that of another one, or is too
            large, or that has none.
        TypeError: if an id is no whole number.
    """
    added = dict(added_tokens or {})
    own = {text: id for text, id in added.items() if id is not None}
    size = len(tokens) + len(special_tokens) + len(own)
    if not isinstance(special_tokens, Mapping):
        last = range(size - len(special_tokens), size)
        special_tokens = dict(zip(special_tokens, last, strict=True))
    named = _checked_ids({**special_tokens, **own}, size)
    taken = {*named.values()}
    left = (id for id in range(size) if id not in taken)
    ids = dict(zip(tokens, left, strict=True))
    for text in added.keys() - own.keys():
        if text.encode() not in ids:
            raise ValueError(
                f"the added token {text!r} is none of the ordinary ones; give it an id"
            )
        named[text] = ids[text.encode()]
    return TokenIds(
        ids,
        {text: named[text] for text in special_tokens},
        {text: named[text] for text in added},
    )


def _checked_ids(ids: Mapping[str, int], size: int) -> dict[str, int]:
    """The ids as Python's own integers, each below the size and there once."""
    plain = {
        text: whole_number(f"the id of {text!r},", id, at_least=0)
        for text, id in ids.items()
    }
    by_id = sorted(plain, key=plain.__getitem__)
    for one, other in pairwise(by_id):
        if plain[one] == plain[other]:
            raise ValueError(f"{one!r} and {other!r} both have the id {plain[one]}")
    if by_id and plain[by_id[-1]] >= size:
        raise ValueError(
            f"{by_id[-1]!r} has the id {plain[by_id[-1]]}, but there are {size} tokens "
            f"only; ids are 0 to {size - 1}"
        )
    return plain
