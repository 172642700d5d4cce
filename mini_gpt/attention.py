# %%
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mini_gpt.position import RotaryPositions


# %%
def causal_mask(queries: int, keys: int) -> Bool[Tensor, "queries keys"]:
    """True where a query may look: at its own position and before.

    Both sequences end at the same position, so with a cache (`keys > queries`) the last query still sees
    every key.

    Args:
        queries: Number of queries, the last positions of the sequence.
        keys: Number of keys, all positions of the sequence.

    Raises:
        ValueError: if there are more queries than keys.
    """
    if queries > keys:
        raise ValueError(
            f"{queries} queries cannot end where {keys} keys end; pass the cached keys too"
        )
    return torch.ones(queries, keys, dtype=torch.bool).tril(diagonal=keys - queries)


# %%
def causal_attention(
    query: Float[Tensor, "batch heads queries head_width"],
    key: Float[Tensor, "batch heads keys head_width"],
    value: Float[Tensor, "batch heads keys head_width"],
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads queries head_width"]:
    """softmax(query key^T / sqrt(head_width) + mask) value, in one fused kernel (Vaswani et al. 2017, eq. 1).

    The last query belongs to the last key. PyTorch's own `is_causal` lets the *first* query belong to the first
    key, which is the same only where there are as many queries as keys.

    Args:
        query: What each position looks for.
        key: What each position offers to be found by.
        value: What each position passes on.
        dropout: Probability that a weight is set to 0; 0 outside training.

    Raises:
        ValueError: if there are more queries than keys.
    """
    queries, keys = query.shape[-2], key.shape[-2]
    if queries == keys:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
    # A single query at the end may look everywhere, so it needs no mask.
    mask = None if queries == 1 else causal_mask(queries, keys).to(query.device)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)


# %%
@runtime_checkable
class LayerCache(Protocol):
    """Keys and values of earlier positions in one layer, for decoding step by step (chapter 10 has one).

    Attributes:
        length: Number of positions that it holds.
    """

    length: int

    def append(
        self,
        key: Float[Tensor, "batch heads new head_width"],
        value: Float[Tensor, "batch heads new head_width"],
    ) -> tuple[
        Float[Tensor, "batch heads keys head_width"], Float[Tensor, "batch heads keys head_width"]
    ]:
        """Keep the new keys and values, and return all."""
        ...


# %%
class MultiHeadAttention(nn.Module):
    """Causal self-attention with several heads, as in GPT-2.

    One linear map gives queries, keys and values; the heads divide the *features*, each sees every position; one
    linear map mixes what they found.

    Args:
        width: Size of the residual stream ($D$).
        heads: Number of heads ($H$); must divide the width.
        dropout: Probability of zeroing attention weights and outputs while training.
        bias: Whether the linear maps have a bias.
        rotary: Rotates queries and keys by their position; None where positions were added before.

    Raises:
        ValueError: if the heads do not divide the width.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: RotaryPositions | None = None,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(
                f"{heads} heads do not divide the width {width}; choose a multiple of {heads}"
            )
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.rotary = rotary

    def forward(
        self, stream: Float[Tensor, "batch time width"], cache: LayerCache | None = None
    ) -> Float[Tensor, "batch time width"]:
        """What each position gathers from itself and the positions before.

        Args:
            stream: The normalised residual stream.
            cache: Keys and values of earlier positions; the new ones are appended to it.
        """
        query, key, value = rearrange(
            self.query_key_value(stream),
            "batch time (three heads head_width) -> three batch heads time head_width",
            three=3,
            heads=self.heads,
        )
        if self.rotary is not None:
            offset = cache.length if cache is not None else 0
            query, key = self.rotary(query, offset), self.rotary(key, offset)
        if cache is not None:
            key, value = cache.append(key, value)
        mixed = causal_attention(
            query, key, value, dropout=self.dropout.p if self.training else 0.0
        )
        mixed = rearrange(mixed, "batch heads time head_width -> batch time (heads head_width)")
        return self.dropout(self.output(mixed))
