"""Drawings of the chapter on characters."""

from mini_gpt.support.drawings.characters.interface import encoding_steps, protocol
from mini_gpt.support.drawings.characters.tables import (
    lookup,
    round_trip,
    two_tables,
    unknown,
)
from mini_gpt.support.drawings.characters.utf8 import (
    code_points,
    stored,
    utf8_bits,
    utf8_patterns,
)

__all__ = [
    "code_points",
    "encoding_steps",
    "lookup",
    "protocol",
    "round_trip",
    "stored",
    "two_tables",
    "unknown",
    "utf8_bits",
    "utf8_patterns",
]
