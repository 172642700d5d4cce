"""Drawings of the chapter on GPT-2: its parts by name, and what it says."""

from mini_gpt.support.drawings.gpt2.files import exchange, loading, safetensors, saving
from mini_gpt.support.drawings.gpt2.models import dataflow, side_by_side, which_model
from mini_gpt.support.drawings.gpt2.tokens import loss_row, top_tokens
from mini_gpt.support.drawings.gpt2.weights import (
    columns_of,
    name_parts,
    names,
    sizes_from,
    turned,
    zero_bias,
)

__all__ = [
    "columns_of",
    "dataflow",
    "exchange",
    "loading",
    "loss_row",
    "name_parts",
    "names",
    "safetensors",
    "saving",
    "side_by_side",
    "sizes_from",
    "top_tokens",
    "turned",
    "which_model",
    "zero_bias",
]
