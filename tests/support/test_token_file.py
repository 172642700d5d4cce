"""Token files: exact, whole or not there, and refusing what is damaged or another's."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from mini_gpt.characters import CharTokenizer
from mini_gpt.data import BatchLoader, evaluation_batches
from mini_gpt.support.documents import encode_documents
from mini_gpt.support.token_file import (
    TOKEN_FILE_HEADER,
    open_token_file,
    write_token_file,
)
from mini_gpt.support.tokenizer_file import fingerprint
from mini_gpt.tokenizer import BPETokenizer


def same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(map(torch.equal, one, other))


BPE = BPETokenizer.train("the cat the hat the", 260)  # the last id ends a text
CHARACTERS = CharTokenizer("abc\n")


def test_a_token_file_is_the_corpus(tmp_path: Path) -> None:
    documents = ["ab", "", "c\na"]
    count = write_token_file(tmp_path / "new" / "a.tokens", iter(documents), CHARACTERS)
    tokens = open_token_file(tmp_path / "new" / "a.tokens", CHARACTERS)
    assert len(tokens) == count
    assert tokens.dtype == np.dtype("<u2")
    assert CHARACTERS.decode(tokens) == "\n\n".join(documents)
    assert isinstance(tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 0


def test_each_document_ends_with_the_end_of_text(tmp_path: Path) -> None:
    assert list(encode_documents(["a", "", "b"], BPE)) == [[97, 259], [259], [98, 259]]
    write_token_file(tmp_path / "a.tokens", ["the cat", "<|endoftext|>"], BPE)
    tokens = open_token_file(tmp_path / "a.tokens", BPE)
    assert (tokens == BPE.end_of_text).sum() == 2  # typed text does not end a document
    assert BPE.decode(tokens) == "the cat<|endoftext|><|endoftext|><|endoftext|>"


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    large = CharTokenizer([chr(code) for code in range(0x10000, 0x10000 + 65_537)])
    write_token_file(tmp_path / "a.tokens", [chr(0x10000 + 65_536)], large)
    tokens = open_token_file(tmp_path / "a.tokens", large)
    assert tokens.dtype == np.dtype("<u4")
    assert tokens.tolist() == [65_536]
    just = CharTokenizer([chr(code) for code in range(0x10000, 0x10000 + 65_536)])
    write_token_file(tmp_path / "b.tokens", [chr(0x10000 + 65_535)], just)
    assert open_token_file(tmp_path / "b.tokens", just).tolist() == [65_535]


def test_a_token_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    write_token_file(path, ["ab"], CHARACTERS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="does not know 'x'"):
        write_token_file(path, ["abc", "x"], CHARACTERS)
    with pytest.raises(ValueError, match="at least one token"):
        write_token_file(path, [], CHARACTERS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_header_as_the_chapter_describes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    write_token_file(path, ["abc"], CHARACTERS)
    data = path.read_bytes()
    assert TOKEN_FILE_HEADER.size == 64
    assert data[:8] == b"mini_gpt"
    assert data[8:24] == bytes([2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    assert data[24:32].hex() == fingerprint(CHARACTERS)
    assert data[64:] == bytes([0, 0, 1, 0, 2, 0])
    assert data[32:64] == sha256(data[64:]).digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "is not a token file"),
        (lambda data: data[:63], "is not a token file"),
        (lambda data: b"M" + data[1:], "is not a token file"),
        (lambda data: data[:8] + b"\1" + data[9:], "version 1 with 2 bytes"),
        (lambda data: data[:12] + b"\3" + data[13:], "version 2 with 3 bytes"),
        (lambda data: data[:-1], "damaged: 3 tokens should make 70 bytes, it has 69"),
        (lambda data: data + b"\0", "damaged: 3 tokens should make 70 bytes, it has 71"),
        (lambda data: data[:16] + bytes(8) + data[24:64], "damaged: 0 tokens"),
        (lambda data: data[:24] + bytes(8) + data[32:], "another tokenizer.*0000000000000000"),
        (lambda data: data[:32] + bytes(32) + data[64:], "damaged: its tokens are not those"),
        (lambda data: data[:-1] + b"\1", "damaged: its tokens are not those"),
    ],
)
def test_a_token_file_that_is_none(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tokens"
    write_token_file(path, ["abc"], CHARACTERS)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"a\.tokens (is|was) .*{message}|{message}"):
        open_token_file(path, CHARACTERS)


def test_the_tokenizer_must_be_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.tokens"
    write_token_file(path, ["abc"], CHARACTERS)
    with pytest.raises(ValueError, match="made by another tokenizer"):
        open_token_file(path, CharTokenizer("ab\nc"))


def test_batches_from_a_file_are_those_from_memory(tmp_path: Path) -> None:
    text = "abcc\nbaa" * 100
    write_token_file(tmp_path / "a.tokens", [text], CHARACTERS)
    mapped = open_token_file(tmp_path / "a.tokens", CHARACTERS)
    memory = np.array(CHARACTERS.encode(text), dtype=np.uint16)
    for _ in range(3):
        one, other = (
            BatchLoader(tokens, batch_size=4, context_length=7, order="epochs")
            for tokens in (mapped, memory)
        )
        assert same(next(one), next(other))
    pairs = zip(
        evaluation_batches(mapped, batch_size=4, context_length=7),
        evaluation_batches(memory, batch_size=4, context_length=7),
        strict=True,
    )
    assert all(same(one, other) for one, other in pairs)
