"""Minimal pairs by rule."""

from __future__ import annotations

from mini_gpt.support.minimal_pairs import (
    damage_agreement,
    half_lines,
    last_words,
    speaker_pairs,
    speeches,
)

SCENE = """VIOLA.
Save thee, friend.

CLOWN.
No, sir.

[Enter SIR TOBY.]

VIOLA.
Art thou a churchman?

CLOWN.
I do live by the church.

VIOLA.
So thou mayst say.

CLOWN.
You have said, sir.
To see this age!
"""


def test_the_first_verb_is_damaged() -> None:
    assert damage_agreement("Say that thou art, and he is") == "Say that thou are, and he is"
    assert damage_agreement("though I have") == "though I hath"
    assert damage_agreement("thou artful") is None
    assert damage_agreement("a line without") is None


def test_paragraphs_are_speeches_or_not() -> None:
    found = speeches(SCENE)
    assert found[0] == ("VIOLA", "Save thee, friend.")
    assert found[2] is None
    assert found[-1] == ("CLOWN", "You have said, sir.\nTo see this age!\n")


def test_the_last_turn_goes_to_the_wrong_one() -> None:
    """Four turns stand together only after the stage direction."""
    [(whole, damaged)] = speaker_pairs(SCENE)
    assert whole.endswith("\n\nCLOWN.\nYou have said, sir.")
    assert damaged.endswith("\n\nVIOLA.\nYou have said, sir.")
    assert whole.startswith("VIOLA.\nArt thou a churchman?")
    assert whole.rsplit("CLOWN", 1)[0] == damaged.rsplit("VIOLA", 1)[0]
    assert speaker_pairs(SCENE, longest=20) == []


def test_lines_are_cut_in_half_and_at_their_last_words() -> None:
    text = "ROMEO.\nBut soft, what light through yonder window breaks?\nIt is the east,\n"
    [(context, rest)] = half_lines(text, before=12)
    assert (context, rest) == ("ight through", " yonder window breaks?")
    [(before, word)] = last_words(text, before=6)
    assert (before, word) == ("window", " breaks")
