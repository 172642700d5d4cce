"""Drawings of the chapter on searching and guessing."""

from mini_gpt.support.drawings.speculative.guessing import (
    guessing_round,
    judging,
    lookup,
    written_by,
)
from mini_gpt.support.drawings.speculative.search import beams, ranking, text_tree
from mini_gpt.support.drawings.speculative.shares import compared, exchange, overlap
from mini_gpt.support.drawings.speculative.speed import costs, sessions

__all__ = [
    "beams",
    "compared",
    "costs",
    "exchange",
    "guessing_round",
    "judging",
    "lookup",
    "overlap",
    "ranking",
    "sessions",
    "text_tree",
    "written_by",
]
