# %%
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


# %%
class TokenEmbedding(nn.Module):
    """A learned vector for each token, used twice: to read tokens and to score them.

    `forward` looks vectors up. `logits` compares a vector with every token's vector: the output head is tied
    to the embedding (Press and Wolf 2017), which saves `vocab_size * width` parameters.

    Args:
        vocab_size: Number of tokens ($V$).
        width: Numbers per vector ($D$).
    """

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, width))
        nn.init.normal_(self.weight, std=0.02)  # GPT-2's choice; chapter 7 shows why small

    def forward(self, ids: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time width"]:
        """The vector of each token."""
        return F.embedding(ids, self.weight)

    def logits(
        self, stream: Float[Tensor, "batch time width"]
    ) -> Float[Tensor, "batch time vocab_size"]:
        """The score of every token at every position: a dot product with its vector."""
        return F.linear(stream, self.weight)
