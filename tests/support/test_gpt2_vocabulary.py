"""GPT-2's vocabulary files: read as they were released, refused where they are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mini_gpt.support.downloads import gpt2_vocabulary_files
from mini_gpt.support.gpt2_vocabulary import (
    END_OF_TEXT,
    gpt2_byte_characters,
    parse_gpt2_vocabulary,
    read_gpt2_vocabulary,
)


def test_bytes_and_their_characters() -> None:
    characters = gpt2_byte_characters()
    assert len(characters) == len(set(characters.values())) == 256
    assert all(character.isprintable() and not character.isspace() for character in characters)
    assert characters["Ġ"] == 32
    assert characters["Ċ"] == 10
    assert characters["A"] == 65


@pytest.mark.slow
def test_from_paths_or_fetched(tmp_path: Path) -> None:
    paths = tmp_path / "vocab.json", tmp_path / "merges.txt"
    for path, content in zip(paths, gpt2_vocabulary_files(), strict=True):
        path.write_text(content, encoding="utf-8")
    tokens = read_gpt2_vocabulary(*paths)
    assert len(tokens) == 50_256
    assert tokens == read_gpt2_vocabulary()
    with pytest.raises(ValueError, match="two files; give both"):
        read_gpt2_vocabulary(paths[0])
    with pytest.raises(FileNotFoundError):
        read_gpt2_vocabulary(paths[0], tmp_path / "nothing.txt")


def small_files() -> tuple[dict[str, int], str]:
    written = [*gpt2_byte_characters(), "ab", "abc", END_OF_TEXT]
    return {token: id for id, token in enumerate(written)}, "#version: 0.2\na b\nab c\n"


def test_the_form_of_the_files() -> None:
    vocabulary, merges = small_files()
    tokens = parse_gpt2_vocabulary(json.dumps(vocabulary), merges)
    assert tokens[256:] == [b"ab", b"abc"]
    assert sorted(tokens[:256]) == [bytes([byte]) for byte in range(256)]
    assert parse_gpt2_vocabulary(json.dumps(vocabulary), "a b\nab c") == tokens


@pytest.mark.parametrize("merges", ["", "#version: 0.2", "#version: 0.2\n"])
def test_a_vocabulary_of_bytes_alone_has_no_merges(merges: str) -> None:
    """It once was refused: an empty file was taken for one empty merge."""
    written = [*gpt2_byte_characters(), END_OF_TEXT]
    tokens = parse_gpt2_vocabulary(json.dumps({t: id for id, t in enumerate(written)}), merges)
    assert sorted(tokens) == [bytes([byte]) for byte in range(256)]


@pytest.mark.parametrize(
    ("change", "merges", "reason"),
    [
        ({}, "a b", "merges are not those"),
        ({}, "a b\nb c", "merges are not those"),
        ({}, "a b\nabc", ""),
        ({"abc": 300}, "a b\nab c", "gaps"),
        ({"more": 259}, "a b\nab c", "the last token is not"),
        ({"a猫": 257, "abc": 259, END_OF_TEXT: 260, "x": 258}, "a b\na 猫\nx\nab c", ""),
    ],
)
def test_files_that_are_not_gpt2s(change: dict[str, int], merges: str, reason: str) -> None:
    vocabulary = {**small_files()[0], **change}
    with pytest.raises(ValueError, match=f"not GPT-2's vocab.json and merges.txt: .*{reason}"):
        parse_gpt2_vocabulary(json.dumps(vocabulary), merges)


def test_text_that_is_no_vocabulary() -> None:
    for text in ("", "[]", "7", "[1, 2]"):
        with pytest.raises(ValueError, match=r"not GPT-2's vocab\.json and"):
            parse_gpt2_vocabulary(text, "")
