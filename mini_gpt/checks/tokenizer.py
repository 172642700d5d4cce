"""Checks for the exercises of the chapter on the tokenizer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import regex

from mini_gpt.characters import Tokenizer
from mini_gpt.checks.report import NotYet, call, expect, run_check
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer


def cuts_inside(function: Callable[[str, str], object]) -> None:
    """Check `cuts_inside(pattern, word)`: how often the pattern cuts the word."""

    def cases() -> None:
        for pattern, word, expected, hint in (
            (GPT2_PATTERN, "dog's", 1, "two parts have one cut between them."),
            (GPT2_PATTERN, "rose", 0, "one part is a word without a cut."),
            (GPT2_PATTERN, "मेज़", 3, "count what regex.findall returns."),
            (r"\w|\W", "rose", 3, "use the pattern that you are given."),
        ):
            name = "GPT-2's pattern" if pattern == GPT2_PATTERN else repr(pattern)
            found = call(function, pattern, word)
            expect(f"{word!r} and {name}", found, expected, hint)

    run_check(cases, "you can say which words a pattern takes apart.")


def digits_from_the_right(pattern: object) -> None:
    """Check GPT-2's pattern with digits in groups of three, from the right."""

    def cases() -> None:
        if not isinstance(pattern, str):
            raise NotYet("the pattern is a string. Hint: start from GPT2_PATTERN.")
        from_the_right = "count the digits that are left after the group."
        for text, expected, hint in (
            ("12345", ["12", "345"], from_the_right),
            ("1234567", ["1", "234", "567"], from_the_right),
            ("123456", ["123", "456"], "a number of six digits is two full groups."),
            ("7", ["7"], "a number may be shorter than a group."),
            (
                "in 1616.",
                ["in", " ", "1", "616", "."],
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

    run_check(cases, "the ones of any two numbers stand in the same place now.")


def my_encode(function: Callable[[str, Mapping[bytes, int]], object]) -> None:
    """Check `my_encode(text, ids)`: the ids that tiktoken gives, where it is there."""

    def cases() -> None:
        single = {bytes([byte]): byte for byte in range(256)}
        tiny = {**single, b"an": 256, b"na": 257, b"ana": 258, b" ban": 259}
        expect(
            "single bytes only, the text 'é'",
            call(function, "é", single),
            [195, 169],
            "start from the bytes of the pretoken, not from its characters.",
        )
        expect(
            "'banana' and the tokens an (256), na (257) and ana (258)",
            call(function, "banana", tiny),
            [98, 256, 258],
            "the smallest id goes first, and merging goes on until nothing fits.",
        )
        expect(
            "'an an', where no token may reach across a cut",
            call(function, "an an", {**tiny, b"n ": 260}),
            [256, 32, 256],
            "cut with GPT2_PATTERN first, and merge within each part.",
        )
        sample = (
            "Shall I compare thee? if wet:\n        stay(in_bed)  # 1616 naïve 🌹🌹\n"
        )
        tokenizer = BPETokenizer.train(30 * sample + "compare the stay", 300)
        ids = {token: id for id, token in enumerate(tokenizer.tokens)}
        for text in (sample, "the naïve rose compares", " \n\n x", ""):
            expect(
                repr(text),
                call(function, text, ids),
                _engine(tokenizer).encode(text),
                "after a merge, look at all neighbors again.",
            )

    run_check(cases, "your encoder gives tiktoken's ids.")


def _engine(tokenizer: BPETokenizer) -> BPETokenizer:
    """The same tokenizer with tiktoken, where it is installed."""
    try:
        return BPETokenizer(tokenizer.tokens, fast=True)
    except ImportError:
        return tokenizer


def train_on_folder(function: Callable[[Path, int], object]) -> None:
    """Check `train_on_folder(folder, vocab_size)`: learned from all its text files."""

    def cases() -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "deep" / "er").mkdir(parents=True)
            (folder / "one.txt").write_text("plum " * 50 + "plum", encoding="utf-8")
            deep = folder / "deep" / "er" / "two.txt"
            deep.write_text("käse " * 40 + "käse", encoding="utf-8")
            (folder / "picture.png").write_bytes(b"\xff" * 999)
            tokenizer = function(folder, 266)
            if not isinstance(tokenizer, Tokenizer):
                raise NotYet(
                    f"expected a BPETokenizer, got {type(tokenizer).__name__}. Hint: "
                    "BPETokenizer.train takes a text, so read the files first."
                )
            expect(
                "vocab_size 266",
                tokenizer.vocab_size,
                266,
                "the size that you are given counts the special token too.",
            )
            expect(
                "a file in the folder itself, ' plum' as ids",
                len(tokenizer.encode(" plum")),
                1,
                "nothing else may be read, and all of this file must be.",
            )
            expect(
                "a file in a subfolder, ' käse' as ids",
                len(tokenizer.encode(" käse")),
                1,
                "rglob finds files in subfolders, and UTF-8 is their encoding.",
            )

    run_check(cases, "you have a tokenizer of your own texts.")
