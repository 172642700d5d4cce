"""What the tests of choosing, writing and guessing share: lively models, seeds, counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig, choose_tokens
from mini_gpt.tokenizer import BPETokenizer

SCHEMES = ("learned", "sinusoidal", "rotary", "none")
LETTERS = CharTokenizer("abcdefghijklmnopqrs")  # 19 of them
BYTES = BPETokenizer([bytes([byte]) for byte in range(256)])  # id 256 ends a text


def lively_model(position: Any = "learned", vocab_size: int = 19, **changes: Any) -> GPT:
    """A tiny GPT, all sizes different, whose logits differ clearly from token to token."""
    shape = {"context_length": 11, "layers": 3, "heads": 2, "width": 12, **changes}
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=vocab_size, position=position, **shape))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6) if parameter.ndim > 1 else None
    return model.eval()


def random_ids(*shape: int, size: int = 19) -> Tensor:
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(7))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def naive_ids(model: GPT, prompt: Sequence[int], new: int, config: SampleConfig) -> list[int]:
    """The loop without a cache: everything is computed anew for each token."""
    ids, generator = list(prompt), seeded(config.seed)
    for _ in range(new):
        logits = model(torch.tensor([ids[-model.config.context_length :]]))[:, -1]
        ids += choose_tokens(logits, config, [generator])
    return ids[len(prompt) :]


def chi_square(observed: Tensor, probabilities: Tensor) -> float:
    """How far counts are from what probabilities let expect; infinite where nothing may be."""
    expected = probabilities.double() * observed.sum()
    possible = expected > 0
    if observed[~possible].sum():
        return math.inf
    return ((observed - expected)[possible] ** 2 / expected[possible]).sum().item()


def limit(freedom: int) -> float:
    """A chi-square that right draws exceed about once in 100,000 (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + 4.265 * math.sqrt(spread)) ** 3
