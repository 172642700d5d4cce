"""Tokenizers in files: the same when they come back, refused where they are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.tokenizer_file import fingerprint, save_tokenizer
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer
from texts import WHOLE, learn

AnyTokenizer = CharTokenizer | BPETokenizer
TOKENIZERS = [
    CharTokenizer("ba\n\x00\U00010000猫"),
    CharTokenizer("ab?", replacement="?"),
    BPETokenizer(learn("hé hé hé", 258)),
    BPETokenizer(learn("", 256), pattern=WHOLE, special_tokens=['<"\\\n🌹>', "b"]),
    BPETokenizer(learn("", 256), special_tokens=()),
    BPETokenizer(learn("", 256), special_tokens={"<end>": 2, "<a>": 0}),
    BPETokenizer(learn("", 256), special_tokens={"<end>": 2}, added_tokens={"ab": 0, "a": None}),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_saved_and_loaded_it_is_the_same(tokenizer: AnyTokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "new" / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "new" / "tokenizer.json")
    assert type(loaded) is type(tokenizer)
    assert loaded.to_dict() == tokenizer.to_dict()
    assert fingerprint(loaded) == fingerprint(tokenizer)
    assert loaded.encode("ab") == tokenizer.encode("ab")
    assert loaded.end_of_text == tokenizer.end_of_text


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_class_saves_and_loads(tokenizer: AnyTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokenizer.json"
    tokenizer.save(path)
    assert fingerprint(type(tokenizer).load(path)) == fingerprint(tokenizer)
    assert fingerprint(load_tokenizer(path)) == fingerprint(tokenizer)


def test_a_class_refuses_the_other_kind(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    TOKENIZERS[0].save(path)
    with pytest.raises(ValueError, match="is 'characters', not 'byte-level BPE'; load_tokenizer"):
        BPETokenizer.load(path)
    TOKENIZERS[2].save(path)
    with pytest.raises(ValueError, match="is 'byte-level BPE', not 'characters'; load_tokenizer"):
        CharTokenizer.load(path)


def test_fingerprints_differ() -> None:
    assert len({fingerprint(tokenizer) for tokenizer in TOKENIZERS}) == len(TOKENIZERS)
    assert fingerprint(CharTokenizer("ab")) != fingerprint(CharTokenizer("ba"))


def test_fingerprints_stay_what_they_were() -> None:
    """Files of ids and models carry them."""
    assert fingerprint(CharTokenizer("ab?", replacement="?")) == "5830ba28ebff9b40"
    assert fingerprint(BPETokenizer(learn("hé hé hé", 258))) == "6f8bba7838c820a6"


def damage(path: Path, **changes: object) -> None:
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "other"}, "it does not say that it is one"),
        ({"version": 3}, "version 3, this program reads versions 1 to 2"),
        ({"kind": "words"}, "its kind is 'words', not 'characters' or 'byte-level BPE'"),
        ({"tokens": None}, "lacks 'tokens'"),
        ({"tokens": ["zz"]}, "non-hexadecimal"),
        ({"tokens": [7]}, "str"),
        ({"tokens": 7}, ""),
        ({"tokens": ["61"]}, "lacks the single byte 0"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": 7}, ""),
        ({"special_tokens": "abc"}, "one text; put it in a list"),
        ({"special_tokens": [7]}, ""),
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
