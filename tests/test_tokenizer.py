"""The tokenizer: equal to the naive algorithm and to tiktoken's engine; exact at the edges."""

from __future__ import annotations

import copy
import json
import pickle
import random
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiktoken
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from transformers import AutoTokenizer

from mini_gpt import checks
from mini_gpt.corpus import gpt2_vocabulary_files, shakespeare_documents
from mini_gpt.interchange import merges_of, write_huggingface_tokenizer
from mini_gpt.tokenizer import (
    END_OF_TEXT,
    GPT2_PATTERN,
    BPETokenizer,
    CharTokenizer,
    Tokenizer,
    compile_pattern,
    cut_pieces,
    fingerprint,
    gpt2_byte_characters,
    known_ids,
    learn_tokens,
    load_engine,
    load_tokenizer,
    merge,
    merge_piece,
    read_gpt2_tokens,
    replace_lone_surrogates,
    save_tokenizer,
)

WHOLE = r"(?s:.+)"  # a pattern that does not cut
SPACES = r"\S+|\s"  # a pattern that parts words from spaces
SOURCE = Path(__file__).read_text(encoding="utf-8")
LETTERS = [
    "aàá",
    "e\u0301",
    "🌹",
    "👩\u200d👩\u200d👧",
    "שלום",
    "مرحبا",
    "हिन्दी",
    "猫",
    "ﬀ",
    "ǅ",
    "Ⅷ",
    "²",
    "٣",
]
LETTERS += ["\u00a0", "\u2003", "\u200b", "\ufeff"]
# Text that stresses what tokenizers get wrong, and any text at all, but for characters that are
# newer than Python's own table of Unicode: the engines' tables are of different years.
AWKWARD = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=8),
        st.sampled_from(LETTERS),
        st.sampled_from(["'s", "'LL", "’t", " ", "  ", "\n", "\r\n", "\t", "\x00", "\x7f", "\x85"]),
        st.sampled_from([END_OF_TEXT, "<|", "the", " the", "THE", "12", " 3.14"]),
        st.builds(lambda c, n: c * n, st.sampled_from("a é\n0-"), st.integers(2, 300)),
    ),
    max_size=12,
).map("".join)
FEW_LETTERS = st.text(alphabet="ab é", max_size=80)


def learn_naively(text: str, count: int, pattern: str) -> list[bytes]:
    """The ten-line algorithm: count everything again for each merge. Stops where none repeats."""
    words = [list(piece.encode()) for piece in cut_pieces(text, compile_pattern(pattern))]
    tokens = [bytes([byte]) for byte in range(256)]
    while len(tokens) < count:
        counts = Counter(pair for word in words for pair in pairwise(word))
        pair = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if pair is None or counts[pair] < 2:
            break
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        words = [merge(word, pair, len(tokens) - 1) for word in words]
    return tokens


def engine(tokenizer: BPETokenizer) -> tiktoken.Encoding:
    """tiktoken's engine with the same tokens."""
    return tiktoken.Encoding(
        "test",
        pat_str=tokenizer.pattern,
        mergeable_ranks={token: id for id, token in enumerate(tokenizer.tokens)},
        special_tokens={
            text: len(tokenizer.tokens) + i for i, text in enumerate(tokenizer.special_tokens)
        },
    )


@pytest.fixture(scope="module")
def corpus() -> str:
    return "\n\n".join(data.decode() for data in shakespeare_documents().values())


@pytest.fixture(scope="module")
def tokenizer(corpus: str) -> BPETokenizer:
    """Trained on English, some of it in capitals, and on a little of everything else."""
    others = "Η γάτα κοιμάται. Кошка спит. 猫在睡觉。 बिल्ली सोती है। 🌹🌹 a\u0301 " * 20
    tokens = learn_tokens(corpus[:200_000] + SOURCE + others, 1_500)
    return BPETokenizer(tokens, fast=False)


@pytest.fixture(scope="module")
def reference(tokenizer: BPETokenizer) -> tiktoken.Encoding:
    return engine(tokenizer)


@pytest.fixture(scope="module")
def gpt2() -> BPETokenizer:
    return BPETokenizer(BPETokenizer.gpt2().tokens, fast=False)


@pytest.fixture(scope="module")
def gpt2_reference(gpt2: BPETokenizer) -> tiktoken.Encoding:
    return engine(gpt2)


# Training


@settings(deadline=None, max_examples=60)
@given(text=st.one_of(AWKWARD, FEW_LETTERS), pattern=st.sampled_from([GPT2_PATTERN, WHOLE]))
def test_fast_trainer_learns_what_the_naive_one_learns(text: str, pattern: str) -> None:
    expected = learn_naively(replace_lone_surrogates(text), 256 + 30, pattern)
    assert learn_tokens(text, len(expected), pattern) == expected
    if len(expected) < 256 + 30:
        with pytest.raises(ValueError, match=f"gives {len(expected)} tokens, not"):
            learn_tokens(text, len(expected) + 1, pattern)


def test_fast_trainer_learns_what_the_naive_one_learns_from_real_text(corpus: str) -> None:
    text = corpus[100_000:110_000]
    assert learn_tokens(text, 256 + 60) == learn_naively(text, 256 + 60, GPT2_PATTERN)


def test_merges_of_a_sentence() -> None:
    tokens = learn_tokens("how much wood would a woodchuck chuck", 256 + 8, WHOLE)
    assert [token.decode() for token in tokens[256:]] == (
        [" w", "ch", " wo", "ck", "od", "uck", "chuck", " wood"]
    )


def test_ties_go_to_the_smallest_ids() -> None:
    assert learn_tokens("zy zy ab ab", 257, SPACES)[256] == b"ab"
    assert learn_tokens("ac ac ab ab", 257, SPACES)[256] == b"ab"


def test_a_short_training_is_the_beginning_of_a_long_one(corpus: str) -> None:
    assert learn_tokens(corpus[:50_000], 300) == learn_tokens(corpus[:50_000], 500)[:300]


def test_no_token_reaches_across_a_cut() -> None:
    tokens = learn_tokens("the dog. the dog. the dog! the dog!\n" * 5, 262)
    assert {b" the", b" dog"} < set(tokens)
    assert max(map(len, tokens)) == 4


def test_training_asks_for_what_it_needs() -> None:
    with pytest.raises(ValueError, match="255 tokens are fewer than the 256"):
        learn_tokens("aa", 255)
    with pytest.raises(ValueError, match="vocab_size 256 is below 256 bytes plus 1 special"):
        BPETokenizer.train("aa", 256)
    with pytest.raises(ValueError, match=r"gives 258 tokens, not 300.* give more text"):
        learn_tokens("aaaa aaaa", 300, r"\S+|\s+")
    assert BPETokenizer.train("", 257).vocab_size == 257


def test_lone_surrogates_are_replaced() -> None:
    assert replace_lone_surrogates("a\ud83cb") == "a\ufffdb"
    assert replace_lone_surrogates("\ufeffa\ud83c\udf39") == "\ufeffa🌹"
    assert replace_lone_surrogates("猫") == "猫"


# The pattern


def test_pieces_are_the_whole_text(corpus: str) -> None:
    assert "".join(cut_pieces(corpus, compile_pattern(GPT2_PATTERN))) == corpus


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("I've 24 dogs.", ["I", "'ve", " 24", " dogs", "."]),
        ("a  b", ["a", " ", " b"]),
        ("a\n  b", ["a", "\n ", " b"]),
        ("a\nb ", ["a", "\n", "b", " "]),
        ("x²=4", ["x", "²", "=", "4"]),
    ],
)
def test_cutting_by_gpt2s_pattern(text: str, pieces: list[str]) -> None:
    assert cut_pieces(text, compile_pattern(GPT2_PATTERN)) == pieces


def test_a_pattern_that_would_lose_text_is_refused() -> None:
    tokenizer = BPETokenizer(learn_tokens("", 256), pattern=r"\w+| ")
    assert tokenizer.decode(tokenizer.encode("a b")) == "a b"
    with pytest.raises(ValueError, match=r"leaves out '-' at position 3"):
        tokenizer.encode("a b-c")
    with pytest.raises(ValueError, match=r"leaves out '!' at position 1"):
        tokenizer.encode("a!")
    with pytest.raises(ValueError, match=r"leaves out '!' at position 1"):
        BPETokenizer.train("a!", 257, pattern=r"\w+| ")


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        compile_pattern("(")
    with pytest.raises(ValueError, match="capturing group"):
        compile_pattern(r"(\w)+")


# Encoding


def test_ids_are_tiktokens_on_the_corpus(
    tokenizer: BPETokenizer, reference: tiktoken.Encoding, corpus: str
) -> None:
    assert tokenizer.encode(corpus) == reference.encode_ordinary(corpus)


@settings(deadline=None, max_examples=1_000)
@given(text=AWKWARD)
def test_ids_are_tiktokens_on_any_text(
    tokenizer: BPETokenizer, reference: tiktoken.Encoding, text: str
) -> None:
    ids = tokenizer.encode(text)
    assert ids == reference.encode_ordinary(text)
    assert tokenizer.decode(ids) == replace_lone_surrogates(text)


def test_ids_are_tiktokens_around_every_character(
    tokenizer: BPETokenizer, reference: tiktoken.Encoding
) -> None:
    """Both must agree on what is a letter, a digit and a space, far into Unicode."""
    codes = [*range(0xD800), *range(0xE000, 0x110000, 101)]
    for start in range(0, len(codes), 2_000):
        text = "".join(f"a{chr(code)}1{chr(code)} " for code in codes[start : start + 2_000 : 3])
        assert tokenizer.encode(text) == reference.encode_ordinary(text)


@settings(deadline=None, max_examples=60)
@given(text=FEW_LETTERS, training=FEW_LETTERS, pattern=st.sampled_from([GPT2_PATTERN, WHOLE]))
def test_ids_are_tiktokens_where_merges_overlap(text: str, training: str, pattern: str) -> None:
    tokenizer = BPETokenizer(learn_naively(training, 280, pattern), pattern=pattern)
    assert tokenizer.encode(text) == engine(tokenizer).encode_ordinary(text)


def test_ids_are_tiktokens_on_source_code_and_every_character_of_one_byte(
    tokenizer: BPETokenizer, reference: tiktoken.Encoding
) -> None:
    for text in (SOURCE, *map(chr, range(256)), "".join(map(chr, range(256)))):
        assert tokenizer.encode(text) == reference.encode_ordinary(text)


@settings(deadline=None, max_examples=60)
@given(text=FEW_LETTERS)
def test_training_and_encoding_split_alike(text: str) -> None:
    tokens = learn_naively(text, 280, GPT2_PATTERN)
    ids = {token: id for id, token in enumerate(tokens)}
    for piece in cut_pieces(text, compile_pattern(GPT2_PATTERN)):
        word = list(piece.encode())
        for new, token in enumerate(tokens[256:], 256):  # replay every merge, in order
            pairs = [pair for pair in pairwise(word) if tokens[pair[0]] + tokens[pair[1]] == token]
            word = merge(word, pairs[0], new) if pairs else word
        assert merge_piece(piece.encode(), ids) == word


def test_every_byte_and_nothing() -> None:
    tokenizer = BPETokenizer(learn_tokens("", 256))
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""
    assert tokenizer.encode("\x00é") == [0, 195, 169]
    assert tokenizer.decode_bytes(range(256)) == bytes(range(256))
    assert merge_piece(b"", {}) == []


@pytest.mark.parametrize("text", ["a", "é", " ", "\n", "ab", "0"])
def test_long_runs_take_no_quadratic_time(tokenizer: BPETokenizer, text: str) -> None:
    def cost(length: int) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()
            ids = tokenizer.encode(text * length)
            times.append(time.process_time() - start)
        assert ids
        return min(times)

    assert tokenizer.encode(text * 3_000) == engine(tokenizer).encode_ordinary(text * 3_000)
    assert cost(40_000) < 6 * 10 * cost(4_000)  # ten times the text: not a hundred times the work


def test_many_letters_that_repeat_nothing(
    tokenizer: BPETokenizer, reference: tiktoken.Encoding
) -> None:
    letters = "".join(random.Random(0).choices("acgt", k=100_000))
    assert tokenizer.encode(letters) == reference.encode_ordinary(letters)


def test_encoding_remembers_only_short_pieces(tokenizer: BPETokenizer) -> None:
    fresh = BPETokenizer(tokenizer.tokens, fast=False)
    fresh.encode("x" * 10_000 + " abc abc")
    assert fresh._known_pieces.cache_info().currsize == 1
    assert fresh._known_pieces.cache_info().hits == 1
    assert fresh._known_pieces.cache_info().maxsize


def test_a_result_can_be_changed_without_harm(tokenizer: BPETokenizer) -> None:
    first = tokenizer.encode(" zounds")
    expected = list(first)
    first.clear()
    assert tokenizer.encode(" zounds") == expected


# tiktoken's engine


def test_the_engine_gives_the_same_ids(tokenizer: BPETokenizer, corpus: str) -> None:
    fast = BPETokenizer(tokenizer.tokens, fast=True)
    text = f"{corpus[:99_999]}\ud83c {END_OF_TEXT} \r\n 🌹\x00"
    for allowed in ((), [END_OF_TEXT]):
        expected = tokenizer.encode(text, allowed_special=allowed)
        assert fast.encode(text, allowed_special=allowed) == expected
        assert BPETokenizer(tokenizer.tokens).encode(text, allowed_special=allowed) == expected


def test_the_engine_is_used_for_long_texts(
    tokenizer: BPETokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(fast: bool | None, text: str) -> bool:
        texts: list[str] = []
        made = BPETokenizer(tokenizer.tokens, fast=fast)
        made.__dict__["_engine"] = lambda text: texts.append(text) or []
        made.encode(text)
        return bool(texts)

    assert [used(fast, "ab " * 10_000) for fast in (True, None, False)] == [True, True, False]
    assert [used(fast, "ab") for fast in (True, None, False)] == [True, False, False]
    assert not used(True, "a" + " " * 100_000)


def test_very_many_spaces_do_not_reach_the_engine(tokenizer: BPETokenizer) -> None:
    text = "a" + " " * 150_000 + "b"
    assert BPETokenizer(tokenizer.tokens, fast=True).encode(text) == tokenizer.encode(text)


def test_the_engine_knows_gpt2s_pattern_only(tokenizer: BPETokenizer) -> None:
    with pytest.raises(ValueError, match="needs GPT-2's pattern"):
        BPETokenizer(tokenizer.tokens, pattern=WHOLE, fast=True)
    other = BPETokenizer(tokenizer.tokens, pattern=WHOLE)
    assert other.decode(other.encode("a b " * 9_999)) == "a b " * 9_999


def test_without_tiktoken(tokenizer: BPETokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert load_engine(tokenizer.tokens) is None
    text = "the cat " * 9_999
    assert BPETokenizer(tokenizer.tokens).encode(text) == tokenizer.encode(text)
    with pytest.raises(ImportError, match="pip install tiktoken"):
        BPETokenizer(tokenizer.tokens, fast=True)


# GPT-2's vocabulary


def test_gpt2s_vocabulary(gpt2: BPETokenizer) -> None:
    assert gpt2.vocab_size == 50_257
    assert gpt2.end_of_text == 50_256
    assert gpt2.decode([50_256]) == END_OF_TEXT
    assert sum(len(token) == 1 for token in gpt2.tokens) == 256
    assert gpt2.tokens[256] == b" t"


def test_gpt2s_ids_are_tiktokens(
    gpt2: BPETokenizer, gpt2_reference: tiktoken.Encoding, corpus: str
) -> None:
    for some in (corpus, SOURCE, *map(chr, range(256))):
        assert gpt2.encode(some) == gpt2_reference.encode_ordinary(some)


@settings(deadline=None, max_examples=10_000)
@given(text=AWKWARD)
def test_gpt2s_ids_are_tiktokens_on_any_text(
    gpt2: BPETokenizer, gpt2_reference: tiktoken.Encoding, text: str
) -> None:
    assert gpt2.encode(text) == gpt2_reference.encode_ordinary(text)


@pytest.mark.parametrize("byte", range(256))
def test_gpt2s_id_of_a_single_byte(
    gpt2: BPETokenizer, gpt2_reference: tiktoken.Encoding, byte: int
) -> None:
    (id,) = (id for id, token in enumerate(gpt2.tokens) if token == bytes([byte]))
    assert gpt2_reference.encode_single_token(bytes([byte])) == id
    assert gpt2.decode_bytes([id]) == bytes([byte])


def test_gpt2_from_files(gpt2: BPETokenizer, tmp_path: Path) -> None:
    paths = tmp_path / "vocab.json", tmp_path / "merges.txt"
    for path, content in zip(paths, gpt2_vocabulary_files(), strict=True):
        path.write_text(content, encoding="utf-8")
    assert BPETokenizer.gpt2(*paths).tokens == gpt2.tokens
    with pytest.raises(ValueError, match="two files; give both"):
        BPETokenizer.gpt2(paths[0])
    with pytest.raises(FileNotFoundError):
        BPETokenizer.gpt2(paths[0], tmp_path / "nothing.txt")


def small_gpt2_files() -> tuple[dict[str, int], str]:
    characters = gpt2_byte_characters()
    written = [*characters, "ab", "abc", END_OF_TEXT]
    return {token: id for id, token in enumerate(written)}, "#version: 0.2\na b\nab c\n"


def test_the_form_of_gpt2s_files() -> None:
    vocabulary, merges = small_gpt2_files()
    tokens = read_gpt2_tokens(json.dumps(vocabulary), merges)
    assert tokens[256:] == [b"ab", b"abc"]
    assert sorted(tokens[:256]) == [bytes([byte]) for byte in range(256)]
    assert read_gpt2_tokens(json.dumps(vocabulary), "a b\nab c") == tokens


@pytest.mark.parametrize("merges", ["", "#version: 0.2", "#version: 0.2\n"])
def test_a_vocabulary_of_bytes_alone_has_no_merges(merges: str) -> None:
    """It once was refused: an empty file was taken for one empty merge."""
    written = [*gpt2_byte_characters(), END_OF_TEXT]
    tokens = read_gpt2_tokens(json.dumps({t: id for id, t in enumerate(written)}), merges)
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
    vocabulary = {**small_gpt2_files()[0], **change}
    with pytest.raises(ValueError, match=f"not GPT-2's vocab.json and merges.txt: .*{reason}"):
        read_gpt2_tokens(json.dumps(vocabulary), merges)


def test_text_that_is_no_vocabulary() -> None:
    for text in ("", "[]", "7", "[1, 2]"):
        with pytest.raises(ValueError, match=r"not GPT-2's vocab\.json and"):
            read_gpt2_tokens(text, "")


def test_bytes_and_their_characters() -> None:
    characters = gpt2_byte_characters()
    assert len(characters) == len(set(characters.values())) == 256
    assert all(character.isprintable() and not character.isspace() for character in characters)
    assert characters["Ġ"] == 32
    assert characters["Ċ"] == 10
    assert characters["A"] == 65


# Hugging Face

PORTABLE = r"\s+|[^\s]+"  # a pattern that other engines read alike


@pytest.mark.parametrize("special", [[END_OF_TEXT], [], ["<a>", "<|b|>"]])
@pytest.mark.parametrize("pattern", [GPT2_PATTERN, PORTABLE])
def test_hugging_face_gives_the_same_ids(
    special: list[str], pattern: str, corpus: str, tmp_path: Path
) -> None:
    ours = BPETokenizer.train(
        corpus[:60_000] + " 🌹🌹 猫猫", 700, pattern=pattern, special_tokens=special
    )
    write_huggingface_tokenizer(ours, tmp_path / "new")
    theirs = HuggingFaceTokenizer.from_file(str(tmp_path / "new" / "tokenizer.json"))
    auto = AutoTokenizer.from_pretrained(tmp_path / "new")
    for text in (
        corpus[200_000:260_000],
        SOURCE.replace("<", ""),
        "",
        "  a🌹\n\n 猫é\x00 ",
    ):
        ids = ours.encode(text)
        assert theirs.encode(text).ids == ids
        assert auto(text)["input_ids"] == ids
        assert auto.decode(ids) == theirs.decode(ids) == text
    assert len(auto) == ours.vocab_size
    assert auto.eos_token_id == ours.end_of_text
    if special:
        text = f"the{special[-1]}the"
        assert auto(text)["input_ids"] == ours.encode(text, allowed_special=special)
        assert auto(text, split_special_tokens=True)["input_ids"] == ours.encode(text)


def test_merges_can_be_recovered(gpt2: BPETokenizer) -> None:
    assert merges_of(BPETokenizer(learn_tokens("aaaa aaaa", 258, SPACES))) == [
        (b"a", b"a"),
        (b"aa", b"aa"),
    ]
    lines = gpt2_vocabulary_files()[1].split("\n")[1:-1]
    characters = gpt2_byte_characters()
    assert merges_of(gpt2) == [
        tuple(bytes(characters[c] for c in part) for part in line.split(" ")) for line in lines
    ]


def test_tokens_that_no_merge_makes_are_named(tmp_path: Path) -> None:
    made_up = BPETokenizer([*learn_tokens("", 256), b"abc"])
    with pytest.raises(ValueError, match=r"token 256, b'abc', is no union of two"):
        write_huggingface_tokenizer(made_up, tmp_path)
    assert not list(tmp_path.iterdir())


# Special tokens


def special_tokenizer(*special: str) -> BPETokenizer:
    return BPETokenizer(learn_tokens("aa aa", 257), special_tokens=special)


def test_special_tokens_are_ordinary_text_unless_allowed() -> None:
    tokenizer = special_tokenizer(END_OF_TEXT, "<|user|>")
    text = f"aa{END_OF_TEXT}aa<|user|>"
    ordinary = tokenizer.encode(text)
    assert max(ordinary) < tokenizer.end_of_text == 257
    assert tokenizer.decode(ordinary) == text
    some = tokenizer.encode(text, allowed_special=[END_OF_TEXT])
    assert some == [256, 257, 256, *b"<|user|>"]
    both = tokenizer.encode(text, allowed_special={"<|user|>", END_OF_TEXT})
    assert both == [256, 257, 256, 258]
    assert tokenizer.decode(both) == text
    assert both == engine(tokenizer).encode(text, allowed_special="all")


def test_the_longest_special_token_wins() -> None:
    tokenizer = special_tokenizer("<a>", "<a><b>", "*", "(")
    allowed = tokenizer.special_tokens
    assert tokenizer.encode("<a><b><a>*(", allowed_special=allowed) == [258, 257, 259, 260]


def test_ordinary_text_between_special_tokens_is_ordinary() -> None:
    tokenizer = special_tokenizer("<a>", "aa")
    # "aa" is also an ordinary token here; only what is allowed becomes special.
    assert tokenizer.encode("aa<a>aa", allowed_special=["<a>"]) == [256, 257, 256]


def test_an_unknown_special_token_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'<x>' is not a special token here; known: \['<a>'\]"):
        special_tokenizer("<a>").encode("", allowed_special=["<x>"])


def test_no_special_token_at_all() -> None:
    tokenizer = special_tokenizer()
    assert tokenizer.end_of_text is None
    assert tokenizer.vocab_size == 257


# Decoding


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    tokenizer = BPETokenizer(learn_tokens("", 256))
    assert tokenizer.decode([0xE2, 0x82]) == "\ufffd"
    assert tokenizer.decode([97, 0xFF, 98]) == "a\ufffdb"
    assert tokenizer.decode_bytes([0xE2, 256]) == b"\xe2" + END_OF_TEXT.encode()


@settings(deadline=None, max_examples=100)
@given(ids=st.lists(st.integers(0, 256), max_size=40))
def test_a_stream_is_what_decode_gives(ids: list[int]) -> None:
    tokenizer = BPETokenizer(learn_tokens("", 256))
    parts = list(tokenizer.decode_stream(iter(ids)))
    assert "".join(parts) == tokenizer.decode(ids)
    assert all(parts)


def test_a_stream_waits_for_whole_characters() -> None:
    tokenizer = BPETokenizer(learn_tokens("", 256))
    assert list(tokenizer.decode_stream("a🌹é".encode())) == ["a", "🌹", "é"]
    assert list(tokenizer.decode_stream("a🌹".encode()[:-1])) == ["a", "\ufffd"]


@pytest.mark.parametrize("make", [lambda: CharTokenizer("abc"), lambda: special_tokenizer("<a>")])
def test_ids_that_are_none(make) -> None:  # type: ignore[no-untyped-def]
    tokenizer = make()
    size = tokenizer.vocab_size
    with pytest.raises(ValueError, match=rf"id {size} at position 2 is outside .*0 to {size - 1}"):
        tokenizer.decode([0, 1, size])
    with pytest.raises(ValueError, match="id -1 at position 0"):
        tokenizer.decode([-1])
    with pytest.raises(TypeError, match=r"at position 1 stands 0\.5"):
        tokenizer.decode(iter([0, 0.5]))


def test_ids_from_arrays_and_tensors() -> None:
    tokenizer = CharTokenizer("abc")
    assert tokenizer.decode(np.array([2, 0], dtype=np.uint16)) == "ca"
    assert tokenizer.decode(torch.tensor([1, 2])) == "bc"
    assert list(known_ids(torch.tensor([1]), 2)) == [1]
    with pytest.raises(TypeError, match="single whole numbers, but at position 0"):
        tokenizer.decode(torch.tensor([[1, 2]]))


# Vocabularies that are none


def test_vocabularies_that_are_none() -> None:
    single = [bytes([byte]) for byte in range(256)]
    with pytest.raises(ValueError, match="lacks the single byte 7"):
        BPETokenizer([token for token in single if token != b"\x07"])
    with pytest.raises(ValueError, match="has b'ab' twice"):
        BPETokenizer([*single, b"ab", b"ab"])
    with pytest.raises(ValueError, match="has '<a>' twice"):
        BPETokenizer(single, special_tokens=["<a>", "<a>"])
    with pytest.raises(ValueError, match="empty token"):
        BPETokenizer([*single, b""])
    with pytest.raises(ValueError, match="empty token"):
        BPETokenizer(single, special_tokens=[""])


# Characters


def test_characters_there_and_back(corpus: str) -> None:
    tokenizer = CharTokenizer.train(corpus)
    assert tokenizer.vocab_size == len(set(corpus)) == 84
    assert "".join(tokenizer.alphabet) == "".join(sorted(set(corpus)))
    assert tokenizer.decode(tokenizer.encode(corpus[:9_999])) == corpus[:9_999]
    assert CharTokenizer("cab").encode("abc") == [1, 2, 0]
    assert tokenizer.end_of_text is None


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(ValueError, match=r"does not know '猫' \(U\+732B, at position 2\)"):
        CharTokenizer("abc").encode("ab猫猫")


def test_an_unknown_character_can_be_replaced() -> None:
    tokenizer = CharTokenizer.train("abc", replacement="?")
    assert tokenizer.decode(tokenizer.encode("ab猫c")) == "ab?c"
    with pytest.raises(ValueError, match="lacks the replacement '#'"):
        CharTokenizer("abc", replacement="#")


def test_alphabets_that_are_none() -> None:
    with pytest.raises(ValueError, match="alphabet is empty"):
        CharTokenizer("")
    with pytest.raises(ValueError, match="alphabet is empty"):
        CharTokenizer.train("")
    with pytest.raises(ValueError, match="has 'b' twice"):
        CharTokenizer("abcb")
    with pytest.raises(ValueError, match="holds 'bc', which is not one character"):
        CharTokenizer(["a", "bc"])


# Files

TOKENIZERS = [
    CharTokenizer("ba\n\x00\ud800猫"),
    CharTokenizer("ab?", replacement="?"),
    BPETokenizer(learn_tokens("hé hé hé", 258)),
    BPETokenizer(learn_tokens("", 256), pattern=WHOLE, special_tokens=['<"\\\n🌹>', "b"]),
    BPETokenizer(learn_tokens("", 256), special_tokens=()),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_saved_and_loaded_it_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "new" / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "new" / "tokenizer.json")
    assert type(loaded) is type(tokenizer)
    assert loaded.to_dict() == tokenizer.to_dict()
    assert fingerprint(loaded) == fingerprint(tokenizer)
    assert loaded.encode("ab") == tokenizer.encode("ab")
    assert loaded.end_of_text == tokenizer.end_of_text


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_class_saves_and_loads(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokenizer.json"
    tokenizer.save(path)
    assert fingerprint(type(tokenizer).load(path)) == fingerprint(tokenizer)
    assert fingerprint(load_tokenizer(path)) == fingerprint(tokenizer)


def test_a_class_refuses_the_other_kind(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    TOKENIZERS[0].save(path)
    with pytest.raises(ValueError, match="holds a CharTokenizer, not a BPETokenizer"):
        BPETokenizer.load(path)
    TOKENIZERS[2].save(path)
    with pytest.raises(ValueError, match="holds a BPETokenizer, not a CharTokenizer"):
        CharTokenizer.load(path)


def test_fingerprints_differ() -> None:
    assert len({fingerprint(tokenizer) for tokenizer in TOKENIZERS}) == len(TOKENIZERS)
    assert fingerprint(CharTokenizer("ab")) != fingerprint(CharTokenizer("ba"))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_copies_are_the_same(tokenizer: Tokenizer) -> None:
    for twin in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert fingerprint(twin) == fingerprint(tokenizer)
        assert twin.encode("abab") == tokenizer.encode("abab")


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_both_kinds_keep_the_protocol(tokenizer: Tokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)


def damage(path: Path, **changes: object) -> None:
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "other"}, "it does not say that it is one"),
        ({"version": 2}, "version 2, this program reads version 1"),
        ({"kind": "words"}, "unknown kind, 'words'"),
        ({"tokens": None}, "lacks 'tokens'"),
        ({"tokens": ["zz"]}, "non-hexadecimal"),
        ({"tokens": [7]}, "str"),
        ({"tokens": 7}, ""),
        ({"tokens": ["61"]}, "lacks the single byte 0"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": 7}, "not text"),
        ({"special_tokens": "abc"}, "not text"),
        ({"special_tokens": [7]}, "not text"),
    ],
)
def test_a_file_that_is_no_tokenizer(
    changes: dict[str, object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokenizer.json"
    save_tokenizer(TOKENIZERS[2], path)
    damage(path, **changes)
    with pytest.raises(ValueError, match=f"tokenizer.json is not a mini_gpt tokenizer.*{reason}"):
        load_tokenizer(path)


@pytest.mark.parametrize("alphabet", [7, ["ab"], "", "aa"])
def test_a_file_with_a_wrong_alphabet(alphabet: object, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    save_tokenizer(TOKENIZERS[0], path)
    damage(path, alphabet=alphabet)
    with pytest.raises(ValueError, match="is not a mini_gpt tokenizer"):
        load_tokenizer(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'"x"'])
def test_a_file_that_is_something_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a mini_gpt tokenizer"):
        load_tokenizer(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_tokenizer(tmp_path / "nothing.json")


# The exercises' checks


def said(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    return printed


def fewest(piece: bytes, tokens: set[bytes]) -> int:
    best = [0]
    for end in range(1, len(piece) + 1):
        best.append(1 + min(best[start] for start in range(end) if piece[start:end] in tokens))
    return best[-1]


def greedy(piece: bytes, tokens: set[bytes]) -> int:
    number, start = 0, 0
    while start < len(piece):
        start = max(end for end in range(start + 1, len(piece) + 1) if piece[start:end] in tokens)
        number += 1
    return number


def counted(words: list[list[int]], repeats: list[int]) -> Counter[tuple[int, int]]:
    counts: Counter[tuple[int, int]] = Counter()
    for word, repeat in zip(words, repeats, strict=True):
        for pair in pairwise(word):
            counts[pair] += repeat
    return counts


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (
            checks.tokens.fertility,
            [
                lambda tokenizer, text: len(text) / len(text.split()) + 1,
                lambda tokenizer, text: len(tokenizer.encode(text)) / len(text.split(" ")),
                lambda tokenizer, text: len(text.split()) / len(tokenizer.encode(text)),
                lambda tokenizer, text: len(text) / len(text.split()),
            ],
            lambda tokenizer, text: len(tokenizer.encode(text)) / len(text.split()),
        ),
        (
            checks.tokens.count_pairs,
            [
                lambda words, repeats: counted(words, [1] * len(words)),
                lambda words, repeats: {
                    pair: repeat
                    for word, repeat in zip(words, repeats, strict=True)
                    for pair in pairwise(word)
                },
                lambda words, repeats: {},
            ],
            counted,
        ),
        (
            checks.tokens.fewest_tokens,
            [greedy, lambda piece, tokens: len(piece), lambda piece, tokens: 2],
            fewest,
        ),
    ],
)
def test_exercise_checks(check, wrong, right, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    for answer in (lambda *_: None, *wrong):
        check(answer)
        assert said(capsys).startswith("not yet: ")
    check(right)
    assert said(capsys).startswith("correct: ")
