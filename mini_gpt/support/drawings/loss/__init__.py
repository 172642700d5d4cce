"""Drawings of the chapter on counting and the loss."""

from mini_gpt.support.drawings.loss.coding import intervals, message
from mini_gpt.support.drawings.loss.counting import after, blend, discount, sorted_runs
from mini_gpt.support.drawings.loss.cross_entropy import (
    flatten,
    in_parts,
    push,
    slope,
    softmax,
    twice,
)
from mini_gpt.support.drawings.loss.measures import compared, ladder, two_cuts, windows
from mini_gpt.support.drawings.loss.probability import asked, chain, ruler

__all__ = [
    "after",
    "asked",
    "blend",
    "chain",
    "compared",
    "discount",
    "flatten",
    "in_parts",
    "intervals",
    "ladder",
    "message",
    "push",
    "ruler",
    "slope",
    "softmax",
    "sorted_runs",
    "twice",
    "two_cuts",
    "windows",
]
