"""Drawings of the chapter on writing text."""

from mini_gpt.support.drawings.generation.cache import (
    kept,
    lookback,
    memory,
    shelves,
    told,
    waste,
)
from mini_gpt.support.drawings.generation.calls import callers, hooked, writing
from mini_gpt.support.drawings.generation.feeding import parts, passes, sliding, windows
from mini_gpt.support.drawings.generation.rows import rows_in_time, seeds
from mini_gpt.support.drawings.generation.steps_of_fixed_shape import (
    hidden,
    launches,
    steps,
)
from mini_gpt.support.drawings.generation.streaming import over_bytes, timeline

__all__ = [
    "callers",
    "hidden",
    "hooked",
    "kept",
    "launches",
    "lookback",
    "memory",
    "over_bytes",
    "parts",
    "passes",
    "rows_in_time",
    "seeds",
    "shelves",
    "sliding",
    "steps",
    "timeline",
    "told",
    "waste",
    "windows",
    "writing",
]
