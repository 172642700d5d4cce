"""How many bytes of text a row of tokens stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

from mini_gpt.characters import Tokenizer, validate_ids
from mini_gpt.tokenizer import Vocabulary


def count_text_bytes(tokenizer: Tokenizer, ids: Iterable[SupportsIndex]) -> int:
    """The bytes of ids in UTF-8; special tokens stand for no text and have none.

    A row may begin or end inside a character: each token of bytes counts its own.

    Raises:
        ValueError: naming the first id outside the vocabulary, and its position.
    """
    plain = validate_ids(ids, tokenizer.vocab_size)
    if isinstance(tokenizer, Vocabulary):
        sizes = [*map(len, tokenizer.ids.in_order())]
        for id in tokenizer.ids.special.values():
            sizes[id] = 0
        return sum(sizes[id] for id in plain)
    text = tokenizer.decode(id for id in plain if id != tokenizer.end_of_text)
    return len(text.encode())
