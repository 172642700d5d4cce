"""What training holds in memory, part by part, also where processes share a model."""

from __future__ import annotations

from dataclasses import replace

import torch

from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT
from mini_gpt.support.validation import whole_number


def training_bytes_by_part(
    config: GPTConfig, processes: int = 1, optimizer: str = "adamw"
) -> dict[str, int]:
    """What one process holds for training in float32, in bytes, before activations.

    AdamW's count of steps, four bytes for each tensor, is left out.

    Args:
        processes: How many share each weight, its gradient and its averages, row by row
            (chapter 17). The share is rounded up to whole rows: the largest one counts.
        optimizer: "adamw", or "muon" with one average for a matrix of the blocks.

    Raises:
        TypeError, ValueError: unless there is a process at least.
    """
    whole_number("processes", processes, at_least=1)
    with torch.device("meta"):
        named = dict(GPT(replace(config, layers=1)).named_parameters())
    held = {}
    for name, weight in named.items():
        rows = -(-len(weight) // processes)
        alike = config.layers if name.startswith("decoder.blocks.") else 1
        held[name] = alike * 4 * rows * weight[0].numel()
    once = [n for n, w in named.items() if w.ndim == 2 and n.startswith("decoder.")]
    total, saved = sum(held.values()), sum(held[name] for name in once)
    averages = 2 * total - (saved if optimizer == "muon" else 0)
    return {"parameters": total, "gradients": total, "averages": averages}
