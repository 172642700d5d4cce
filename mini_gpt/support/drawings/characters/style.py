"""Colors, and characters that can be seen."""

from __future__ import annotations

from collections.abc import Sequence

COLORS = ("blue", "orange", "green", "purple", "red", "yellow")
MARK = {" ": "␣", "\n": "⏎"}


def shown(characters: str | Sequence[str]) -> list[str]:
    """Characters, white space among them such that it can be seen."""
    return [MARK.get(character, character) for character in characters]
