"""File compressors as opponents of a language model, in its own unit."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

PROGRAMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),  # the same on every day
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def file_loss(program: str, text: str, read_first: str = "") -> float:
    """Nats for each character that a text adds to a compressed file.

    Args:
        program: "gzip", "bzip2" or "xz".
        read_first: Text that stands in the file before it.
    """
    compress, before = PROGRAMS[program], read_first.encode()
    empty = len(compress(before)) if before else 0
    added = len(compress(before + text.encode())) - empty
    return 8 * added * math.log(2) / len(text)


def adaptive_loss(
    tokens: Integer[np.ndarray, " tokens"], first: int, vocab_size: int, order: int
) -> float:
    """Mean loss of an n-gram model that goes on counting while it is tested.

    So do the compressors of the PPM family (Cleary and Witten 1984). The blend is that
    of `mini_gpt.loss.NGramModel`; what is counted is all that stands before the token.

    Args:
        first: The tokens from this place on are measured; all are learned from.
        order: Length of the longest run that is counted.
    """
    return float(adaptive_losses(tokens, vocab_size, order)[first:].mean())


def adaptive_losses(
    tokens: Integer[np.ndarray, " tokens"], vocab_size: int, order: int
) -> Float[np.ndarray, " tokens"]:
    """The loss of each token in turn, by such a model."""
    chances = np.full(len(tokens), 1 / vocab_size)
    by_context = np.arange(len(tokens))  # equal contexts together, in their order
    for n in range(1, order + 1):
        grams = np.zeros(len(tokens) - n + 1, dtype=np.int64)
        for place in range(n):  # n tokens in a row as the digits of one number
            grams = grams * vocab_size + tokens[place : place + len(grams)]
        by_gram = np.argsort(grams, kind="stable")
        seen = _earlier(grams, by_gram)
        total = _earlier(grams // vocab_size, by_context)
        kinds = _earlier(grams // vocab_size, by_context, seen == 0)
        shorter = chances[n - 1 :]
        blend = (seen + kinds * shorter) / np.maximum(total + kinds, 1)
        chances[n - 1 :] = np.where(total == 0, shorter, blend)
        by_context = by_gram[by_gram < len(grams) - 1]  # they are the next contexts
    losses: Float[np.ndarray, " tokens"] = -np.log(chances)
    return losses


def _earlier(
    values: Int[np.ndarray, " n"],
    order: Int[np.ndarray, " n"],
    counted: Bool[np.ndarray, " n"] | None = None,
) -> Int[np.ndarray, " n"]:
    """How often each value stood before its place, where `counted`.

    Args:
        order: Sorts the values stably.
    """
    ranked = values[order]
    begins = np.append(True, ranked[1:] != ranked[:-1])
    steps = np.ones(len(values), np.int64) if counted is None else counted[order]
    before = np.append(0, np.cumsum(steps)[:-1])
    found = np.empty(len(values), dtype=np.int64)
    found[order] = before - before[begins][np.cumsum(begins) - 1]
    return found
