"""What a cache and a session refuse, said before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def check_append(kept: Tensor | None, new: Tensor, end: int, capacity: int) -> None:
    """Raise ValueError unless new keys, up to position `end`, fit those of a cache."""
    if end > capacity:
        raise ValueError(
            f"{end} positions exceed a cache for {capacity}; shorten the text"
        )
    if kept is not None and (kept.shape[:2], kept.dtype) != (new.shape[:2], new.dtype):
        old, found = (f"{tuple(k.shape[:2])} in {k.dtype}" for k in (kept, new))
        raise ValueError(
            f"rows and heads {found} do not fit a cache of {old}; use a fresh cache"
        )


def check_rows(rows: Sequence[Sequence[int]], fed: int) -> None:
    """Raise ValueError unless rows are equally long, not empty, and as many as before.

    Args:
        fed: Rows that were fed before, or 0.
    """
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 0 in lengths or (fed or len(rows)) != len(rows):
        raise ValueError(
            f"cannot feed rows of {[len(row) for row in rows]} new tokens after "
            f"{fed or 'no'} rows; give each equally many, at least one"
        )
