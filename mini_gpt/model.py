# %%
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mini_gpt.attention import LayerCache
from mini_gpt.decoder import Decoder
from mini_gpt.embedding import TokenEmbedding
from mini_gpt.position import LearnedPositions, RotaryPositions, SinusoidalPositions


# %%
@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. The defaults are GPT-2's smallest model, with 124 million parameters.

    Attributes:
        vocab_size: Number of tokens ($V$).
        context_length: Most positions that the model can look at (the largest $T$).
        layers: Number of decoder blocks ($L$).
        heads: Attention heads in each block ($H$); must divide the width.
        width: Size of the residual stream ($D$).
        hidden_width: Size of the feed-forward hidden layer ($F$); None means four times the width.
        dropout: Probability of zeroing activations while training, from 0 up to but not including 1.
        bias: Whether linear maps and normalisations have a bias.
        position: How positions enter the model.
    """

    vocab_size: int = 50_257
    context_length: int = 1024
    layers: int = 12
    heads: int = 12
    width: int = 768
    hidden_width: int | None = None
    dropout: float = 0.0
    bias: bool = True
    position: Literal["learned", "sinusoidal", "rotary", "none"] = "learned"

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "context_length", "layers", "heads", "width", "hidden_width")
        for name in sizes:
            value = getattr(self, name)
            if name == "hidden_width" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} {value!r} must be a whole number")
            if value < 1:
                raise ValueError(f"{name} {value} must be at least 1")
        if self.width % self.heads:
            raise ValueError(
                f"heads {self.heads} must divide width {self.width}; try width {self.heads * 64}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout} must be at least 0 and less than 1")
        if self.position not in ("learned", "sinusoidal", "rotary", "none"):
            raise ValueError(
                f"position {self.position!r} must be 'learned', 'sinusoidal', 'rotary' or 'none'"
            )
        if self.position == "rotary" and self.head_width % 2:
            raise ValueError(
                f"rotary positions need an even head width; width {self.width} / heads {self.heads} is odd"
            )
        if self.position == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions need an even width, not {self.width}")

    @property
    def head_width(self) -> int:
        """Features of each head ($K = D/H$)."""
        return self.width // self.heads

    @property
    def feed_forward_width(self) -> int:
        """Size of the feed-forward hidden layer ($F$), the default filled in."""
        return 4 * self.width if self.hidden_width is None else self.hidden_width

    @classmethod
    def preset(cls, name: str) -> "GPTConfig":
        """A configuration by name: "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl" (Radford et al. 2019).

        Raises:
            ValueError: if there is no such preset.
        """
        shapes = {
            "gpt2": (12, 12, 768),
            "gpt2-medium": (24, 16, 1024),
            "gpt2-large": (36, 20, 1280),
            "gpt2-xl": (48, 25, 1600),
        }
        if name not in shapes:
            raise ValueError(f"no preset {name!r}; there are {', '.join(shapes)}")
        layers, heads, width = shapes[name]
        return cls(layers=layers, heads=heads, width=width)


# %%
class GPT(nn.Module):
    """A decoder-only Transformer that scores the next token at every position, shaped like GPT-2.

    Args:
        config: Its shape.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = TokenEmbedding(config.vocab_size, config.width)
        self.positions: LearnedPositions | SinusoidalPositions | None = None
        if config.position == "learned":
            self.positions = LearnedPositions(config.context_length, config.width)
        elif config.position == "sinusoidal":
            self.positions = SinusoidalPositions(config.context_length, config.width)
        rotary = (
            RotaryPositions(config.context_length, config.head_width)
            if config.position == "rotary"
            else None
        )
        self.dropout = nn.Dropout(config.dropout)
        self.decoder = Decoder(
            config.layers,
            config.width,
            config.heads,
            config.feed_forward_width,
            dropout=config.dropout,
            bias=config.bias,
            rotary=rotary,
        )
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights as GPT-2 does: normal with standard deviation 0.02, biases 0.

        The two maps of each block that write into the residual stream get 0.02 / sqrt(2 L), so that the stream
        does not grow with the number of blocks (Radford et al. 2019, section 2.3).
        """
        for name, parameter in self.named_parameters():
            if "norm" in name:
                continue  # normalisations start as the identity
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                writes_to_stream = name.endswith(
                    ("attention.output.weight", "feed_forward.contract.weight")
                )
                nn.init.normal_(
                    parameter,
                    std=0.02 / math.sqrt(2 * self.config.layers) if writes_to_stream else 0.02,
                )

    def forward(
        self, ids: Int[Tensor, "batch time"], caches: Sequence[LayerCache] | None = None
    ) -> Float[Tensor, "batch time vocab_size"]:
        """The logits of the next token at every position.

        Args:
            ids: Token ids.
            caches: One cache a layer with what came before `ids`, or None where `ids` is all there is.

        Raises:
            ValueError: if the positions reach beyond the context.
        """
        return self.token_embedding.logits(self.hidden(ids, caches))

    def hidden(
        self, ids: Int[Tensor, "batch time"], caches: Sequence[LayerCache] | None = None
    ) -> Float[Tensor, "batch time width"]:
        """The residual stream after the last block and the final normalisation, before the output head."""
        offset, time = (caches[0].length if caches is not None else 0), ids.shape[1]
        if offset + time > self.config.context_length:
            raise ValueError(
                f"{offset + time} tokens do not fit the context of {self.config.context_length}; "
                "shorten the text, or build the model with a longer context_length"
            )
        stream = self.token_embedding(ids)
        if self.positions is not None:
            stream = stream + self.positions(time, offset)
        return self.decoder(self.dropout(stream), caches)


# %%
def count_parameters(model: nn.Module) -> int:
    """Number of parameters, each counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def parameters_by_component(config: GPTConfig) -> dict[str, int]:
    """Number of parameters of each part of a GPT, from its shape alone (no memory is needed)."""
    width, hidden, bias = config.width, config.feed_forward_width, int(config.bias)
    block = {
        "attention": 4 * width * width + bias * 4 * width,
        "feed-forward": 2 * width * hidden + bias * (hidden + width),
        "normalisation": 2 * (width + bias * width),
    }
    return {
        "token embedding (tied head)": config.vocab_size * width,
        "positions": config.context_length * width if config.position == "learned" else 0,
        **{name: config.layers * count for name, count in block.items()},
        "final normalisation": width + bias * width,
    }


def flops_per_token(config: GPTConfig, time: int | None = None) -> int:
    """Floating-point operations of one training step per token, forward and backward.

    A matrix product costs two operations per weight and token, the backward pass twice the forward (Kaplan et al.
    2020, section 2.1). The attention matrix adds products with every key.

    Args:
        config: The model's shape.
        time: Tokens in each sequence; None means the full context.
    """
    time = config.context_length if time is None else time
    weights = config.layers * (4 * config.width**2 + 2 * config.width * config.feed_forward_width)
    weights += config.vocab_size * config.width
    return 6 * weights + 12 * config.layers * config.width * time
