"""Cutting: every character is in exactly one pretoken, or the cut is refused."""

from __future__ import annotations

import pytest

from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.lone_surrogates import replace_lone_surrogates
from mini_gpt.support.pretokenization import compile_pattern, pretokenize
from mini_gpt.tokenizer import GPT2_PATTERN


@pytest.mark.slow
def test_pretokens_are_the_whole_text() -> None:
    corpus = load_corpus()
    assert "".join(pretokenize(corpus, compile_pattern(GPT2_PATTERN))) == corpus


@pytest.mark.parametrize(
    ("text", "pretokens"),
    [
        ("I've 24 dogs.", ["I", "'ve", " 24", " dogs", "."]),
        ("a  b", ["a", " ", " b"]),
        ("a\n  b", ["a", "\n ", " b"]),
        ("a\nb ", ["a", "\n", "b", " "]),
        ("x²=4", ["x", "²", "=", "4"]),
    ],
)
def test_cutting_by_gpt2s_pattern(text: str, pretokens: list[str]) -> None:
    assert pretokenize(text, compile_pattern(GPT2_PATTERN)) == pretokens


@pytest.mark.parametrize(("text", "message"), [("a b-c", "'-' at position 3"), ("a!", "'!' at")])
def test_a_pattern_that_would_lose_text_is_refused(text: str, message: str) -> None:
    pattern = compile_pattern(r"\w+| ")
    assert pretokenize("a b", pattern) == ["a", " ", "b"]
    with pytest.raises(ValueError, match=f"leaves out {message}"):
        pretokenize(text, pattern)


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        compile_pattern("(")
    with pytest.raises(ValueError, match="capturing group"):
        compile_pattern(r"(\w)+")


def test_lone_surrogates_are_replaced() -> None:
    assert replace_lone_surrogates("a\ud83cb") == "a\ufffdb"
    assert replace_lone_surrogates("\ufeffa\ud83c\udf39") == "\ufeffa🌹"
    assert replace_lone_surrogates("猫") == "猫"
