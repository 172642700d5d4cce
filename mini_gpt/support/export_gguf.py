"""What the converter of llama.cpp asks of a Hugging Face folder to make a GGUF file.

Of a GPT-2 it reads `n_ctx`, `n_embd`, `n_head`, `n_layer` and `layer_norm_epsilon`,
and takes the rest for granted. A tokenizer it knows by the ids of one text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mini_gpt.characters import Tokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer

# Of GPT-2's tokens in the order of their ids, each with its length before it.
GPT2_TOKENS = "7cff19521369c7f5f5ed77ed7b730e7491800afb47d01d341e12b3ca740d8543"


def tokens_digest(tokens: Sequence[bytes]) -> str:
    """SHA-256 of tokens and of where each of them ends."""
    parts = (len(token).to_bytes(4, "little") + token for token in tokens)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def gguf_obstacles(config: GPTConfig, tokenizer: Tokenizer) -> list[str]:
    """Why llama.cpp's converter would refuse a model, or make another one of it.

    A model whose positions, normalizations or heads are not GPT-2's does not come so
    far: `to_huggingface` refuses it.
    """
    obstacles = []
    if not (
        isinstance(tokenizer, BPETokenizer)
        and tokenizer.pattern == GPT2_PATTERN
        and [*tokenizer.ids.ordinary.values()] == [*range(len(tokenizer.tokens))]
        and tokens_digest(tokenizer.tokens) == GPT2_TOKENS
    ):
        obstacles.append(
            "its tokenizer is not GPT-2's, and no other one is known there"
        )
    if config.feed_forward_width != 4 * config.width:
        obstacles.append(
            f"hidden_width is {config.feed_forward_width}, and is taken there for "
            f"{4 * config.width}, four times the width"
        )
    if config.activation != "gelu_tanh":
        obstacles.append(f"activation is {config.activation}, and is not read there")
    return obstacles
