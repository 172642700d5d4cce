"""Tokenizers from elsewhere: the ids of the library that wrote them, or a refusal that says why."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as HuggingFaceTokenizer
from transformers import AutoTokenizer

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.documents import encode_row
from mini_gpt.support.huggingface_reader import read_huggingface_tokenizer
from mini_gpt.support.huggingface_tokenizer import write_huggingface_tokenizer
from mini_gpt.support.pretokenization import compile_pattern
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.tokenizer import END_OF_TEXT, BPETokenizer, count_pretokens, load_tokenizer

LEARNED = "To be, or not to be: that is the question. Cafe\u0301 CAFÉ thé  the\n\n" * 3
TEXTS = [
    LEARNED,
    "the",
    " the",
    "The QUESTION ﬁ é e\u0301 \u00a0 x",
    "",
    "\n\t  \r\n a",
    "猫🌹\x00",
]

Theirs = HuggingFaceTokenizer
Change = Callable[[Theirs], object]


def byte_pairs(**options: Any) -> Theirs:
    """A tokenizer of theirs with the vocabulary of one of ours."""
    ours = BPETokenizer.train(LEARNED, 290)
    folder = Path(options.pop("folder"))
    write_huggingface_tokenizer(ours, folder)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = content["model"]
    theirs = Theirs(models.BPE(model["vocab"], list(map(tuple, model["merges"])), **options))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens([END_OF_TEXT])
    (folder / "tokenizer_config.json").unlink()
    return theirs


def same_ids(folder: Path) -> BPETokenizer:
    """What we read of a folder; it must give the ids that both of their libraries give."""
    ours = read_huggingface_tokenizer(folder)
    theirs = Theirs.from_file(str(folder / "tokenizer.json"))
    auto = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text).ids == auto(text)["input_ids"]
        special = f"{text}{END_OF_TEXT}{text} {END_OF_TEXT}"
        ids = ours.encode(special, allowed_special=ours.special_tokens)
        assert ids == theirs.encode(special).ids
    return ours


def put(part: str, value: Any) -> Change:
    return lambda theirs: setattr(theirs, part, value)


def template(pattern: str) -> Any:
    return processors.TemplateProcessing(single=pattern, special_tokens=[(END_OF_TEXT, 290 - 1)])


OTHER_IDS: list[tuple[str, Change]] = [
    ("normalizer", put("normalizer", normalizers.Lowercase())),
    ("normalizer", put("normalizer", normalizers.NFC())),
    ("normalizer", put("normalizer", normalizers.Sequence([normalizers.NFKC()]))),
    ("normalizer", put("normalizer", normalizers.Prepend("x"))),
    ("add_prefix_space", put("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True))),
    (
        "use_regex",
        put("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
    ),
    (
        "'Sequence'",
        put(
            "pre_tokenizer",
            pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            ),
        ),
    ),
    ("single of post_processor", put("post_processor", template(f"{END_OF_TEXT} $A"))),
    ("single of post_processor", put("post_processor", template(f"$A {END_OF_TEXT}"))),
    ("truncation", lambda theirs: theirs.enable_truncation(8)),
    ("padding", lambda theirs: theirs.enable_padding(length=16)),
    ("lstrip", lambda theirs: theirs.add_special_tokens([AddedToken("<m>", lstrip=True)])),
    ("rstrip", lambda theirs: theirs.add_special_tokens([AddedToken("<m>", rstrip=True)])),
    ("single_word", lambda theirs: theirs.add_special_tokens([AddedToken("m", single_word=True)])),
    (
        "lstrip of .* 'that is'",
        lambda theirs: theirs.add_tokens([AddedToken("that is", lstrip=True)]),
    ),
    (
        "rstrip of .* 'that is'",
        lambda theirs: theirs.add_tokens([AddedToken("that is", rstrip=True)]),
    ),
    (
        "single_word of .* 'the'",
        lambda theirs: theirs.add_tokens([AddedToken("the", single_word=True)]),
    ),
]


@pytest.mark.parametrize(("name", "change"), OTHER_IDS)
def test_other_ids_were_given_silently(name: str, change: Change, tmp_path: Path) -> None:
    theirs = byte_pairs(folder=tmp_path)
    change(theirs)
    theirs.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=name):
        read_huggingface_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dropout", {"dropout": 0.5}),
        ("ignore_merges", {"ignore_merges": True}),
        ("end_of_word_suffix", {"end_of_word_suffix": "</w>"}),
    ],
)
def test_other_merging_was_taken_for_gpt2s(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    theirs = byte_pairs(folder=tmp_path, **options)
    theirs.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=name):
        read_huggingface_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda theirs: None,
        put("post_processor", processors.ByteLevel(trim_offsets=False)),
        put("pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)),
        lambda theirs: theirs.add_special_tokens(["<pad>", "<user>"]),
    ],
)
def test_what_changes_no_id_is_read(change: Change, tmp_path: Path) -> None:
    theirs = byte_pairs(folder=tmp_path)
    change(theirs)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = same_ids(tmp_path)
    assert ours.end_of_text == 289
    assert ours.vocab_size == theirs.get_vocab_size()


# One change in a file: where, and what it says then. Each is read alike, or refused.
EDITS: list[tuple[str, dict[str, Any], str]] = [
    ("tokenizer_config.json", {"add_prefix_space": True}, "add_prefix_space"),
    ("tokenizer_config.json", {"add_bos_token": True}, "add_bos_token"),
    ("tokenizer_config.json", {"add_eos_token": True}, "add_eos_token"),
    ("tokenizer_config.json", {"do_lower_case": True}, "do_lower_case"),
    ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer"}, "tokenizer_class"),
    ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "x.Y"}}, "auto_map"),
    ("tokenizer_config.json", {"never_heard_of": 1}, "never_heard_of"),
    ("tokenizer_config.json", {"pad_token": "[PAD]"}, r"pad_token '\[PAD\]'"),
    ("tokenizer_config.json", {"eos_token": "the"}, "eos_token 'the'"),
    (
        "tokenizer_config.json",
        {"added_tokens_decoder": {"5": {"content": "the"}}},
        "is not in added_tokens_decoder",
    ),
    (
        "tokenizer_config.json",
        {"added_tokens_decoder": {"5": {"content": END_OF_TEXT, "special": True}}},
        "two ids",
    ),
    ("special_tokens_map.json", {"pad_token": "[PAD]"}, r"pad_token '\[PAD\]'"),
    ("special_tokens_map.json", {"more": 1}, "more"),
    ("added_tokens.json", {"question": 291}, "'question' has two ids"),
    ("added_tokens.json", {END_OF_TEXT: 7}, "two ids"),
    ("tokenizer.json", {"more": 1}, "more"),
    ("tokenizer.json", {"version": "2.0"}, "version"),
    ("tokenizer.json", {"decoder": {"type": "Fuse"}}, "type of decoder"),
    ("tokenizer.json", {"model": {"type": "WordPiece"}}, "type of model"),
    ("vocab.json", {"the": 5}, "beside it say something else"),
]


@pytest.mark.parametrize(("file", "change", "reason"), EDITS)
def test_a_setting_in_any_of_the_files_is_seen(
    file: str, change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    byte_pairs(folder=tmp_path).save(str(tmp_path / "tokenizer.json"))
    path = tmp_path / file
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**before, **change}), encoding="utf-8")
    if file == "vocab.json":
        (tmp_path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        read_huggingface_tokenizer(tmp_path)


def test_what_their_libraries_write_is_read(tmp_path: Path) -> None:
    """Files as `transformers` saves them, with all that it says by itself."""
    byte_pairs(folder=tmp_path).save(str(tmp_path / "tokenizer.json"))
    saved = tmp_path / "saved"
    AutoTokenizer.from_pretrained(
        tmp_path, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT
    ).save_pretrained(saved)
    assert (saved / "tokenizer_config.json").exists()
    assert same_ids(saved).end_of_text == 289


def test_the_two_older_files_with_added_tokens(tmp_path: Path) -> None:
    byte_pairs(folder=tmp_path).save(str(tmp_path / "tokenizer.json"))
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").unlink()
    model = content["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    assert read_huggingface_tokenizer(tmp_path).special_tokens == (END_OF_TEXT,)
    (tmp_path / "added_tokens.json").write_text('{"<pad>": 290}', encoding="utf-8")
    assert read_huggingface_tokenizer(tmp_path).special_tokens == (END_OF_TEXT,)
    assert read_huggingface_tokenizer(tmp_path).ids.added == {"<pad>": 290}
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "<pad>"}', encoding="utf-8")
    assert read_huggingface_tokenizer(tmp_path).special_tokens == (END_OF_TEXT, "<pad>")


def test_merges_that_join_other_pairs_gave_other_ids(tmp_path: Path) -> None:
    """The union was looked at, and not the pair: (a, bc) and (ab, c) both make abc."""
    path = tmp_path / "tokenizer.json"
    write_huggingface_tokenizer(
        BPETokenizer([*(bytes([b]) for b in range(256)), b"ab", b"bc", b"abc"]), tmp_path
    )
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["model"]["merges"][-1] == ["ab", "c"]
    content["model"]["merges"][-1] = ["a", "bc"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert Theirs.from_file(str(path)).encode("abc").ids == [256, ord("c")]
    with pytest.raises(ValueError, match=r"the merge \('a', 'bc'\) is never reached"):
        read_huggingface_tokenizer(tmp_path)


def test_bits_per_byte_counted_markers_as_text() -> None:
    """Short documents, each followed by a marker of 13 letters: 0.28 times the true value."""
    tokenizer = BPETokenizer.train(LEARNED, 290)
    documents = ["to be", "or not", "café"]
    text = END_OF_TEXT.join(documents)
    ids = tokenizer.encode(text, allowed_special=[END_OF_TEXT])
    assert count_text_bytes(tokenizer, ids) == len("".join(documents).encode())
    assert count_text_bytes(tokenizer, ids) != len(text.encode())


def test_bits_per_byte_miscounted_a_split_inside_a_character() -> None:
    tokenizer = BPETokenizer([bytes([byte]) for byte in range(256)], special_tokens=())
    ids = encode_row(["猫 a"], tokenizer)
    assert (len(ids), count_text_bytes(tokenizer, ids[1:])) == (5, 4)
    for cut in range(len(ids) + 1):
        assert count_text_bytes(tokenizer, ids[:cut]) == cut
        assert count_text_bytes(tokenizer, ids[cut:]) == 5 - cut


def test_bytes_of_characters() -> None:
    tokenizer = CharTokenizer.train("a猫")
    assert count_text_bytes(tokenizer, np.array([0, 1, 1])) == 7
    with pytest.raises(ValueError, match="id 2 at position 1"):
        count_text_bytes(tokenizer, [0, 2])


@pytest.mark.parametrize(
    "text", ["a\ud83c\udf39b", "\udf39\ud83c", "\ud800", "a\ud800\udc00\ud800"]
)
def test_characters_of_lone_surrogates_had_another_alphabet_after_loading(
    text: str, tmp_path: Path
) -> None:
    """Two halves, kept beside each other in a file, came back as one character."""
    tokenizer = CharTokenizer.train(text)
    tokenizer.save(tmp_path / "tokenizer.json")
    again = CharTokenizer.load(tmp_path / "tokenizer.json")
    assert again.alphabet == tokenizer.alphabet
    assert again.encode(text) == tokenizer.encode(text)
    tokenizer.decode(tokenizer.encode(text)).encode()  # what is written can be printed
    with pytest.raises(ValueError, match=r"the alphabet holds .*, half of a character"):
        CharTokenizer(["a", "\ud800"])


@pytest.mark.parametrize("where", ["special_tokens", "pattern", "alphabet"])
def test_half_a_character_was_loaded_and_failed_later(where: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    if where == "alphabet":
        CharTokenizer("ab").save(path)
    else:
        BPETokenizer.train(LEARNED, 290).save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content[where] = ["\ud800"] if where == "special_tokens" else "\ud800|."
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="half of a character, which no file can keep"):
        load_tokenizer(path)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?:a|a)+b|[\s\S]",
        r"(?:a|aa)+$|\Zb|[\s\S]",
        r"(?:(?:a|a)+)+b|[\s\S]",
    ],
)
@pytest.mark.slow
def test_a_pattern_that_backtracks_hung(pattern: str) -> None:
    start = time.monotonic()
    tokenizer = BPETokenizer([bytes([b]) for b in range(256)], pattern=pattern)
    with pytest.raises(ValueError, match="does not finish a text of 42 characters in time"):
        tokenizer.encode("a" * 41 + "c")
    assert time.monotonic() - start < 30


@pytest.mark.slow
def test_a_pattern_that_backtracks_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(\?:a\|a\)\+b.* does not finish a text of 41"):
        count_pretokens("a" * 41, r"(?:a|a)+b|[\s\S]")


@pytest.mark.parametrize("pattern", [r"(?r)[a-z]+|[\s\S]", r"(?r)\S+|\s+"])
def test_a_pattern_that_reverses_wrote_the_words_backwards(pattern: str) -> None:
    tokenizer = BPETokenizer([bytes([b]) for b in range(256)], pattern=pattern)
    for cut in (tokenizer.encode, lambda text: count_pretokens(text, pattern)):
        with pytest.raises(ValueError, match="in another order"):
            cut("one two three")


@pytest.mark.parametrize(
    "pattern",
    [
        "a{4000000000}",
        "a{4000000000,}",
        "a{,4000000000}",
        "(?:a{999}){999}",
        "(?:(?:a{1,100}){1,100}){1,100}",
        "a" * 1_000_000,
        "(?:" * 3_000 + "a" + ")" * 3_000,
    ],
)
def test_a_pattern_that_took_gigabytes(pattern: str) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"too large|no regular expression") as fault:
        compile_pattern(pattern)
    assert time.monotonic() - start < 5
    assert len(str(fault.value)) < 500
    compile_pattern(r"\p{N}{1,3}| ?\p{L}+|\{12345|[^\r\n\p{L}\p{N}]?+[\s\S]")
