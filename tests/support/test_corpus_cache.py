"""A text is encoded once: the second time its tokens come from the cache, the same to the last."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mini_gpt.characters import CharTokenizer
from mini_gpt.support import corpus_cache
from mini_gpt.support.corpus_cache import (
    EncodedText,
    documents_digest,
    encode_once,
    learn_once,
)
from mini_gpt.support.documents import encode_split, split_documents
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.tokenizer import BPETokenizer

LONG = ["the cat. " * 4_000, "the hat ä. " * 3_000, "that cat the hat. " * 3_000]
ONE = ["".join(LONG)]
BPE = BPETokenizer.train(LONG[1][:900], 264)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINI_GPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


def encoded(documents: list[str], tokenizer: CharTokenizer | BPETokenizer) -> EncodedText:
    said: list[str] = []
    split = split_documents(documents)
    found = encode_once(documents, split, tokenizer, documents_digest(documents), said.append)
    SAID[:] = said
    return found


SAID: list[str] = []  # by the latest call


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.glob("*") if path.name[0] != ".")


def no_encoding(patch: pytest.MonkeyPatch) -> None:
    def encode(*_: object) -> None:
        raise AssertionError("something was encoded")

    for kind in (CharTokenizer, BPETokenizer):
        patch.setattr(kind, "encode", encode)


@pytest.mark.parametrize("documents", [LONG, ONE])
@pytest.mark.parametrize("tokenizer", [BPE, CharTokenizer.train(ONE[0] + "\n")])
def test_it_is_what_encoding_gives_and_then_encodes_nothing(
    documents: list[str],
    tokenizer: CharTokenizer | BPETokenizer,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = split_documents(documents)
    training, validation = encode_split(split, tokenizer)
    first = encoded(documents, tokenizer)
    no_encoding(monkeypatch)
    second = encoded(documents, tokenizer)
    for found in (first, second):
        assert np.array_equal(found.training, training)
        assert np.array_equal(found.validation, validation)
        assert found.validation_bytes == count_text_bytes(tokenizer, validation[1:])
        assert found.distinct == len(set("".join(documents)))
        assert isinstance(found.training, np.memmap)
    assert SAID == []
    assert len(entries(cache)) == 1


def test_another_text_border_or_tokenizer_is_another_entry(cache: Path) -> None:
    encoded(LONG, BPE)
    encoded(ONE, BPE)
    encoded([*LONG[:2], LONG[2] + "t"], BPE)
    encoded(LONG, BPETokenizer.train(LONG[1][:900], 263))
    assert len(entries(cache)) == 4


def test_a_short_text_is_not_kept(cache: Path) -> None:
    assert isinstance(encoded(["the cat " * 9], BPE).training, np.ndarray)
    assert not cache.exists()


def test_the_digest_is_that_of_the_joined_documents() -> None:
    long = ["ä" * (1 << 20) + "b", "", "c"]
    for documents in (long, ["a"], ["a", "b"]):
        joined = "<|endoftext|>".join(documents).encode()
        assert documents_digest(documents) == hashlib.sha256(joined).hexdigest()


@pytest.mark.parametrize("name", ["training-00000.tokens", "prepared.json"])
def test_a_damaged_entry_is_said_and_made_again(name: str, cache: Path) -> None:
    before = np.array(encoded(LONG, BPE).training)
    (file,) = cache.glob(f"*/{name}")
    content = file.read_bytes()
    os.chmod(file, 0o644)
    file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    assert np.array_equal(encoded(LONG, BPE).training, before)
    assert len(SAID) == 1
    assert "encoded again, since what was kept is damaged" in SAID[0]
    assert name in SAID[0]
    encoded(LONG, BPE)
    assert SAID == []
    file.unlink()
    assert np.array_equal(encoded(LONG, BPE).training, before)


def test_without_a_cache_it_works_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINI_GPT_CACHE", str(tmp_path / "file"))
    training, _ = encode_split(split_documents(LONG), BPE)
    assert np.array_equal(encoded(LONG, BPE).training, training)
    assert len(SAID) == 1
    assert "not kept for the next start" in SAID[0]


def test_what_was_used_longest_ago_makes_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = encoded(LONG, BPE)
    (oldest,) = entries(cache)
    encoded(ONE, BPE)
    (older,) = {*entries(cache)} - {oldest}
    for age, entry in enumerate((oldest, older)):
        os.utime(entry, ns=(age, age))
    encoded(LONG, BPE)  # it is used again
    size = sum(file.stat().st_size for entry in entries(cache) for file in entry.iterdir())
    monkeypatch.setattr(corpus_cache, "MOST", size * 1.2)
    encoded([*LONG, "another"], BPE)
    assert oldest in entries(cache)
    assert older not in entries(cache)
    assert len(entries(cache)) == 2
    monkeypatch.setattr(corpus_cache, "MOST", 1)
    encoded(ONE, BPE)  # alone, too large, and kept: it is needed
    assert entries(cache) == [older]
    training, _ = encode_split(split_documents(LONG), BPE)
    assert np.array_equal(first.training, training)  # its file is gone, not what is mapped


def test_a_tokenizer_is_learned_once(cache: Path) -> None:
    calls: list[str] = []

    def learn() -> BPETokenizer:
        calls.append("learned")
        return BPE

    def once(size: int, characters: int = 10**6) -> CharTokenizer | BPETokenizer:
        said: list[str] = []
        found = learn_once(learn, characters, "digest", said.append, kind="bpe", size=size)
        SAID[:] = said
        return found

    assert once(270).to_dict() == once(270).to_dict() == BPE.to_dict()
    assert len(calls) == 1
    once(271)
    assert len(calls) == 2
    for file in cache.glob("*/mini_gpt_tokenizer.json"):
        file.write_text(file.read_text(encoding="utf-8").replace("20", "21"), encoding="utf-8")
    once(270)
    assert len(calls) == 3
    assert "is damaged; it is learned again" in SAID[0]
    once(270)
    assert len(calls) == 3
    once(270, characters=5)
    assert len(calls) == 4


TOGETHER = """
import sys
from mini_gpt.characters import CharTokenizer
from mini_gpt.support.corpus_cache import documents_digest, encode_once
from mini_gpt.support.documents import split_documents

before, calls = CharTokenizer.encode, []
def encode(self, text):
    calls.append(text)
    return before(self, text)
CharTokenizer.encode = encode
documents = ["abc" * 200_000, "cab" * 200_000, "ba" * 100_000]
tokenizer = CharTokenizer("abc\\n")
sys.stdin.readline()
found = encode_once(
    documents, split_documents(documents), tokenizer, documents_digest(documents), lambda said: None
)
print(len(calls), len(found.training), int(found.training[::1000].sum()))
"""


@pytest.mark.slow
def test_of_two_processes_at_once_one_encodes(cache: Path) -> None:
    together = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    time.sleep(0.1)
    outputs = [process.communicate("\n")[0].split() for process in together]
    assert sorted(int(calls) for calls, *_ in outputs) == [0, 3]
    assert outputs[0][1:] == outputs[1][1:]
    assert len(entries(cache)) == 1
