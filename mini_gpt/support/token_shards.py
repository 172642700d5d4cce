"""One row of tokens that lies in several arrays: the shards of a corpus on disk."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias, overload

import numpy as np
from jaxtyping import Integer


class TokenShards:
    """Rows of ids, one behind another, that are used as one row and never joined.

    It answers what is asked of a row of tokens: its length, a stretch of it, and the
    tokens at a table of places. A window may begin in one shard and end in the next.

    Args:
        shards: For instance mapped files. Some may be empty.

    Raises:
        ValueError: if there is none, or they are not rows of one kind of whole numbers.
    """

    ndim = 1

    def __init__(self, shards: Sequence[np.ndarray]) -> None:
        kinds = {(shard.dtype, shard.ndim) for shard in shards}
        if len(kinds) != 1 or any(d.kind not in "iu" or n != 1 for d, n in kinds):
            found = ", ".join(f"{dtype} of {axes} axes" for dtype, axes in kinds)
            raise ValueError(
                "shards must be rows of one kind of whole numbers, not "
                f"{found or 'none at all'}"
            )
        self.shards = tuple(shards)
        self._ends = np.cumsum([len(shard) for shard in shards])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int]:
        """As an array has it."""
        return (len(self),)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of each shard."""
        return self.shards[0].dtype

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self.shards)

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> np.ndarray:
        """All of it as one array, in memory, for whoever asks for that."""
        if copy is False:
            raise ValueError("shards lie apart, so an array of them is a copy")
        return np.concatenate(self.shards).astype(dtype or self.dtype, copy=False)

    @overload
    def __getitem__(self, places: slice) -> TokenRow: ...
    @overload
    def __getitem__(self, places: int) -> np.integer[Any]: ...
    @overload
    def __getitem__(self, places: np.ndarray) -> np.ndarray: ...
    def __getitem__(self, places: Any) -> Any:
        """A stretch, not copied; or the tokens at some places, in the shape of these.

        Raises:
            IndexError: if a place is outside, or a slice leaves tokens out.
            TypeError: if the places are no whole numbers.
        """
        if isinstance(places, slice):
            return self._stretch(*places.indices(len(self)))
        if not isinstance(places, np.ndarray):
            return self._at(np.asarray(operator.index(places)))[()]
        return self._at(places)

    def _stretch(self, start: int, stop: int, step: int) -> TokenRow:
        """An array where the stretch lies in one shard, else the parts of several."""
        if step != 1:
            raise IndexError(f"step {step} must be 1; np.asarray makes an array first")
        parts, before = [], 0
        for shard in self.shards:
            part = shard[max(start - before, 0) : max(stop - before, 0)]
            if len(part):
                parts.append(part)
            before += len(shard)
        if len(parts) > 1:
            return TokenShards(parts)
        return parts[0] if parts else self.shards[0][:0]

    def _at(self, places: np.ndarray) -> np.ndarray:
        """The tokens at places of any shape, each looked up in its own shard."""
        if places.dtype.kind not in "iu":
            raise TypeError(f"places must be whole numbers, not {places.dtype}")
        length = len(self)
        if places.size and not -length <= places.min() <= places.max() < length:
            raise IndexError(f"a place is outside the {length} tokens")
        flat = np.where(places < 0, places + length, places).ravel()
        numbers = np.searchsorted(self._ends, flat, side="right")
        # Sorted by shard, so that each is asked once, for all that is wanted of it.
        order = np.argsort(numbers, kind="stable")
        every = np.arange(len(self.shards) + 1)
        borders = np.searchsorted(numbers, every, sorter=order)
        found = np.empty(flat.shape, self.dtype)
        for number, shard in enumerate(self.shards):
            here = order[borders[number] : borders[number + 1]]
            if len(here):
                found[here] = shard[flat[here] - (self._ends[number] - len(shard))]
        return found.reshape(places.shape)


# A row of token ids: one array, or the shards of one. Its length has no name, since
# that of training and that of validation may stand in one signature.
TokenRow: TypeAlias = Integer[np.ndarray | TokenShards, "_"]
