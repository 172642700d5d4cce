"""Drawings of the chapter on the tokenizer."""

from mini_gpt.support.drawings.tokenizer.cutting import counted, cut_rows, lengths
from mini_gpt.support.drawings.tokenizer.vocabulary import (
    byte_names,
    from_a_folder,
    vocabulary_ranges,
)
from mini_gpt.support.drawings.tokenizer.ways import (
    held_back,
    parts_of_the_tokenizer,
    two_ways_in,
    way_of_a_text,
)

__all__ = [
    "byte_names",
    "counted",
    "cut_rows",
    "from_a_folder",
    "held_back",
    "lengths",
    "parts_of_the_tokenizer",
    "two_ways_in",
    "vocabulary_ranges",
    "way_of_a_text",
]
