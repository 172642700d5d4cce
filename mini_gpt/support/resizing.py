"""A model with other sizes: more or fewer tokens, or a shorter context."""

from __future__ import annotations

from dataclasses import replace

import torch

from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT
from mini_gpt.position import LearnedPositions


def resize_vocab(model: GPT, vocab_size: int) -> GPT:
    """A copy of a model with another number of tokens.

    Tokens that both have keep their vectors. A new token gets the mean of the old ones,
    which makes it neither likelier nor less likely than they are on average, so that
    no text that was learned becomes improbable.

    Args:
        vocab_size: The new number of tokens (V); the last ones are dropped or added.

    Raises:
        ValueError: if it is below 1.
    """
    resized = _like(model, replace(model.config, vocab_size=vocab_size))
    with torch.no_grad():
        old = model.token_embedding.weight[: model.config.vocab_size]
        table = resized.token_embedding.weight
        kept = min(len(old), vocab_size)
        table[:kept] = old[:kept]
        table[kept:vocab_size] = old.double().mean(0).to(table.dtype)
        table[vocab_size:] = 0  # padding, if any
    return resized


def crop_context(model: GPT, context_length: int) -> GPT:
    """A copy of a model that looks at fewer positions; on short texts it is the same.

    Raises:
        ValueError: if the context is longer than that of the model. Learned positions
            have no rows to add.
    """
    if context_length > model.config.context_length:
        raise ValueError(
            f"context_length {context_length} is longer than the model's, "
            f"{model.config.context_length}; a context can only be cropped"
        )
    return _like(model, replace(model.config, context_length=context_length))


def _like(model: GPT, config: GPTConfig) -> GPT:
    """A model of another shape with all weights of this one that have their shape.

    Of learned positions, the first are taken.
    """
    plain: GPT = getattr(model, "_orig_mod", model)
    with torch.device(plain.token_embedding.weight.device):
        made = GPT(config).to(plain.token_embedding.weight.dtype)
    weights = plain.state_dict()
    if isinstance(plain.positions, LearnedPositions):
        rows = weights["positions.weight"][: config.context_length]
        weights["positions.weight"] = rows
    weights["token_embedding.weight"] = made.token_embedding.weight
    if config.padded_vocab_size == plain.config.padded_vocab_size:
        weights["token_embedding.weight"] = plain.token_embedding.weight
    made.load_state_dict(weights)
    return made.train(plain.training)
