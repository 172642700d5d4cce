"""Checks for the exercises of the chapter on byte-pair encoding."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from mini_gpt.checks.report import call, expect, run_check


def count_pairs(
    function: Callable[[Sequence[Sequence[int]], Sequence[int]], object],
) -> None:
    """Check `count_pairs(words, repeats)`: counts of pairs over distinct words."""

    def cases() -> None:
        for case, words, repeats, expected, hint in (
            (
                "one word that occurs once",
                [[1, 2, 3]],
                [1],
                {(1, 2): 1, (2, 3): 1},
                "pairwise(word) gives each pair of neighbors.",
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
            counts = dict(found) if isinstance(found, Mapping) else found
            expect(case, counts, expected, hint)

    run_check(cases, "counts over distinct words are the counts of the whole text.")


def fewest_tokens(function: Callable[[bytes, Collection[bytes]], object]) -> None:
    """Check `fewest_tokens(word, tokens)`: the least number of tokens that give it."""

    def cases() -> None:
        letters = {b"a", b"b", b"c", b"d"}
        for case, word, tokens, expected, hint in (
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
            ("b'', the empty word", b"", letters, 0, "nothing needs no token."),
        ):
            expect(case, call(function, word, tokens), expected, hint)

    run_check(
        cases, "you have the shortest split, by looking at every possible last token."
    )
