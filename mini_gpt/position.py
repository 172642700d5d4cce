# %%
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


# %%
def sinusoidal_table(context_length: int, width: int) -> Float[Tensor, "context_length width"]:
    """The positions of "Attention Is All You Need": one row a position (Vaswani et al. 2017, section 3.5).

    Dimension 2i holds sin(position / 10000^(2i/width)) and dimension 2i+1 the cosine of the same angle:
    the angle grows with the position, the frequency falls with the dimension.

    Args:
        context_length: Number of positions.
        width: Numbers per position ($D$), even.

    Raises:
        ValueError: if the width is odd.
    """
    if width % 2:
        raise ValueError(f"width {width} is odd; sines and cosines come in pairs")
    angles = rotation_angles(context_length, width)
    return rearrange(
        torch.stack([angles.sin(), angles.cos()], dim=-1), "time pair two -> time (pair two)"
    )


def rotation_angles(
    context_length: int, width: int, base: float = 10_000.0
) -> Float[Tensor, "context_length pairs"]:
    """The angle of each position for each pair of dimensions, in radians: position / base^(2i/width)."""
    frequencies = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return (torch.arange(context_length, dtype=torch.float64)[:, None] * frequencies).float()


# %%
def check_positions(offset: int, time: int, context_length: int) -> None:
    """Raise ValueError unless positions `offset` to `offset + time - 1` lie within the context."""
    if offset + time > context_length:
        raise ValueError(
            f"position {offset + time - 1} is beyond the context of {context_length}; "
            "shorten the text, or build the model with a longer context_length"
        )


# %%
class SinusoidalPositions(nn.Module):
    """Fixed positions from a formula, added to the token embeddings.

    Args:
        context_length: Number of positions.
        width: Size of the residual stream ($D$), even.
    """

    def __init__(self, context_length: int, width: int) -> None:
        super().__init__()
        self.context_length = context_length
        self.width = width
        self.table: Tensor
        self.reset_tables()

    def reset_tables(self, device: str | torch.device | None = None) -> None:
        """Compute the table anew on a device; needed after the module was built on the meta device."""
        table = sinusoidal_table(self.context_length, self.width).to(device)
        self.register_buffer("table", table, persistent=False)

    def forward(self, time: int, offset: int = 0) -> Float[Tensor, "time width"]:
        """The rows for positions `offset` to `offset + time - 1`.

        Raises:
            ValueError: if they reach beyond the context.
        """
        check_positions(offset, time, self.context_length)
        return self.table[offset : offset + time]


class LearnedPositions(nn.Module):
    """A learned vector for each position, added to the token embeddings: GPT-2's choice.

    Args:
        context_length: Number of positions.
        width: Size of the residual stream ($D$).
    """

    def __init__(self, context_length: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(context_length, width))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, time: int, offset: int = 0) -> Float[Tensor, "time width"]:
        """The rows for positions `offset` to `offset + time - 1`.

        Raises:
            ValueError: if they reach beyond the context.
        """
        check_positions(offset, time, len(self.weight))
        return self.weight[offset : offset + time]


# %%
class RotaryPositions(nn.Module):
    """Positions as rotations of queries and keys, inside attention (Su et al. 2021).

    Each pair of neighbouring dimensions is turned by an angle that grows with the position, so that the dot
    product of a query and a key depends on the distance between them only.

    Args:
        context_length: Number of positions.
        head_width: Numbers per head ($K$), even.

    Raises:
        ValueError: if the head width is odd.
    """

    def __init__(self, context_length: int, head_width: int) -> None:
        super().__init__()
        if head_width % 2:
            raise ValueError(f"head_width {head_width} is odd; rotations need pairs of dimensions")
        self.context_length = context_length
        self.head_width = head_width
        self.cosine: Tensor
        self.sine: Tensor
        self.reset_tables()

    def reset_tables(self, device: str | torch.device | None = None) -> None:
        """Compute the tables anew on a device; needed after the module was built on the meta device."""
        angles = rotation_angles(self.context_length, self.head_width).to(device)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def forward(
        self, vectors: Float[Tensor, "batch heads time head_width"], offset: int = 0
    ) -> Float[Tensor, "batch heads time head_width"]:
        """Turn the vector at each position by that position's angles.

        Args:
            vectors: Queries or keys.
            offset: Position of the first.

        Raises:
            ValueError: if the positions reach beyond the context.
        """
        time = vectors.shape[-2]
        check_positions(offset, time, self.context_length)
        cosine, sine = self.cosine[offset : offset + time], self.sine[offset : offset + time]
        first, second = rearrange(
            vectors, "batch heads time (pair two) -> two batch heads time pair", two=2
        )
        turned = torch.stack(
            [first * cosine - second * sine, first * sine + second * cosine], dim=-1
        )
        return rearrange(turned, "batch heads time pair two -> batch heads time (pair two)").to(
            vectors.dtype
        )
