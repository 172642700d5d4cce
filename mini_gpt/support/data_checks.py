"""Arguments of the data chapter's functions: what is wrong, and what helps."""

from __future__ import annotations

from typing import Any

from mini_gpt.support.validation import check_range


def check_loader(loader: Any) -> None:
    """Raise ValueError for the arguments of a `BatchLoader` that cannot work together.

    Args:
        loader: Its arguments, as attributes of the same names.
    """
    check_range(loader, "batch_size context_length world_size", at_least=1)
    check_range(loader, "seed", at_least=0)
    if loader.order not in ("random", "epochs"):
        raise ValueError(f"order {loader.order!r} must be 'random' or 'epochs'")
    found, context_length = len(loader.tokens), loader.context_length
    if found < context_length + 1:
        raise ValueError(
            f"{found} tokens are too few for a context of {context_length}: at least "
            f"{context_length + 1} are needed; give more text or a shorter context"
        )
    if not 0 <= loader.rank < loader.world_size:
        raise ValueError(
            f"rank {loader.rank} must be at least 0 and below world_size "
            f"{loader.world_size}"
        )
    if loader.batch_size % loader.world_size:
        raise ValueError(
            f"batch_size {loader.batch_size} cannot be shared evenly by "
            f"{loader.world_size} processes; give a multiple"
        )


def check_evaluation(tokens: int, batch_size: int, context_length: int) -> None:
    """Raise ValueError unless this many tokens can be measured in such windows."""
    if batch_size < 1 or context_length < 1:
        raise ValueError(
            f"batch_size {batch_size} and context_length {context_length} must be at "
            "least 1"
        )
    if tokens < 2:
        raise ValueError(
            f"{tokens} tokens hold no pair of a token and its successor; give more text"
        )
