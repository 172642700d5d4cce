"""The tokenizer: tiktoken's ids on any text, back without loss, special tokens on request."""

from __future__ import annotations

import copy
import pickle
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import regex
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_gpt import checks
from mini_gpt.bpe import byte_pair_encode
from mini_gpt.characters import Tokenizer
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.downloads import gpt2_vocabulary_files
from mini_gpt.support.lone_surrogates import replace_lone_surrogates
from mini_gpt.support.tokenizer_file import fingerprint
from mini_gpt.tokenizer import (
    END_OF_TEXT,
    GPT2_PATTERN,
    BPETokenizer,
    Vocabulary,
    count_pretokens,
)
from texts import AWKWARD, WHOLE, engine, learn

SOURCE = Path(__file__).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def corpus() -> str:
    return load_corpus()


@pytest.fixture(scope="module")
def tokenizer(corpus: str) -> BPETokenizer:
    """Trained on English, some of it in capitals, and on a little of everything else."""
    others = "Η γάτα κοιμάται. Кошка спит. 猫在睡觉。 बिल्ली सोती है। 🌹🌹 a\u0301 " * 20
    return BPETokenizer(learn(corpus[:200_000] + SOURCE + others, 1_500), fast=False)


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


def test_pretokens_are_counted() -> None:
    assert count_pretokens("a rosé, a ros\ud83c") == {
        b"a": 1,
        " rosé".encode(): 1,
        b",": 1,
        b" a": 1,
        b" ros": 1,
        "\ufffd".encode(): 1,
    }
    assert count_pretokens("a b a b", r"\w| ") == {b"a": 2, b" ": 3, b"b": 2}


def test_training_asks_for_what_it_needs() -> None:
    with pytest.raises(ValueError, match="vocab_size 256 is below 256 bytes and 1 special"):
        BPETokenizer.train("aa", 256)
    with pytest.raises(ValueError, match=r"leaves out '!' at position 1"):
        BPETokenizer.train("a!", 257, pattern=r"\w+| ")
    assert BPETokenizer.train("", 257).vocab_size == 257
    trained = BPETokenizer.train("ab ab ab", 260, pattern=WHOLE, special_tokens=("<a>", "<b>"))
    assert (trained.vocab_size, trained.pattern) == (260, WHOLE)


# Encoding


@pytest.mark.slow
def test_ids_are_tiktokens_on_the_corpus(
    tokenizer: BPETokenizer, reference: tiktoken.Encoding, corpus: str
) -> None:
    assert tokenizer.encode(corpus) == reference.encode_ordinary(corpus)


@pytest.mark.slow
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


def test_ids_are_tiktokens_on_source_code_and_every_character_of_one_byte(
    tokenizer: BPETokenizer, reference: tiktoken.Encoding
) -> None:
    for text in (SOURCE, *map(chr, range(256)), "".join(map(chr, range(256)))):
        assert tokenizer.encode(text) == reference.encode_ordinary(text)


def test_every_byte_and_nothing() -> None:
    tokenizer = BPETokenizer(learn("", 256))
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""
    assert tokenizer.encode("\x00é") == [0, 195, 169]
    assert tokenizer.decode_bytes(range(256)) == bytes(range(256))


def test_a_pattern_that_would_lose_text_is_refused() -> None:
    tokenizer = BPETokenizer(learn("", 256), pattern=r"\w+| ")
    assert tokenizer.decode(tokenizer.encode("a b")) == "a b"
    with pytest.raises(ValueError, match=r"leaves out '-' at position 3"):
        tokenizer.encode("a b-c")


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


@pytest.mark.slow
def test_encoding_remembers_only_short_pretokens_and_not_too_many(
    tokenizer: BPETokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = BPETokenizer(tokenizer.tokens, fast=False)
    fresh.encode("x" * 10_000 + " abc abc")
    assert list(fresh._memory) == [" abc"]
    fresh._memory.update((str(number), [number]) for number in range(65_536 - 1))
    assert fresh.encode(" new") == tokenizer.encode(" new")
    assert len(fresh._memory) == 65_536


def test_what_is_remembered_is_used(tokenizer: BPETokenizer) -> None:
    fresh = BPETokenizer(tokenizer.tokens, fast=False)
    fresh._memory[" abc"] = [7]
    assert fresh.encode(" abc") == [7]


def test_a_result_can_be_changed_without_harm(tokenizer: BPETokenizer) -> None:
    first = tokenizer.encode(" zounds")
    expected = list(first)
    first.clear()
    assert tokenizer.encode(" zounds") == expected


# GPT-2's vocabulary


def test_gpt2s_vocabulary(gpt2: BPETokenizer) -> None:
    assert gpt2.vocab_size == 50_257
    assert gpt2.end_of_text == 50_256
    assert gpt2.decode([50_256]) == END_OF_TEXT
    assert sum(len(token) == 1 for token in gpt2.tokens) == 256
    assert gpt2.tokens[256] == b" t"


def test_gpt2s_vocabulary_from_files(gpt2: BPETokenizer, tmp_path: Path) -> None:
    paths = tmp_path / "vocab.json", tmp_path / "merges.txt"
    for path, content in zip(paths, gpt2_vocabulary_files(), strict=True):
        path.write_text(content, encoding="utf-8")
    assert BPETokenizer.gpt2(*paths).tokens == gpt2.tokens
    with pytest.raises(ValueError, match="two files; give both"):
        BPETokenizer.gpt2(paths[0])


@pytest.mark.slow
def test_gpt2s_ids_are_tiktokens(
    gpt2: BPETokenizer, gpt2_reference: tiktoken.Encoding, corpus: str
) -> None:
    for some in (corpus, SOURCE, *map(chr, range(256))):
        assert gpt2.encode(some) == gpt2_reference.encode_ordinary(some)


@pytest.mark.slow
@settings(deadline=None, max_examples=500)
@given(text=AWKWARD)
def test_gpt2s_ids_are_tiktokens_on_any_text(
    gpt2: BPETokenizer, gpt2_reference: tiktoken.Encoding, text: str
) -> None:
    assert gpt2.encode(text) == gpt2_reference.encode_ordinary(text)


@pytest.mark.slow
@settings(deadline=None, max_examples=10_000)
@given(text=AWKWARD)
def test_gpt2s_ids_are_tiktokens_on_many_texts(
    gpt2: BPETokenizer, gpt2_reference: tiktoken.Encoding, text: str
) -> None:
    assert gpt2.encode(text) == gpt2_reference.encode_ordinary(text)


def test_gpt2s_ids_of_the_single_bytes(
    gpt2: BPETokenizer, gpt2_reference: tiktoken.Encoding
) -> None:
    for byte in map(bytes, zip(range(256))):
        (id,) = (id for id, token in enumerate(gpt2.tokens) if token == byte)
        assert gpt2_reference.encode_single_token(byte) == id
        assert gpt2.decode_bytes([id]) == byte


# Special tokens


def special_tokenizer(*special: str) -> BPETokenizer:
    return BPETokenizer(learn("aa aa", 257), special_tokens=special)


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
    tokenizer = BPETokenizer(learn("", 256))
    assert tokenizer.decode([0xE2, 0x82]) == "\ufffd"
    assert tokenizer.decode([97, 0xFF, 98]) == "a\ufffdb"
    assert tokenizer.decode_bytes([0xE2, 256]) == b"\xe2" + END_OF_TEXT.encode()


@settings(deadline=None, max_examples=100)
@given(ids=st.lists(st.integers(0, 256), max_size=40))
def test_a_stream_is_what_decode_gives(ids: list[int]) -> None:
    tokenizer = BPETokenizer(learn("", 256))
    parts = list(tokenizer.decode_stream(iter(ids)))
    assert "".join(parts) == tokenizer.decode(ids)
    assert all(parts)


def test_a_stream_waits_for_whole_characters() -> None:
    tokenizer = BPETokenizer(learn("", 256))
    assert list(tokenizer.decode_stream("a🌹é".encode())) == ["a", "🌹", "é"]
    assert list(tokenizer.decode_stream("a🌹".encode()[:-1])) == ["a", "\ufffd"]


def test_ids_that_are_none() -> None:
    tokenizer = special_tokenizer("<a>")
    with pytest.raises(ValueError, match=r"id 258 at position 2 is outside .*0 to 257"):
        tokenizer.decode([0, 1, 258])
    with pytest.raises(ValueError, match="id -1 at position 0"):
        tokenizer.decode([-1])
    with pytest.raises(ValueError, match="id -1 at position 0"):
        list(tokenizer.decode_stream([-1]))
    with pytest.raises(TypeError, match=r"at position 1 stands 0\.5"):
        tokenizer.decode(iter([0, 0.5]))


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


def test_special_tokens_in_one_text_are_refused() -> None:
    """A text is a sequence of texts too: it would become a special token for each letter."""
    with pytest.raises(TypeError, match="'<a>' is one text; put it in a list"):
        Vocabulary([bytes([byte]) for byte in range(256)], "<a>")


# The class


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, WHOLE])
def test_copies_are_the_same(pattern: str) -> None:
    tokenizer = BPETokenizer(learn("hé hé hé", 258), pattern=pattern, special_tokens=("<a>",))
    tokenizer.encode("hé hé")  # so that something is remembered
    for twin in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert fingerprint(twin) == fingerprint(tokenizer)
        assert twin.encode("abhé") == tokenizer.encode("abhé")
        assert twin.decode([258]) == "<a>"


def test_it_keeps_the_protocol() -> None:
    assert isinstance(special_tokenizer(), Tokenizer)


# The exercises' checks


def encode_with(pattern: str, text: str, ids: dict[bytes, int]) -> list[int]:
    parts = regex.findall(pattern, text)
    return [id for part in parts for id in byte_pair_encode(part.encode(), ids)]


def longest_match(text: str, ids: dict[bytes, int]) -> list[int]:
    encoded = []
    for part in (part.encode() for part in regex.findall(GPT2_PATTERN, text)):
        start = 0
        while start < len(part):
            end = max(e for e in range(start + 1, len(part) + 1) if part[start:e] in ids)
            encoded.append(ids[part[start:end]])
            start = end
    return encoded


def train_on(paths: Iterable[Path], vocab_size: int) -> BPETokenizer:
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    return BPETokenizer.train("\n\n".join(texts), vocab_size)


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (
            checks.tokenizer.cuts_inside,
            [
                lambda *_: None,
                lambda pattern, word: len(regex.findall(pattern, word)),
                lambda pattern, word: len(word) - 1,
                lambda pattern, word: len(regex.findall(GPT2_PATTERN, word)) - 1,
            ],
            lambda pattern, word: len(regex.findall(pattern, word)) - 1,
        ),
        (
            checks.tokenizer.digits_from_the_right,
            [
                ...,
                "(",
                r".",
                GPT2_PATTERN,
                GPT2_PATTERN.replace(r" ?\p{N}+", r"\p{N}{1,3}"),
                GPT2_PATTERN.replace(r" ?\p{N}+", r" ?\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"),
                GPT2_PATTERN.replace(r" ?\p{N}+", r"[0-9]{1,3}(?=(?:[0-9]{3})*(?![0-9]))"),
            ],
            GPT2_PATTERN.replace(r" ?\p{N}+", r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"),
        ),
        (
            checks.tokenizer.my_encode,
            [
                lambda *_: None,
                lambda text, ids: list(text.encode()),
                longest_match,
                lambda text, ids: encode_with(r"(?s).+", text, ids),
            ],
            lambda text, ids: encode_with(GPT2_PATTERN, text, ids),
        ),
        (
            checks.tokenizer.train_on_folder,
            [
                lambda *_: None,
                lambda folder, size: train_on(folder.glob("*.txt"), size),
                lambda folder, size: train_on(folder.rglob("*.txt"), size + 1),
                lambda folder, size: train_on(
                    (path for path in folder.rglob("*") if path.is_file()), size
                ),
            ],
            lambda folder, size: train_on(folder.rglob("*.txt"), size),
        ),
    ],
)
def test_exercise_checks(
    check: Callable[[object], None],
    wrong: list[object],
    right: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for answer in wrong:
        check(answer)
        assert capsys.readouterr().out.startswith("not yet: ")
    check(right)
    assert capsys.readouterr().out.startswith("correct: ")
