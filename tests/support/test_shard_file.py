"""Shards: the bytes that are described, whole or not there, and refused when damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from mini_gpt.support.shard_file import SHARD_HEADER, new_shard, open_shard

PRINT = "0123456789abcdef"


def write(path: Path, documents: Sequence[Sequence[int]], vocab_size: int = 300) -> Path:
    with new_shard(path, vocab_size, PRINT) as shard:
        for ids in documents:
            shard.begin_document()
            shard.add(np.array(ids, dtype=np.int64))
    return path


def test_a_shard_gives_back_tokens_and_the_beginnings_of_documents(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "a.tokens", [[5, 6, 7], [], [299], [1, 2]])
    tokens, starts, digest = open_shard(path, PRINT)
    assert tokens.tolist() == [5, 6, 7, 299, 1, 2]
    assert starts.tolist() == [0, 3, 3, 4]
    assert digest == sha256(path.read_bytes()[128:]).hexdigest()
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 0


def test_its_bytes_are_those_that_are_described(tmp_path: Path) -> None:
    data = write(tmp_path / "a.tokens", [[1, 2], [258]]).read_bytes()
    assert SHARD_HEADER.size == 128
    assert data[:24] == b"mini_gpt" + bytes([3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    assert data[24:32].hex() == PRINT
    assert data[32:64] == sha256(data[128:]).digest()
    assert data[64:128] == bytes([2]) + bytes(63)
    assert data[128:136] == bytes([1, 0, 2, 0, 2, 1, 0, 0])
    assert data[136:] == bytes(8) + bytes([2]) + bytes(7)


@pytest.mark.parametrize(("vocab_size", "width"), [(65_536, 2), (65_537, 4)])
def test_large_vocabularies_take_four_bytes(vocab_size: int, width: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tokens", [[vocab_size - 1]], vocab_size)
    tokens = open_shard(path, PRINT).tokens
    assert tokens.itemsize == width
    assert tokens.tolist() == [vocab_size - 1]


def test_what_written_says_is_what_is_read(tmp_path: Path) -> None:
    with new_shard(tmp_path / "a.tokens", 300, PRINT) as shard:
        shard.add(np.array([4, 4, 4]))  # of a document that began elsewhere
        shard.begin_document()
        shard.add(np.array([9]))
        assert shard.written is None
    assert shard.written is not None
    tokens, starts, digest = open_shard(tmp_path / "a.tokens", PRINT)
    assert shard.written == (len(tokens), len(starts), digest) == (4, 1, digest)
    assert starts.tolist() == [3]


def test_a_failure_leaves_what_was_there_and_no_token_gives_no_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tokens", [[1]])
    before = path.read_bytes()
    with pytest.raises(IndexError), new_shard(path, 300, PRINT) as shard:
        shard.add(np.array([2])[[0, 7]])
    with new_shard(tmp_path / "b.tokens", 300, PRINT) as empty:
        empty.begin_document()
    assert empty.written is None
    assert [p.name for p in tmp_path.iterdir()] == ["a.tokens"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "is not a token shard"),
        (lambda data: data[:127], "is not a token shard"),
        (lambda data: b"M" + data[1:], "is not a token shard"),
        (lambda data: data[:8] + b"\2" + data[9:], "version 2 with 2 bytes"),
        (lambda data: data[:12] + b"\3" + data[13:], "version 3 with 3 bytes"),
        (lambda data: data[:-1], "damaged: 3 tokens and 2 documents should make 152 bytes"),
        (lambda data: data + b"\0", "damaged: .* it has 153"),
        (lambda data: data[:16] + bytes(8) + data[24:], "damaged: 0 tokens"),
        (lambda data: data[:24] + bytes(8) + data[32:], "another tokenizer .*0000000000000000"),
        (lambda data: data[:32] + bytes(32) + data[64:], "damaged: its bytes are not those"),
        (lambda data: data[:-1] + b"\1", "damaged: its bytes are not those"),
        (lambda data: data[:128] + b"\7" + data[129:], "damaged: its bytes are not those"),
    ],
)
def test_damage_is_refused_by_the_name_of_the_file(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.tokens", [[1, 2], [258]])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"a\.tokens (is|was) .*{message}|{message}") as caught:
        open_shard(path, PRINT)
    assert "a.tokens" in str(caught.value)


def test_a_folder_is_no_shard_and_verifying_can_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a token shard"):
        open_shard(tmp_path, PRINT)
    path = write(tmp_path / "a.tokens", [[1]])
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert open_shard(path, PRINT, verify=False).tokens.tolist() == [1]
