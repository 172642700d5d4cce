"""tiktoken as an engine: the same ids, taken where it is worth it and possible."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest

from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.tiktoken_engine import LONG, TiktokenEngine
from mini_gpt.tokenizer import END_OF_TEXT, GPT2_PATTERN, BPETokenizer
from texts import WHOLE, learn


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer(learn(load_corpus()[:100_000], 700), fast=False)


def made(tokenizer: BPETokenizer, fast: bool | None, alike: bool = True) -> TiktokenEngine:
    return TiktokenEngine(tokenizer.ids.ordinary, GPT2_PATTERN, fast, alike)


def test_the_engine_gives_the_same_ids(tokenizer: BPETokenizer) -> None:
    fast = BPETokenizer(tokenizer.tokens, fast=True)
    text = f"{load_corpus()[:99_999]}\ud83c {END_OF_TEXT} \r\n 🌹\x00"
    for allowed in ((), [END_OF_TEXT]):
        expected = tokenizer.encode(text, allowed_special=allowed)
        assert fast.encode(text, allowed_special=allowed) == expected
        assert BPETokenizer(tokenizer.tokens).encode(text, allowed_special=allowed) == expected


def test_it_takes_long_texts(tokenizer: BPETokenizer) -> None:
    def taken(text: str) -> list[bool]:
        engines = (made(tokenizer, fast) for fast in (True, None, False))
        return [engine.encode(text) is not None for engine in engines]

    assert taken("a" * (LONG + 1)) == [True, True, False]
    assert taken("a" * LONG) == [True, False, False]
    assert made(tokenizer, None, alike=False).encode("a" * (LONG + 1)) is None


@pytest.mark.slow
def test_very_many_spaces_do_not_reach_it(tokenizer: BPETokenizer) -> None:
    text = "a" + " " * 150_000 + "b"
    assert made(tokenizer, True).encode(text) is None
    assert BPETokenizer(tokenizer.tokens, fast=True).encode(text) == tokenizer.encode(text)


def test_the_tokenizer_asks_it_first(tokenizer: BPETokenizer) -> None:
    asked = BPETokenizer(tokenizer.tokens)
    asked._engine.encode = lambda text: [len(text)]  # type: ignore[method-assign]
    assert asked.encode("ab") == [2]


def test_it_knows_gpt2s_pattern_only(tokenizer: BPETokenizer) -> None:
    with pytest.raises(ValueError, match="needs GPT-2's pattern"):
        BPETokenizer(tokenizer.tokens, pattern=WHOLE, fast=True)
    other = BPETokenizer(tokenizer.tokens, pattern=WHOLE)
    assert other.decode(other.encode("a b " * 9_999)) == "a b " * 9_999
    assert other._engine.encode("a b " * 9_999) is None


def test_without_tiktoken(tokenizer: BPETokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    text = "the cat " * 9_999
    assert made(tokenizer, None).encode(text) is None
    assert BPETokenizer(tokenizer.tokens).encode(text) == tokenizer.encode(text)
    with pytest.raises(ImportError, match="pip install tiktoken"):
        BPETokenizer(tokenizer.tokens, fast=True)


def test_copies_leave_behind_what_tiktoken_built(tokenizer: BPETokenizer) -> None:
    used = made(tokenizer, True)
    expected = used.encode("the cat")
    for twin in (copy.deepcopy(used), pickle.loads(pickle.dumps(used))):
        assert "_encode" not in vars(twin)
        assert twin.encode("the cat") == expected


def test_arrays_are_the_same_ids_also_of_short_texts(tokenizer: BPETokenizer) -> None:
    engine = made(tokenizer, None)
    for text in ("", "the cat", f"{load_corpus()[:30_000]} {END_OF_TEXT} 🌹"):
        array = engine.encode_array(text)
        assert array is not None
        assert array.tolist() == tokenizer.encode(text)
    assert engine.encode_array(" " * 100_000) is None
    assert made(tokenizer, None, alike=False).encode_array("the cat") is None
