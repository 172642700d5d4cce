"""GPT-2's vocabulary as it was released: two text files, from paths or fetched."""

from __future__ import annotations

import os

from mini_gpt.support.downloads import gpt2_vocabulary_files
from mini_gpt.support.files import parse_json, read_text

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
    characters = gpt2_byte_characters()
    try:
        ids = dict(parse_json(vocabulary, "vocab.json"))
        written = sorted(ids, key=ids.__getitem__)
        if [ids[token] for token in written] != list(range(len(ids))):
            raise ValueError("the ids have gaps")
        if written.pop() != END_OF_TEXT:
            raise ValueError(f"the last token is not {END_OF_TEXT}")
        rules = merges.removeprefix("#version: 0.2").strip("\n")
        lines = rules.split("\n") if rules else []  # one of bytes only has no merge
        unions = [left + right for left, right in (line.split(" ") for line in lines)]
        if unions != written[256:]:
            raise ValueError("the merges are not those of the vocabulary")
        return [bytes(characters[letter] for letter in token) for token in written]
    except (LookupError, TypeError, ValueError) as fault:
        raise ValueError(
            "these are not GPT-2's vocab.json and merges.txt: "
            f"{type(fault).__name__}: {fault}"
        ) from None


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
    return parse_gpt2_vocabulary(read_text(vocabulary), read_text(merges))
