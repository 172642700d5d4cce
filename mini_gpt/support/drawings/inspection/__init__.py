"""Drawings of the chapter on looking inside."""

from mini_gpt.support.drawings.inspection.copying import cut_chain, induction, repeats
from mini_gpt.support.drawings.inspection.listening import (
    hooks,
    left_behind,
    names,
    side_by_side,
    silenced,
)
from mini_gpt.support.drawings.inspection.pronoun import (
    journey,
    patch,
    probe,
    two_lines,
)

__all__ = [
    "cut_chain",
    "hooks",
    "induction",
    "journey",
    "left_behind",
    "names",
    "patch",
    "probe",
    "repeats",
    "side_by_side",
    "silenced",
    "two_lines",
]
