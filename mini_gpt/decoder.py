# %%
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from mini_gpt.attention import LayerCache, MultiHeadAttention
from mini_gpt.position import RotaryPositions


# %%
class FeedForward(nn.Module):
    """Two linear maps with GELU between them, applied to each position alone.

    The tanh form of GELU (Hendrycks and Gimpel 2016) is the one that GPT-2 was trained with.

    Args:
        width: Size of the residual stream ($D$).
        hidden_width: Size between the maps ($F$), in GPT-2 four times the width.
        dropout: Probability of zeroing outputs while training.
        bias: Whether the linear maps have a bias.
    """

    def __init__(
        self, width: int, hidden_width: int, *, dropout: float = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden_width, bias=bias)
        self.activation = nn.GELU(approximate="tanh")
        self.contract = nn.Linear(hidden_width, width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, stream: Float[Tensor, "batch time width"]
    ) -> Float[Tensor, "batch time width"]:
        """Each position's features, mixed and bent."""
        return self.dropout(self.contract(self.activation(self.expand(stream))))


# %%
class DecoderBlock(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy of the residual stream and adds to it.

    Normalising before each part, not after the addition, is pre-norm (Xiong et al. 2020), GPT-2's choice.

    Args:
        width: Size of the residual stream ($D$).
        heads: Attention heads ($H$).
        hidden_width: Feed-forward hidden size ($F$).
        dropout: Dropout probability while training.
        bias: Whether linear maps and normalisations have a bias.
        rotary: Positions for attention to rotate by, or None.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden_width: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: RotaryPositions | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, bias=bias)
        self.attention = MultiHeadAttention(width, heads, dropout=dropout, bias=bias, rotary=rotary)
        self.feed_forward_norm = nn.LayerNorm(width, bias=bias)
        self.feed_forward = FeedForward(width, hidden_width, dropout=dropout, bias=bias)

    def forward(
        self, stream: Float[Tensor, "batch time width"], cache: LayerCache | None = None
    ) -> Float[Tensor, "batch time width"]:
        """The stream with this block's two contributions added."""
        stream = stream + self.attention(self.attention_norm(stream), cache)
        return stream + self.feed_forward(self.feed_forward_norm(stream))


# %%
class Decoder(nn.Module):
    """A stack of decoder blocks and the final normalisation.

    Args:
        layers: Number of blocks ($L$).
        width: Size of the residual stream ($D$).
        heads: Attention heads ($H$) of each block.
        hidden_width: Feed-forward hidden size ($F$) of each block.
        dropout: Dropout probability while training.
        bias: Whether linear maps and normalisations have a bias.
        rotary: Positions for attention to rotate by, or None.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        hidden_width: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        rotary: RotaryPositions | None = None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            DecoderBlock(width, heads, hidden_width, dropout=dropout, bias=bias, rotary=rotary)
            for _ in range(layers)
        )
        self.final_norm = nn.LayerNorm(width, bias=bias)

    def forward(
        self, stream: Float[Tensor, "batch time width"], caches: Sequence[LayerCache] | None = None
    ) -> Float[Tensor, "batch time width"]:
        """The stream after all blocks, normalised.

        Args:
            stream: Token embeddings, with positions where those are added.
            caches: One cache a layer, or None.
        """
        for layer, block in enumerate(self.blocks):
            stream = block(stream, caches[layer] if caches is not None else None)
        return self.final_norm(stream)
