"""Checks for the exercises of the chapter on characters."""

from __future__ import annotations

from collections.abc import Callable

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
