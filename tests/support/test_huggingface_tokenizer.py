"""Our tokenizers in other libraries' files: the same ids there, and the same tokenizer back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from transformers import AutoTokenizer

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.downloads import gpt2_vocabulary_files
from mini_gpt.support.gpt2_vocabulary import gpt2_byte_characters
from mini_gpt.support.huggingface_reader import read_huggingface_tokenizer
from mini_gpt.support.huggingface_tokenizer import (
    merges_of,
    write_huggingface_tokenizer,
)
from mini_gpt.tokenizer import END_OF_TEXT, GPT2_PATTERN, BPETokenizer
from texts import SPACES, learn

WORDS = "to be, or not to be: that is the question, that is to be or not to be. 猫猫 🌹🌹"
FILES = ["tokenizer.json", "tokenizer_config.json"]
PORTABLE = r"\s+|[^\s]+"  # a pattern that other engines read alike
SOURCE = Path(__file__).read_text(encoding="utf-8")


def theirs(tokenizer: CharTokenizer | BPETokenizer, folder: Path) -> HuggingFaceTokenizer:
    """A tokenizer as the `tokenizers` library reads what we have written."""
    write_huggingface_tokenizer(tokenizer, folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    return HuggingFaceTokenizer.from_file(str(folder / "tokenizer.json"))


class TestCharacters:
    ALPHABET = "ba \n\r\t猫🌹é\x00'Ġ\u0301"

    def test_is_a_table_of_words_in_the_order_of_our_ids(self, tmp_path: Path) -> None:
        write_huggingface_tokenizer(CharTokenizer("ba\n"), tmp_path)
        model = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        assert model["type"] == "WordLevel"
        assert model["vocab"] == {"b": 0, "a": 1, "\n": 2}

    @settings(
        deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(text=st.text(alphabet=ALPHABET))
    def test_same_ids_and_text(self, text: str, tmp_path: Path) -> None:
        ours = CharTokenizer(self.ALPHABET)
        other = theirs(ours, tmp_path)
        ids = ours.encode(text)
        assert other.encode(text).ids == ids
        assert other.decode(ids) == ours.decode(ids) == text
        assert other.get_vocab_size() == ours.vocab_size

    @pytest.mark.parametrize("alphabet", ["abc", "unkow"])
    def test_an_unknown_character_is_an_error(self, alphabet: str, tmp_path: Path) -> None:
        ours = CharTokenizer(alphabet)
        other = theirs(ours, tmp_path)
        with pytest.raises(ValueError, match="'z'"):
            ours.encode("z")
        with pytest.raises(Exception, match=r"(?i)unk"):
            other.encode("z")

    def test_a_replacement_stands_in_there_too(self, tmp_path: Path) -> None:
        ours = CharTokenizer("ab?", replacement="?")
        assert theirs(ours, tmp_path).encode("a猫b").ids == ours.encode("a猫b") == [0, 2, 1]


class TestBytePairs:
    @pytest.mark.parametrize("special", [[END_OF_TEXT], [], ["<a>", "<|b|>"]])
    @pytest.mark.parametrize("pattern", [GPT2_PATTERN, PORTABLE])
    def test_hugging_face_gives_the_same_ids(
        self, special: list[str], pattern: str, tmp_path: Path
    ) -> None:
        corpus = load_corpus()
        training = corpus[:60_000] + " 🌹🌹 猫猫"
        ours = BPETokenizer.train(training, 700, pattern=pattern, special_tokens=special)
        other = theirs(ours, tmp_path / "new")
        auto = AutoTokenizer.from_pretrained(tmp_path / "new")
        plain = SOURCE.replace("<", "")
        for text in (corpus[200_000:260_000], plain, "", "  a🌹\n\n 猫é\x00 "):
            ids = ours.encode(text)
            assert other.encode(text).ids == ids
            assert auto(text)["input_ids"] == ids
            assert auto.decode(ids) == other.decode(ids) == text
        assert len(auto) == ours.vocab_size
        assert auto.eos_token_id == ours.end_of_text
        if special:
            text = f"the{special[-1]}the"
            assert auto(text)["input_ids"] == ours.encode(text, allowed_special=special)
            assert auto(text, split_special_tokens=True)["input_ids"] == ours.encode(text)

    @pytest.mark.slow
    def test_merges_can_be_recovered(self) -> None:
        small = BPETokenizer(learn("aaaa aaaa", 258, SPACES))
        assert merges_of(small) == [(b"a", b"a"), (b"aa", b"aa")]
        lines = gpt2_vocabulary_files()[1].split("\n")[1:-1]
        characters = gpt2_byte_characters()
        assert merges_of(BPETokenizer.gpt2()) == [
            tuple(bytes(characters[c] for c in part) for part in line.split(" ")) for line in lines
        ]

    def test_tokens_that_no_merge_makes_are_named(self, tmp_path: Path) -> None:
        made_up = BPETokenizer([*learn("", 256), b"abc"])
        with pytest.raises(ValueError, match=r"token 256, b'abc', is no union of two"):
            write_huggingface_tokenizer(made_up, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        ours = BPETokenizer.train(WORDS, vocab_size=275)
        write_huggingface_tokenizer(ours, tmp_path)
        again = read_huggingface_tokenizer(tmp_path)
        assert again.to_dict() == ours.to_dict()
        assert again.vocab_size == 275
        text = " to be the question 猫🌹 zebra\n"
        assert again.encode(text) == ours.encode(text)

    def test_characters_do_not_come_back_as_byte_pairs(self, tmp_path: Path) -> None:
        write_huggingface_tokenizer(CharTokenizer("abc"), tmp_path)
        with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer like GPT-2's"):
            read_huggingface_tokenizer(tmp_path)

    def test_another_pattern_does_not_come_back_as_gpt2s(self, tmp_path: Path) -> None:
        write_huggingface_tokenizer(BPETokenizer.train(WORDS, 270, pattern=r"\S+|\s+"), tmp_path)
        with pytest.raises(ValueError, match=r"is no tokenizer like GPT-2's"):
            read_huggingface_tokenizer(tmp_path)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"has no tokenizer\.json, nor vocab\.json and"):
            read_huggingface_tokenizer(tmp_path)
