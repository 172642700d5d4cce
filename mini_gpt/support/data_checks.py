"""Arguments of the data chapter's functions: what is wrong, and what helps."""

from __future__ import annotations

from typing import Any

import numpy as np

from mini_gpt.support.files import release_pages
from mini_gpt.support.token_shards import TokenShards
from mini_gpt.support.validation import check_range, whole_number


def check_loader(loader: Any) -> None:
    """Raise ValueError for the arguments of a `BatchLoader` that cannot work together.

    Args:
        loader: Its arguments, as attributes of the same names.
    """
    _check_kind("tokens", loader.tokens)
    for name in ("batch_size", "context_length", "world_size"):
        whole_number(name, getattr(loader, name), at_least=1)
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


def check_evaluation(tokens: Any, batch_size: int, context_length: int) -> None:
    """Raise unless these tokens can be measured in such windows.

    Raises:
        TypeError: if they are no one-dimensional NumPy array of whole numbers, or a
            size is none.
        ValueError: if there are too few, or a size is below 1.
    """
    whole_number("batch_size", batch_size, at_least=1)
    whole_number("context_length", context_length, at_least=1)
    _check_kind("tokens", tokens)
    if (found := len(tokens)) < 2:
        raise ValueError(
            f"{found} tokens hold no pair of a token and its successor; give more text"
        )


def check_known(model: Any, tokens: Any) -> None:
    """Raise unless a model knows these ids, before a graphics card meets them.

    Args:
        model: One without a `config` may know any.

    Raises:
        TypeError: if they are no one-dimensional NumPy array of whole numbers.
        ValueError: naming the first that is outside the vocabulary.
    """
    size = getattr(getattr(model, "config", None), "vocab_size", None)
    if size is not None:
        _check_token_ids("tokens", tokens, size)


def check_splits(training_tokens: Any, validation_tokens: Any, vocab_size: int) -> None:
    """Raise unless both parts are ids that a model knows, before it trains on one.

    Raises:
        TypeError: if one is no one-dimensional NumPy array of whole numbers.
        ValueError: naming the first id that is outside the vocabulary; or if there is
            nothing to validate on.
    """
    _check_token_ids("training_tokens", training_tokens, vocab_size)
    _check_token_ids("validation_tokens", validation_tokens, vocab_size)
    if (found := len(validation_tokens)) < 2:
        raise ValueError(f"{found} tokens are too few to validate on; add text")


def _check_token_ids(name: str, tokens: Any, vocab_size: int) -> None:
    """`check_splits` for one of them, called `name`."""
    _check_kind(name, tokens)
    step = 1 << 21  # a file of tokens may be larger than the memory
    for start in range(0, len(tokens), step):
        part = np.asarray(tokens[start : start + step])
        if part.min() < 0 or part.max() >= vocab_size:
            at = int(np.argmax((part < 0) | (part >= vocab_size)))
            raise ValueError(
                f"id {part[at]} at position {start + at} of {name} is outside the "
                f"model's vocabulary (0 to {vocab_size - 1}); was it made by another "
                "tokenizer?"
            )
        release_pages(tokens)


def _check_kind(name: str, tokens: Any) -> None:
    """Raise TypeError unless this is a one-dimensional NumPy array of whole numbers.

    Shards of a corpus, which behave as one, are none worse.
    """
    if not isinstance(tokens, np.ndarray | TokenShards):
        kind = f"{type(tokens).__module__}.{type(tokens).__name__}"
        raise TypeError(
            f"{name} must be a NumPy array, not {kind.removeprefix('builtins.')}; "
            "np.asarray makes one"
        )
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must have one axis and hold whole numbers, not shape "
            f"{tokens.shape} and {tokens.dtype}"
        )


def check_tokenizer(tokenizer: Any, vocab_size: int) -> None:
    """Raise ValueError if a tokenizer has ids that a model of this size lacks."""
    if tokenizer.vocab_size > vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model "
            f"{vocab_size}; build the model with vocab_size={tokenizer.vocab_size}"
        )
