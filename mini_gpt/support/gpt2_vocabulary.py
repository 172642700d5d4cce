"""GPT-2's vocabulary as it was released: two text files, from paths or fetched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from mini_gpt.support.downloads import gpt2_vocabulary_files
from mini_gpt.support.files import parse_json, printable, read_text

END_OF_TEXT = "<|endoftext|>"  # its one special token, the last of all


def gpt2_byte_characters() -> dict[str, int]:
    """The printable characters by which GPT-2's files write bytes, with the bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in printable]
    return {
        **{chr(byte): byte for byte in printable},
        **{chr(256 + place): byte for place, byte in enumerate(moved)},
    }


def parse_gpt2_vocabulary(vocabulary: str, merges: str) -> list[bytes]:
    """The tokens of GPT-2 in the order of their ids, without the end-of-text token.

    Args:
        vocabulary: What stands in `vocab.json`.
        merges: What stands in `merges.txt`.

    Raises:
        ValueError: if they are not such files, or do not belong together.
    """
    try:
        ids = dict(parse_json(vocabulary, "vocab.json"))
        if ids.pop(END_OF_TEXT, None) != len(ids):
            raise ValueError(f"the last token is not {END_OF_TEXT}")
        if sorted(ids.values()) != list(range(len(ids))):
            raise ValueError("the ids have gaps, or do not begin with 0")
        return tokens_of(ids, parse_merges(merges))
    except (LookupError, TypeError, ValueError) as fault:
        raise ValueError(
            "these are not GPT-2's vocab.json and merges.txt: "
            f"{type(fault).__name__}: {fault}"
        ) from None


def parse_merges(merges: str) -> list[tuple[str, str]]:
    """The pairs in the text of a `merges.txt`, in their order.

    Raises:
        ValueError: naming a line that is not two tokens.
    """
    rules = merges.removeprefix("#version: 0.2").strip("\n")
    return list(map(parse_merge, rules.split("\n") if rules else []))


def parse_merge(line: str) -> tuple[str, str]:
    """The two tokens that a line joins; ValueError if it has not just two."""
    left, space, right = line.partition(" ")
    if not (left and space and right) or " " in right:
        raise ValueError(f"the merge {line[:80]!r} is not two tokens")
    return left, right


def tokens_of(ids: Mapping[str, int], merges: Iterable[tuple[str, str]]) -> list[bytes]:
    """The bytes of tokens in the order of their ids: 256 single ones, then the merged.

    Args:
        ids: By tokens as GPT-2 writes them, special ones left out. Only their order
            counts.

    Raises:
        ValueError: if the merges are not those of these tokens.
        LookupError: if a token is not written in GPT-2's way.
    """
    characters = gpt2_byte_characters()
    written = sorted(ids, key=ids.__getitem__)
    if [left + right for left, right in merges] != written[256:]:
        raise ValueError("the merges are not those of the vocabulary")
    if lacking := [letter for letter in characters if letter not in ids]:
        raise ValueError(f"the single byte {lacking[0]!r} has no id of its own")
    return [bytes(characters[letter] for letter in token) for token in written]


def read_gpt2_vocabulary(
    vocabulary: str | os.PathLike[str] | None = None,
    merges: str | os.PathLike[str] | None = None,
) -> list[bytes]:
    """The tokens of GPT-2 in the order of their ids, without the end-of-text token.

    Args:
        vocabulary: Path of `vocab.json`; None: it is fetched once, then cached.
        merges: Path of `merges.txt`, likewise; give both or neither.

    Raises:
        ValueError: if only one is given, or they are not such files.
        OSError: if they cannot be read or fetched.
    """
    if vocabulary is None and merges is None:
        return parse_gpt2_vocabulary(*gpt2_vocabulary_files())
    if vocabulary is None or merges is None:
        raise ValueError("GPT-2's vocabulary is two files; give both paths or neither")
    try:
        return parse_gpt2_vocabulary(read_text(vocabulary), read_text(merges))
    except ValueError as fault:
        raise ValueError(
            f"{vocabulary} and {merges} cannot be read: {printable(fault)}"
        ) from None
