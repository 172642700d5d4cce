"""Tokens as they are written into boxes."""

from __future__ import annotations


def shown(text: str) -> str:
    """A text whose spaces and line ends can be seen."""
    return text.replace(" ", "␣").replace("\n", "↵")
