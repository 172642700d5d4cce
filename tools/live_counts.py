"""Count the letter pairs that the live table of chapter 5 shows.

    python tools/live_counts.py

The text is the chapter's: Shakespeare's works without the last four, in small letters and spaces.
Written is book/_static/live/counts.js; a test counts again and compares.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from mini_gpt.support.corpus import load_documents

LETTERS = " abcdefghijklmnopqrstuvwxyz"
RESULT = Path(__file__).resolve().parent.parent / "book" / "_static" / "live" / "counts.js"


def letters_only(text: str) -> str:
    """Small letters, and one space for everything between words."""
    return re.sub("[^a-z]+", " ", text.lower())


def count_pairs(text: str) -> list[list[int]]:
    """How often each letter (columns) follows each (rows)."""
    ids = np.array([LETTERS.index(letter) for letter in text])
    pairs = np.bincount(27 * ids[:-1] + ids[1:], minlength=27 * 27)
    return pairs.reshape(27, 27).tolist()


def main() -> None:
    text = letters_only("\n\n".join(load_documents("shakespeare")[:-4]))
    table = {"letters": LETTERS, "counts": count_pairs(text)}
    RESULT.write_text(f"window.LIVE_COUNTS = {json.dumps(table)};\n", encoding="utf-8")


if __name__ == "__main__":
    main()
