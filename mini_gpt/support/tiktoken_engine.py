"""tiktoken, OpenAI's encoder in Rust, as an engine for tokens of our own."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import regex

LONG = 20_000  # characters from which on building the engine pays
# tiktoken's regular expressions give up on about a million spaces in a row.
VAST = 100_000
VAST_SPACE = regex.compile(rf"\s{{{VAST}}}")


class TiktokenEngine:
    """Encodes ordinary text with tiktoken, where that is possible and worth it.

    The ids are those of our own encoder, but for letters that are newer than tiktoken's
    table of Unicode, which it cuts as signs. It is built at the first text it gets.

    Args:
        ids: The id of each token, by its bytes; what was learned earlier has a lower
            one.
        pattern: The pattern that cuts text.
        fast: True: take every text; False: none; None: long ones, where tiktoken is
            installed and reads the pattern alike.
        reads_alike: Whether the pattern is known to mean the same in its engine for
            regular expressions as in ours.

    Raises:
        ValueError: if `fast` is True and the pattern may mean something else there.
        ImportError: if `fast` is True and tiktoken is not installed.
    """

    def __init__(
        self,
        ids: Mapping[bytes, int],
        pattern: str,
        fast: bool | None,
        reads_alike: bool,
    ) -> None:
        self.ids, self.pattern, self.fast = ids, pattern, fast
        self.reads_alike = reads_alike
        if fast and not reads_alike:
            raise ValueError(
                f"fast encoding needs GPT-2's pattern, not {pattern!r}; leave fast out"
            )
        if fast and self._encode is None:
            raise ImportError("fast=True needs tiktoken; run: pip install tiktoken")

    def encode(self, text: str) -> list[int] | None:
        """The ids of a text, or None where our own encoder has to do it."""
        worth_it = len(text) > LONG if self.fast is None else self.fast
        if not worth_it or not self.reads_alike or self._encode is None:
            return None
        return None if VAST_SPACE.search(text) else self._encode(text)

    def encode_array(self, text: str) -> np.ndarray | None:
        """As `encode`, but of short texts too, and as an array.

        tiktoken's own `encode_to_numpy` looks for special tokens, which takes longer
        than to make an array of its list.
        """
        vast = len(text) >= VAST and VAST_SPACE.search(text)
        if not self.reads_alike or self._encode is None or vast:
            return None
        return np.frombuffer(array("I", self._encode(text)), dtype=np.uintc)

    @cached_property
    def _encode(self) -> Callable[[str], list[int]] | None:
        try:
            import tiktoken
        except ImportError:
            return None
        return tiktoken.Encoding(
            "mini_gpt",
            pat_str=self.pattern,
            mergeable_ranks=dict(self.ids),
            special_tokens={},
        ).encode_ordinary

    def __getstate__(self) -> dict[str, Any]:
        # For pickling and copying: what tiktoken has built is built again there.
        state = vars(self).copy()
        state.pop("_encode", None)
        return state
