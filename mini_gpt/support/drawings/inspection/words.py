"""How tokens and numbers are written in the drawings on looking inside."""

from __future__ import annotations


def shown(word: str) -> str:
    """A token without its space, a line break as a sign."""
    return word.strip() or word.replace("\n", "⏎")


def signed(number: float) -> str:
    """With its sign and two decimals."""
    return f"{number:+.2f}".replace("-", "−")
