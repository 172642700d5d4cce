"""Writing with nothing kept between two tokens: slow, and right for every machine."""

from __future__ import annotations

import torch

from mini_gpt.characters import Tokenizer
from mini_gpt.model import GPT
from mini_gpt.support.modes import evaluating


def write_anew(
    model: GPT, tokenizer: Tokenizer, prompt: str, count: int, seed: int = 0
) -> str:
    """What a model writes behind a prompt, drawn at temperature 0.8.

    Each token takes a forward pass over the whole window, as a machine needs in which
    old positions change with every new token.
    """
    ids, generator = tokenizer.encode(prompt), torch.Generator().manual_seed(seed)
    given = len(ids)
    with evaluating(model):
        for _ in range(count):
            window = torch.tensor([ids[-model.config.context_length :]])
            shares = (model(window)[0, -1] / 0.8).softmax(-1)
            ids.append(int(torch.multinomial(shares, 1, generator=generator)))
    return tokenizer.decode(ids[given:])
