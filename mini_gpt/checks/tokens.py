"""Checks for the exercises of the chapter on tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from mini_gpt.checks.report import call, expect, run_check
from mini_gpt.tokenizer import BPETokenizer, CharTokenizer, Tokenizer


def fertility(function: Callable[[Tokenizer, str], object]) -> None:
    """Check `fertility(tokenizer, text)`: tokens for each word between white space."""

    def cases() -> None:
        characters = CharTokenizer.train("abc d")
        one_word = "counting characters, one word of three"
        expect(one_word, call(function, characters, "abc"), 3.0, "what counts the tokens?")
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


def count_pairs(
    function: Callable[[Sequence[Sequence[int]], Sequence[int]], object],
) -> None:
    """Check `count_pairs(words, repeats)`: a count for each pair over distinct words."""

    def cases() -> None:
        for case, words, repeats, expected, hint in (
            (
                "one word that occurs once",
                [[1, 2, 3]],
                [1],
                {(1, 2): 1, (2, 3): 1},
                "pairwise(word) gives each pair of neighbours.",
            ),
            (
                "a word that occurs five times",
                [[1, 2, 3]],
                [5],
                {(1, 2): 5, (2, 3): 5},
                "each pair occurs as often as its word.",
            ),
            (
                "a pair twice in one word, like 'an' in 'banana'",
                [[7, 8, 7, 8]],
                [3],
                {(7, 8): 6, (8, 7): 3},
                "add for every occurrence, not once for each word.",
            ),
            (
                "two words that share a pair, and one too short for any",
                [[4, 5, 6], [5, 6], [9]],
                [2, 10, 4],
                {(4, 5): 2, (5, 6): 12},
                "counts of different words add up; a single token has no pair.",
            ),
        ):
            found = call(function, words, repeats)
            expect(case, dict(found) if isinstance(found, Mapping) else found, expected, hint)

    run_check(cases, "counts over distinct pieces are the counts of the whole text.")


def fewest_tokens(function: Callable[[bytes, Collection[bytes]], object]) -> None:
    """Check `fewest_tokens(piece, tokens)`: the least number of tokens that give a piece."""

    def cases() -> None:
        letters = {b"a", b"b", b"c", b"d"}
        for case, piece, tokens, expected, hint in (
            (
                "b'abcd' from single letters",
                b"abcd",
                letters,
                4,
                "with single letters alone there is only one way.",
            ),
            (
                "b'abcd' when b'abc' is a token",
                b"abcd",
                letters | {b"abc"},
                2,
                "the last token may be short and the one before it long.",
            ),
            (
                "b'abcd' from b'abc', b'ab' and b'cd'",
                b"abcd",
                letters | {b"abc", b"ab", b"cd"},
                2,
                "two ways give 2 here.",
            ),
            (
                "b'abcda' from b'abc', b'ab' and b'cda'",
                b"abcda",
                letters | {b"abc", b"ab", b"cda"},
                2,
                "the longest token at the left is not always the best choice.",
            ),
            ("b'', the empty piece", b"", letters, 0, "nothing needs no token."),
        ):
            expect(case, call(function, piece, tokens), expected, hint)

    run_check(cases, "you have the shortest split, by looking at every possible last token.")
