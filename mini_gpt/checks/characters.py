"""Checks for the exercises of the chapter on characters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mini_gpt.checks.report import call, expect, run_check


def coverage(function: Callable[[str, int], object]) -> None:
    """Check `coverage(text, k)`: the share that frequent characters make up."""

    def cases() -> None:
        for case, text, k, expected, hint in (
            ("'aab' and k=1", "aab", 1, 2 / 3, "two of the three characters are an a."),
            ("'abbbcc' and k=2", "abbbcc", 2, 5 / 6, "take the most frequent first."),
            (
                "'a b a' and k=1",
                "a b a",
                1,
                0.4,
                "the space is a character like any other.",
            ),
            ("'abc' and k=7", "abc", 7, 1.0, "there are only three to take."),
            ("'abc' and k=0", "abc", 0, 0.0, "no character covers nothing."),
        ):
            expect(case, call(function, text, k), expected, hint)

    run_check(cases, "you know how much of a text a small alphabet can write.")


def capitals(
    fold: Callable[[str, str], object], unfold: Callable[[str, str], object]
) -> None:
    """Check `fold(text, mark)`, capitals as a mark and a small letter, and `unfold`."""

    def cases() -> None:
        for case, text, mark, folded, hint in (
            ("'To BE'", "To BE", "^", "^to ^b^e", "each capital gets a mark."),
            ("'to be'", "to be", "^", "to be", "small letters stay as they are."),
            ("'Ça'", "Ça", "^", "Ça", "only A to Z are folded."),
            ("the mark '|' and 'I am'", "I am", "|", "|i am", "use the mark given."),
            ("the empty text", "", "^", "", "nothing stays nothing."),
        ):
            expect(f"fold of {case}", call(fold, text, mark), folded, hint)
            back = f"unfold of {folded!r}"
            expect(back, call(unfold, folded, mark), text, "undo what fold has done.")

    run_check(cases, "no capital is left, and nothing is lost.")


def utf8(function: Callable[[int], object]) -> None:
    """Check `utf8(code_point)`: the bytes of a code point, as a list."""

    def cases() -> None:
        for code_point, hint in (
            (97, "up to 127 the byte is the code point itself."),
            (233, "110 and the upper bits; then 10 and the last six."),
            (128, "this is the first code point of two bytes."),
            (2_047, "this is the last code point of two bytes."),
            (20_320, "after the first byte, each holds 10 and six bits."),
            (2_048, "this is the first code point of three bytes."),
            (65_535, "this is the last code point of three bytes."),
            (127_801, "four bytes: three bits, then six, six and six."),
            (65_536, "this is the first code point of four bytes."),
            (1_114_111, "this is the last code point that there is."),
        ):
            expected = list(chr(code_point).encode())
            case = f"code point {code_point:,}"
            expect(case, call(function, code_point), expected, hint)

    run_check(cases, "you write every character as Python writes it.")


def words(tokenizer: Callable[[str, int], Any]) -> None:
    """Check `WordTokenizer(text, size)` with its methods `encode` and `decode`."""

    def cases() -> None:
        made = call(tokenizer, "b  a a b a", 4)
        for asked, ids, hint in (
            ("a", [2], "count first; b stands before a, but a is more frequent."),
            ("a b", [2, 1, 3], "the space is a part like any other."),
            ("a c", [2, 1, 0], "what the tokenizer does not know has the id 0."),
        ):
            expect(f"encode({asked!r})", made.encode(asked), ids, hint)
        small = call(tokenizer, "b  a a b a", 3)
        hint = "size counts the id 0 too, so two parts are known, not three."
        expect("size 3 and encode('a b')", small.encode("a b"), [2, 1, 0], hint)
        for ids, back, hint in (
            ([2, 1, 3], "a b", "decode is encode the other way round."),
            ([2, 1, 0], "a \ufffd", "id 0 is written as \ufffd."),
            ([], "", "no ids give no text."),
        ):
            expect(f"decode({ids})", made.decode(ids), back, hint)

    run_check(cases, "your tokenizer of words knows what it does not know.")
