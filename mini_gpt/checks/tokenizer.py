"""Checks for the exercises of the chapter on the tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import regex

from mini_gpt.characters import CharTokenizer, Tokenizer
from mini_gpt.checks.report import NotYet, call, expect, run_check
from mini_gpt.tokenizer import BPETokenizer


def fertility(function: Callable[[Tokenizer, str], object]) -> None:
    """Check `fertility(tokenizer, text)`: tokens for each word between white space."""

    def cases() -> None:
        characters = CharTokenizer.train("abc d")
        expect(
            "counting characters, one word of three",
            call(function, characters, "abc"),
            3.0,
            "what counts the tokens?",
        )
        expect(
            "counting characters, the text 'ab cd'",
            call(function, characters, "ab cd"),
            2.5,
            "the space is a token of its own here, and there are two words.",
        )
        text = "so much, so much rain\n\nso   much wind"
        pairs = BPETokenizer.train(text, 262)
        expect(
            "byte pairs, with line breaks and two spaces in a row",
            call(function, pairs, text),
            len(pairs.encode(text)) / 8,
            "text.split() splits at any white space, however long it is.",
        )

    run_check(cases, "you can say how many tokens a word costs.")


def digits_by_threes(pattern: object) -> None:
    """Check a pattern that is GPT-2's, but cuts digits into groups of three at most."""

    def cases() -> None:
        if not isinstance(pattern, str):
            raise NotYet("the pattern is a string. Hint: start from GPT2_PATTERN.")
        for text, expected, hint in (
            ("12345", ["123", "45"], "{1,3} in place of + takes at most three."),
            (
                "in 1616.",
                ["in", " ", "161", "6", "."],
                "no space before a number: it would make every number twice.",
            ),
            (
                "I've 24 dogs",
                ["I", "'ve", " ", "24", " dogs"],
                "letters and endings are cut as before.",
            ),
            ("x²+½", ["x", "²", "+", "½"], r"\p{N} has all digits and numbers."),
            ("a\n  b", ["a", "\n ", " b"], "white space is cut as before."),
        ):
            expect(repr(text), regex.findall(pattern, text), expected, hint)

    run_check(cases, "numbers have at most three digits in a token now.")
