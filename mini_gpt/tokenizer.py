# %%
import heapq
import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

import regex

from mini_gpt.files import atomic_file


# %%
@runtime_checkable
class Tokenizer(Protocol):
    """What the rest of the package asks of a tokenizer: text to ids and back, and a way to keep it.

    Attributes:
        vocab_size: Number of ids; they run from 0 to `vocab_size - 1`.
        end_of_text: The id that marks the end of a document, or None where there is none.
    """

    @property
    def vocab_size(self) -> int: ...

    @property
    def end_of_text(self) -> int | None: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Iterable[int]) -> str: ...

    def to_dict(self) -> dict[str, object]: ...


# %%
class CharTokenizer:
    """One token per character: the smallest tokenizer that works.

    The ids are positions in the alphabet, so the alphabet's order is part of the tokenizer.

    Args:
        alphabet: The characters it knows, each once.

    Raises:
        ValueError: if the alphabet is empty or has a character twice.
    """

    end_of_text: int | None = None

    def __init__(self, alphabet: Sequence[str]) -> None:
        self.alphabet = tuple(alphabet)
        if not self.alphabet:
            raise ValueError("the alphabet is empty; train the tokenizer on some text")
        self._ids = {character: id for id, character in enumerate(self.alphabet)}
        if len(self._ids) < len(self.alphabet):
            twice = next(c for c, count in Counter(self.alphabet).items() if count > 1)
            raise ValueError(f"the alphabet has {twice!r} twice; each character needs one id")

    @classmethod
    def train(cls, text: str) -> "CharTokenizer":
        """The tokenizer for all characters of a text, in the order of their code points."""
        return cls(sorted(set(text)))

    @property
    def vocab_size(self) -> int:
        """Number of characters in the alphabet."""
        return len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        """The id of each character.

        Raises:
            ValueError: naming the first character that the alphabet lacks, and its position.
        """
        try:
            return [self._ids[character] for character in text]
        except KeyError:
            position = next(i for i, character in enumerate(text) if character not in self._ids)
            character = text[position]
            raise ValueError(
                f"the tokenizer does not know {character!r} (U+{ord(character):04X}, at position {position}); "
                f"it was trained on a text with {self.vocab_size} distinct characters"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text that the ids stand for.

        Raises:
            ValueError: naming the first id outside the vocabulary, and its position.
        """
        return "".join(self.alphabet[id] for id in known_ids(ids, self.vocab_size))

    def to_dict(self) -> dict[str, object]:
        """All there is to know about this tokenizer, ready for JSON."""
        return {"kind": "characters", "alphabet": "".join(self.alphabet)}


# %%
def known_ids(ids: Iterable[int], vocab_size: int) -> Iterable[int]:
    """Pass ids on as plain integers, and stop at the first that the vocabulary does not have.

    Args:
        ids: Token ids; elements of NumPy arrays and tensors will do.
        vocab_size: Number of known ids.

    Raises:
        ValueError: naming the id and its position.
    """
    for position, id in enumerate(ids):
        plain = int(id)
        if not 0 <= plain < vocab_size:
            raise ValueError(
                f"id {plain} at position {position} is outside the vocabulary (0 to {vocab_size - 1})"
            )
        yield plain


# %%
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
END_OF_TEXT = "<|endoftext|>"


# %%
class BPETokenizer:
    """Byte-level byte-pair encoding, as GPT-2 uses it (Sennrich et al. 2016; Radford et al. 2019).

    Any text can be encoded: it starts from the 256 bytes and merges frequent neighbours.
    The text is first cut by a pattern, and no token reaches across a cut.

    Args:
        tokens: The bytes of each token in the order of their ids: first the 256 single bytes in any order,
            then longer ones in the order in which they were learned.
        pattern: Regular expression whose matches are the pieces in which merges happen.
        special_tokens: Texts with an id of their own, after all others. The first marks the end of a document.

    Raises:
        ValueError: if a single byte is missing or a token stands there twice.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        *,
        pattern: str = GPT2_PATTERN,
        special_tokens: Sequence[str] = (END_OF_TEXT,),
    ) -> None:
        self.tokens = tuple(tokens)
        self.pattern = pattern
        self.special_tokens = tuple(special_tokens)
        self._ids = {token: id for id, token in enumerate(self.tokens)}
        if len(self._ids) < len(self.tokens) or len(set(self.special_tokens)) < len(
            self.special_tokens
        ):
            raise ValueError("a token stands in the vocabulary twice; each needs one id")
        missing = [byte for byte in range(256) if bytes([byte]) not in self._ids]
        if missing:
            raise ValueError(
                f"the vocabulary lacks the single byte {missing[0]}; all 256 are needed to encode any text"
            )
        self._special_ids = {
            text: len(self.tokens) + i for i, text in enumerate(self.special_tokens)
        }
        self._split = regex.compile(pattern).findall
        self._encode_piece = lru_cache(maxsize=65_536)(self._merge)

    @classmethod
    def train(
        cls,
        text: str,
        vocab_size: int,
        *,
        pattern: str = GPT2_PATTERN,
        special_tokens: Sequence[str] = (END_OF_TEXT,),
    ) -> "BPETokenizer":
        """Learn merges until the vocabulary, special tokens included, has `vocab_size` tokens.

        Each step merges the most frequent pair of neighbours; among equally frequent ones, the pair with the
        smallest ids, the left id first. Counts are kept up to date, not counted anew, over distinct pieces.

        Args:
            text: The text to learn from.
            vocab_size: Size to reach, at least 256 plus the special tokens.
            pattern: As for the class.
            special_tokens: As for the class.

        Raises:
            ValueError: if the size is too small, or the text has no pair left that occurs twice.
        """
        merges = vocab_size - 256 - len(special_tokens)
        if merges < 0:
            raise ValueError(
                f"vocab_size {vocab_size} is below 256 bytes plus {len(special_tokens)} special tokens"
            )
        tokens = [bytes([byte]) for byte in range(256)]
        pieces = Counter(regex.compile(pattern).findall(text))
        words = [list(piece.encode()) for piece in pieces]
        repeats = list(pieces.values())

        counts: Counter[tuple[int, int]] = Counter()
        places: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for index, word in enumerate(words):
            for pair in pairwise(word):
                counts[pair] += repeats[index]
                places[pair].add(index)
        heap = [(-count, pair) for pair, count in counts.items()]
        heapq.heapify(heap)

        while len(tokens) < 256 + merges:
            while (
                heap and -heap[0][0] != counts[heap[0][1]]
            ):  # the count has changed since it was put here
                heapq.heappop(heap)
            if not heap or -heap[0][0] < 2:
                raise ValueError(
                    f"no pair occurs twice any more at {len(tokens) + len(special_tokens)} tokens; "
                    f"ask for at most that many (not {vocab_size}) or give more text"
                )
            pair = heapq.heappop(heap)[1]
            new = len(tokens)
            tokens.append(tokens[pair[0]] + tokens[pair[1]])
            changed: set[tuple[int, int]] = set()
            for index in places.pop(pair):
                word, merged = words[index], merge(words[index], pair, new)
                for old in pairwise(word):
                    counts[old] -= repeats[index]
                    changed.add(old)
                for fresh in pairwise(merged):
                    counts[fresh] += repeats[index]
                    places[fresh].add(index)
                    changed.add(fresh)
                words[index] = merged
            for touched in changed - {pair}:
                heapq.heappush(heap, (-counts[touched], touched))
            del counts[pair]
        return cls(tokens, pattern=pattern, special_tokens=special_tokens)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return len(self.tokens) + len(self.special_tokens)

    @property
    def end_of_text(self) -> int | None:
        """The id of the first special token, or None where there is none."""
        return len(self.tokens) if self.special_tokens else None

    def encode(self, text: str, *, allowed_special: Collection[str] = ()) -> list[int]:
        """The ids of a text.

        Args:
            text: Any text. Lone surrogates, which are not text, become U+FFFD.
            allowed_special: Special tokens that become their id where their text occurs.
                By default none: what a user typed must not end a document.

        Raises:
            ValueError: if a token in `allowed_special` is none of this tokenizer's.
        """
        unknown = [token for token in allowed_special if token not in self._special_ids]
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is not a special token here; known: {list(self.special_tokens)}"
            )
        # Lone surrogates cannot be written as UTF-8; through UTF-16 each becomes U+FFFD, and pairs become whole.
        text = text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
        if allowed_special:
            longest_first = sorted(allowed_special, key=len, reverse=True)
            parts = regex.split("(" + "|".join(map(regex.escape, longest_first)) + ")", text)
        else:
            parts = [text]
        ids: list[int] = []
        for part in parts:
            if part in allowed_special:
                ids.append(self._special_ids[part])
                continue
            for piece in self._split(part):
                ids.extend(self._encode_piece(piece))
        return ids

    def _merge(self, piece: str) -> tuple[int, ...]:
        """The ids of one piece: merge the neighbours whose token was learned first, until none is left."""
        whole = piece.encode()
        if (id := self._ids.get(whole)) is not None:
            return (id,)
        parts = [bytes([byte]) for byte in whole]
        while len(parts) > 1:
            ranked = [
                (self._ids.get(left + right), i) for i, (left, right) in enumerate(pairwise(parts))
            ]
            known = [(rank, i) for rank, i in ranked if rank is not None]
            if not known:
                break
            _, i = min(known)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return tuple(self._ids[part] for part in parts)

    def decode(self, ids: Iterable[int]) -> str:
        """The text that the ids stand for; bytes that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: naming the first id outside the vocabulary, and its position.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that the ids stand for: a single token may be only a part of a character.

        Raises:
            ValueError: naming the first id outside the vocabulary, and its position.
        """
        ordinary = len(self.tokens)
        return b"".join(
            self.tokens[id] if id < ordinary else self.special_tokens[id - ordinary].encode()
            for id in known_ids(ids, self.vocab_size)
        )

    def to_dict(self) -> dict[str, object]:
        """All there is to know about this tokenizer, ready for JSON (bytes as hexadecimal)."""
        return {
            "kind": "byte-level BPE",
            "pattern": self.pattern,
            "special_tokens": list(self.special_tokens),
            "tokens": [token.hex() for token in self.tokens],
        }


# %%
def merge(ids: Sequence[int], pair: tuple[int, int], new: int) -> list[int]:
    """Replace each occurrence of a pair of neighbours by a new id, from left to right."""
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


# %%
def save_tokenizer(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Write a tokenizer as JSON, whole or not at all.

    Args:
        tokenizer: Any tokenizer of this module.
        path: The file to create or replace.
    """
    content = {"format": "mini_gpt tokenizer", "version": 1, **tokenizer.to_dict()}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, ensure_ascii=True, indent=0), encoding="utf-8")


def load_tokenizer(path: str | os.PathLike[str]) -> CharTokenizer | BPETokenizer:
    """Read what `save_tokenizer` wrote.

    Raises:
        ValueError: if the file is not a tokenizer of a version that we know.
        OSError: if it cannot be read.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != "mini_gpt tokenizer" or content["version"] != 1:
            raise KeyError("format")
        if content["kind"] == "characters":
            return CharTokenizer(content["alphabet"])
        return BPETokenizer(
            [bytes.fromhex(token) for token in content["tokens"]],
            pattern=content["pattern"],
            special_tokens=content["special_tokens"],
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise ValueError(
            f"{path} is not a mini_gpt tokenizer that can be read ({type(fault).__name__}: {fault})"
        ) from None


def fingerprint(tokenizer: Tokenizer) -> str:
    """A short digest that two tokenizers share exactly when they give every text the same ids."""
    return sha256(json.dumps(tokenizer.to_dict(), sort_keys=True).encode()).hexdigest()[:16]
