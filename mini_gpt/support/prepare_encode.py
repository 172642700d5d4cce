"""Text to arrays of ids, as fast as tiktoken and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import regex
from jaxtyping import Integer

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.lone_surrogates import replace_lone_surrogates
from mini_gpt.support.prepare_split import Piece
from mini_gpt.support.tiktoken_engine import TiktokenEngine
from mini_gpt.support.tokenizer_file import fingerprint
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer

AT_ONCE = 1 << 16  # characters that are encoded at once, about
# Here GPT-2's pattern cuts in any case, so that the ids are those of the whole.
_SAFE = regex.compile(r"(?<=\S)(?=\s)")
BETWEEN = "\n\n"  # what stands between documents where no token ends them


class Encoder:
    """A tokenizer that gives arrays, and counts the bytes that its ids stand for.

    Attributes:
        fingerprint: Of the tokenizer; it takes a while to compute.
    """

    def __init__(self, tokenizer: CharTokenizer | BPETokenizer) -> None:
        self.tokenizer, self.fingerprint = tokenizer, fingerprint(tokenizer)
        self._table: Integer[np.ndarray, " _"] | None = None
        self._engine: TiktokenEngine | None = None
        if isinstance(tokenizer, CharTokenizer):
            texts = [character.encode() for character in tokenizer.alphabet]
            self._table = np.full(0x110000, -1, dtype=np.int32)
            self._table[[*map(ord, tokenizer.alphabet)]] = np.arange(len(texts))
            if tokenizer.replacement is not None:
                other = tokenizer.alphabet.index(tokenizer.replacement)
                self._table[self._table < 0] = other
            special: list[int] = []
        else:
            texts = [*tokenizer.ids.in_order()]
            special = [*tokenizer.ids.special.values()]
            trusted = tokenizer.pattern == GPT2_PATTERN and not tokenizer.ids.added
            if trusted:
                ordinary = tokenizer.ids.ordinary
                fast = TiktokenEngine(ordinary, GPT2_PATTERN, None, True)
                self._engine = fast
        self._sizes = np.array([*map(len, texts)], dtype=np.int64)
        self._sizes[special] = 0

    def text_bytes(self, ids: Integer[np.ndarray, " tokens"]) -> int:
        """The bytes of text that ids stand for; special tokens stand for none."""
        return int(self._sizes[ids].sum())

    def encode(self, piece: Piece) -> Iterator[Integer[np.ndarray, " _"]]:
        """The ids of a piece, with what ends its document or stands before it.

        Raises:
            ValueError: if the tokenizer does not know a character.
        """
        end = self.tokenizer.end_of_text
        text = replace_lone_surrogates(piece.text)
        if end is None and piece.parted:
            text = BETWEEN + text
        start = 0
        while start < len(text):
            stop = self._stop(text, start)
            yield self._ids(text[start:stop] if stop - start < len(text) else text)
            start = stop
        if end is not None and piece.ends:
            yield np.array([end], dtype=np.uintc)

    def _stop(self, text: str, start: int) -> int:
        """Where to cut a long text so that its ids do not change."""
        stop = start + AT_ONCE
        if self._table is not None or stop >= len(text):
            return min(stop, len(text))
        match = None if self._engine is None else _SAFE.search(text, stop)
        return len(text) if match is None else match.start()

    def _ids(self, text: str) -> Integer[np.ndarray, " _"]:
        """The ids of a text as an array."""
        if self._table is not None:
            ids = self._table[np.frombuffer(text.encode("utf-32-le"), dtype="<u4")]
            if (ids < 0).any():
                self.tokenizer.encode(text)  # raises, and names the character
            return ids
        if self._engine is not None:
            array = self._engine.encode_array(text)
            if array is not None:
                return array
        return np.array(self.tokenizer.encode(text), dtype=np.int64)
