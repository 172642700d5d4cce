"""Checks for the exercises: each prints `correct: ...`, or `not yet: ...` with the case and a hint.

Every chapter has a module of checks with its own name, for instance
`checks.attention.scaling_mean(your_function)`.
"""

from mini_gpt.checks import (
    attention,
    data,
    decoder,
    embeddings,
    gpt,
    gpt2,
    positions,
    sampling,
    tokens,
    training,
)

__all__ = [
    "attention",
    "data",
    "decoder",
    "embeddings",
    "gpt",
    "gpt2",
    "positions",
    "sampling",
    "tokens",
    "training",
]
