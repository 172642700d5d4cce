"""Syllables: the file's format, words that may be said in two ways, and words not known."""

from __future__ import annotations

import pytest

from mini_gpt.support import syllables as meter

FILE = """cat K AE1 T
fire F AY1 ER0
fire(2) F AY1 R # as one says it
o'clock AH0 K L AA1 K
hm HH M
"""


def test_a_file_of_pronunciations() -> None:
    found = meter.parse_pronunciations(FILE + "\n\n# a comment\n")
    assert found == {
        "cat": frozenset({1}),
        "fire": frozenset({1, 2}),
        "o'clock": frozenset({2}),
        "hm": frozenset({0}),
    }


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    known = meter.parse_pronunciations(FILE)
    monkeypatch.setattr(meter, "pronunciations", lambda: known)


@pytest.mark.usefixtures("small")
def test_lines() -> None:
    assert meter.syllables("Cat, cat!") == frozenset({2})
    assert meter.syllables("Fire -- cat o'clock; FIRE.") == frozenset({5, 6, 7})
    assert meter.syllables("'cat'") == frozenset({1})  # quotation marks are no letters
    assert meter.syllables("cat dog") is None
    assert meter.syllables("...") is None
    assert meter.syllables("") is None
    assert meter.words_of("Cat-dog 'tis ' 12") == ["cat", "dog", "'tis"]


@pytest.mark.usefixtures("small")
def test_the_reward() -> None:
    assert meter.ten_syllables("", "cat " * 10) == 1.0
    assert meter.ten_syllables("", "fire " * 6) == 1.0  # from 6 to 12
    assert meter.ten_syllables("", "cat " * 9) == 0.0
    assert meter.ten_syllables("", "cat " * 10 + "dog") == 0.0
    assert meter.ten_syllables("", "") == 0.0


@pytest.mark.slow
def test_the_dictionary() -> None:
    assert len(meter.pronunciations()) == 126_052
    assert meter.syllables("Shall I compare thee to a summer's day?") == frozenset({10})
    assert meter.syllables("That thereby beauty's rose might never die,") is None
