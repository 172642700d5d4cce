"""Drawings of the chapter on choosing a token."""

from mini_gpt.support.drawings.sampling.continuations import texts
from mini_gpt.support.drawings.sampling.drawing_lots import ahead, loop, thrown
from mini_gpt.support.drawings.sampling.rules import (
    before_and_after,
    nearest,
    pipeline,
    running_sum,
    ties,
)

__all__ = [
    "ahead",
    "before_and_after",
    "loop",
    "nearest",
    "pipeline",
    "running_sum",
    "texts",
    "thrown",
    "ties",
]
