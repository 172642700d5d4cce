"""Drawings of the chapter on attention."""

from mini_gpt.support.drawings.attention.masking import masks, nothing_to_share
from mini_gpt.support.drawings.attention.one_way import answers, one_head, one_query
from mini_gpt.support.drawings.attention.speed import (
    ladder,
    running_sums,
    twice_the_text,
)
from mini_gpt.support.drawings.attention.weights import (
    reading,
    softmax_steps,
    sum_of_products,
    weights_as_bars,
)

__all__ = [
    "answers",
    "ladder",
    "masks",
    "nothing_to_share",
    "one_head",
    "one_query",
    "reading",
    "running_sums",
    "softmax_steps",
    "sum_of_products",
    "twice_the_text",
    "weights_as_bars",
]
