"""Checks for the exercises of the chapter on byte-pair encoding."""

from __future__ import annotations

from collections.abc import Callable, Collection

from mini_gpt.checks.report import call, expect, run_check

Pair = tuple[int, int]


def spell(function: Callable[[int, list[Pair]], object]) -> None:
    """Check `spell(id, pairs)`: the bytes that an id stands for."""

    def cases() -> None:
        pairs = [(97, 110), (98, 256), (256, 256), (257, 258)]
        for case, id, expected, hint in (
            ("98, a single byte", 98, b"b", "an id below 256 is itself a byte."),
            ("256, made of two bytes", 256, b"an", "pairs[0] made the id 256."),
            (
                "257, whose right half is 256",
                257,
                b"ban",
                "a half may have halves too.",
            ),
            ("259, made of 257 and 258", 259, b"bananan", "go on down to the bytes."),
        ):
            expect(case, call(function, id, pairs), expected, hint)

    run_check(cases, "you can read any token from the pairs alone.")


def train(function: Callable[[dict[bytes, int], int], object]) -> None:
    """Check `train(pretokens, least)`: merge while a pair occurs that often."""

    def cases() -> None:
        for case, pretokens, least, expected, hint in (
            (
                "'ab' five times and least=5",
                {b"ab": 5},
                5,
                [(97, 98)],
                "one word of five repeats has its pair five times.",
            ),
            (
                "'ab' five times and least=6",
                {b"ab": 5},
                6,
                [],
                "a pair that occurs too rarely is not merged.",
            ),
            (
                "'banana' three times, 'ban' once and least=4",
                {b"banana": 3, b"ban": 1},
                4,
                [(97, 110), (98, 256)],
                "in 'banana' the pair 'an' stands twice; 'ban' has it once more.",
            ),
            (
                "'zy' and 'ab', twice each, and least=2",
                {b"zy": 2, b"ab": 2},
                2,
                [(97, 98), (122, 121)],
                "among equals the pair with the smallest ids comes first.",
            ),
            ("no word at all", {}, 1, [], "without a pair there is nothing to merge."),
        ):
            expect(case, call(function, pretokens, least), expected, hint)

    run_check(cases, "you have written a trainer that knows when to stop.")


def encode(function: Callable[[bytes, list[Pair]], object]) -> None:
    """Check `encode(word, pairs)`: the merges replayed, as ids."""

    def cases() -> None:
        pairs = [(97, 110), (98, 97), (98, 256)]
        for case, word, expected, hint in (
            ("b'an'", b"an", [256], "the first pair is there."),
            ("b'xy'", b"xy", [120, 121], "where no pair is there, bytes stay."),
            (
                "b'ban'",
                b"ban",
                [258],
                "the merge that was learned first comes first, not the leftmost.",
            ),
            ("b'banana'", b"banana", [258, 256, 97], "a pair may be there twice."),
            ("b'', the empty word", b"", [], "nothing needs no token."),
        ):
            expect(case, call(function, word, pairs), expected, hint)

    run_check(cases, "your encoder splits as training did.")


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
