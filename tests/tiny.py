"""Small models for every test: all sizes differ, so that a transposed axis cannot hide."""

from __future__ import annotations

from typing import Any

import torch

from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT


def tiny_config(**changes: Any) -> GPTConfig:
    """17 tokens, 8 positions, 2 blocks of 3 heads, width 12; with these changes."""
    sizes = {"vocab_size": 17, "context_length": 8, "layers": 2, "heads": 3, "width": 12}
    return GPTConfig(**{**sizes, **changes})


def tiny_gpt(seed: int = 0, **changes: Any) -> GPT:
    """A GPT of that shape, the same at every call with the same seed."""
    torch.manual_seed(seed)
    return GPT(tiny_config(**changes))
