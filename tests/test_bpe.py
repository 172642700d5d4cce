"""Byte-pair encoding: learned as the naive way learns, encoded as training has split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt import checks
from mini_gpt.bpe import byte_pair_encode, merge, train_bpe
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.lone_surrogates import replace_lone_surrogates
from mini_gpt.support.pretokenization import compile_pattern, pretokenize
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer
from texts import AWKWARD, FEW_LETTERS, WHOLE, engine, learn, learn_naively


@pytest.fixture(scope="module")
def corpus() -> str:
    return load_corpus()


def test_merging_goes_from_left_to_right() -> None:
    assert merge([1, 2, 3, 1, 2], (1, 2), 9) == [9, 3, 9]
    assert merge([7, 7, 7], (7, 7), 9) == [9, 7]
    assert merge([], (1, 2), 9) == []


# Training


@settings(deadline=None, max_examples=60)
@given(text=st.one_of(AWKWARD, FEW_LETTERS), pattern=st.sampled_from([GPT2_PATTERN, WHOLE]))
def test_fast_trainer_learns_what_the_naive_one_learns(text: str, pattern: str) -> None:
    expected = learn_naively(replace_lone_surrogates(text), 256 + 30, pattern)
    assert learn(text, len(expected), pattern) == expected
    if len(expected) < 256 + 30:
        with pytest.raises(ValueError, match=f"gives {len(expected)} tokens, not"):
            learn(text, len(expected) + 1, pattern)


@pytest.mark.slow
def test_fast_trainer_learns_what_the_naive_one_learns_from_real_text(corpus: str) -> None:
    text = corpus[100_000:110_000]
    assert learn(text, 256 + 60) == learn_naively(text, 256 + 60, GPT2_PATTERN)


def test_merges_of_a_sentence() -> None:
    tokens = train_bpe({b"how much wood would a woodchuck chuck": 1}, 256 + 8)
    assert [token.decode() for token in tokens[256:]] == (
        [" w", "ch", " wo", "ck", "od", "uck", "chuck", " wood"]
    )


def test_a_pretoken_counts_as_often_as_it_occurs() -> None:
    assert train_bpe({b"ab": 2, b"cd": 3, b"ce": 1}, 258)[256:] == [b"cd", b"ab"]


def test_ties_go_to_the_smallest_ids() -> None:
    assert train_bpe({b"zy": 2, b"ab": 2}, 257)[256] == b"ab"
    assert train_bpe({b"ac": 2, b"ab": 2}, 257)[256] == b"ab"


def test_a_short_training_is_the_beginning_of_a_long_one(corpus: str) -> None:
    assert learn(corpus[:50_000], 300) == learn(corpus[:50_000], 500)[:300]


def test_no_token_reaches_across_a_cut() -> None:
    tokens = learn("the dog. the dog. the dog! the dog!\n" * 5, 262)
    assert {b" the", b" dog"} < set(tokens)
    assert max(map(len, tokens)) == 4


def test_training_asks_for_what_it_needs() -> None:
    with pytest.raises(ValueError, match="255 tokens are fewer than the 256"):
        train_bpe({b"aa": 1}, 255)
    with pytest.raises(ValueError, match=r"gives 258 tokens, not 300.* give more text"):
        train_bpe({b"aaaa": 2}, 300)
    assert train_bpe({}, 256) == [bytes([byte]) for byte in range(256)]


# Encoding


@settings(deadline=None, max_examples=60)
@given(text=FEW_LETTERS)
def test_training_and_encoding_split_alike(text: str) -> None:
    tokens = learn_naively(text, 280, GPT2_PATTERN)
    ids = {token: id for id, token in enumerate(tokens)}
    for pretoken in pretokenize(text, compile_pattern(GPT2_PATTERN)):
        word = list(pretoken.encode())
        for new, token in enumerate(tokens[256:], 256):  # replay every merge, in order
            pairs = [pair for pair in pairwise(word) if tokens[pair[0]] + tokens[pair[1]] == token]
            word = merge(word, pairs[0], new) if pairs else word
        assert byte_pair_encode(pretoken.encode(), ids) == word


@settings(deadline=None, max_examples=60)
@given(text=FEW_LETTERS, training=FEW_LETTERS, pattern=st.sampled_from([GPT2_PATTERN, WHOLE]))
def test_ids_are_tiktokens_where_merges_overlap(text: str, training: str, pattern: str) -> None:
    tokenizer = BPETokenizer(learn_naively(training, 280, pattern), pattern=pattern)
    assert tokenizer.encode(text) == engine(tokenizer).encode_ordinary(text)


def test_nothing_and_a_single_byte() -> None:
    assert byte_pair_encode(b"", {}) == []
    assert byte_pair_encode(b"a", {b"a": 7}) == [7]


def test_the_merge_that_was_learned_first_comes_first() -> None:
    single = {bytes([byte]): byte for byte in range(256)}
    assert byte_pair_encode(b"abc", single | {b"bc": 256, b"ab": 257}) == [97, 256]
    assert byte_pair_encode(b"abc", single | {b"ab": 256, b"bc": 257}) == [256, 99]


# The exercises' checks


def fewest(word: bytes, tokens: set[bytes]) -> int:
    best = [0]
    for end in range(1, len(word) + 1):
        best.append(1 + min(best[start] for start in range(end) if word[start:end] in tokens))
    return best[-1]


def greedy(word: bytes, tokens: set[bytes]) -> int:
    number, start = 0, 0
    while start < len(word):
        start = max(end for end in range(start + 1, len(word) + 1) if word[start:end] in tokens)
        number += 1
    return number


def spell(id: int, pairs: list[tuple[int, int]]) -> bytes:
    if id < 256:
        return bytes([id])
    return b"".join(spell(half, pairs) for half in pairs[id - 256])


def train(
    pretokens: dict[bytes, int], least: int, *, ties: int = 1, repeat: bool = True
) -> list[tuple[int, int]]:
    words, pairs = [list(word) for word in pretokens], []
    while True:
        counts: Counter[tuple[int, int]] = Counter()
        for word, times in zip(words, pretokens.values(), strict=True):
            for pair in pairwise(word):
                counts[pair] += times if repeat else 1
        if not counts:
            return pairs
        best = min(counts, key=lambda pair: (-counts[pair], ties * pair[0], ties * pair[1]))
        if counts[best] < least:
            return pairs
        pairs.append(best)
        words = [merge(word, best, 255 + len(pairs)) for word in words]


def encode(word: bytes, pairs: list[tuple[int, int]]) -> list[int]:
    ids = list(word)
    for new, pair in enumerate(pairs, 256):
        ids = merge(ids, pair, new)
    return ids


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (
            checks.bpe.spell,
            [
                lambda id, pairs: bytes([id]) if id < 256 else b"an",
                lambda id, pairs: bytes([id]) if id < 256 else bytes(pairs[id - 256]),
                lambda id, pairs: spell(id, pairs)[::-1],
            ],
            spell,
        ),
        (
            checks.bpe.train,
            [
                lambda pretokens, least: train(pretokens, least + 1),
                lambda pretokens, least: train(pretokens, least, ties=-1),
                lambda pretokens, least: train(pretokens, least, repeat=False),
                lambda pretokens, least: train(pretokens, least)[:1],
            ],
            train,
        ),
        (
            checks.bpe.encode,
            [
                lambda word, pairs: list(word),
                lambda word, pairs: encode(word, pairs[::-1]),
                lambda word, pairs: encode(word, [*pairs[1:], pairs[0]]),
            ],
            encode,
        ),
        (
            checks.bpe.fewest_tokens,
            [greedy, lambda word, tokens: len(word), lambda word, tokens: 2],
            fewest,
        ),
    ],
)
def test_exercise_checks(
    check: Callable[..., None],
    wrong: list[Callable[..., object]],
    right: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for answer in (lambda *_: None, *wrong):
        check(answer)
        assert capsys.readouterr().out.startswith("not yet: ")
    check(right)
    assert capsys.readouterr().out.startswith("correct: ")
