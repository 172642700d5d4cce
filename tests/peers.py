"""Random GPT-2s of `transformers` to compare with, and tokenizers in its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mini_gpt.characters import CharTokenizer
from mini_gpt.model import GPT
from mini_gpt.support.gpt2_vocabulary import gpt2_byte_characters
from mini_gpt.tokenizer import BPETokenizer
from shapes import shaken
from tiny import tiny_gpt

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

TOKENIZER = CharTokenizer("abcdefg")
TEXT = "to be or not to be, that is the question: whether 'tis nobler in the mind to suffer " * 3


def build(seed: int = 0, **changes: Any) -> GPT:
    """A tiny model in evaluation mode whose every parameter is random."""
    return shaken(tiny_gpt(seed, **{"vocab_size": 11, **changes}), seed=seed)


def build_peer(seed: int = 0, **shape: Any) -> Any:
    """A random GPT-2 of `transformers`; its special ids lie inside the vocabulary."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 17, "n_positions": 9, "n_embd": 12, "n_layer": 3, "n_head": 2}
    config = transformers.GPT2Config(**(sizes | shape), bos_token_id=0, eos_token_id=0)
    return shaken(transformers.GPT2LMHeadModel(config), seed=seed)


def ids_for(vocab_size: int, batch_size: int = 4, time: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(vocab_size, (batch_size, time), generator=generator)


def write_huggingface(peer: Any, folder: Path) -> Path:
    peer.save_pretrained(folder)
    return folder


def greedy_text(peer: Any, prompt: Tensor, steps: int, pad: int | None = 0) -> list[int]:
    """What the peer writes after a prompt, always taking the likeliest token."""
    peer.generation_config.eos_token_id = None  # go on to the end
    written = peer.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=steps,
        pad_token_id=pad,
    )
    return written[0, prompt.shape[1] :].tolist()


def gpt2_like_tokenizer() -> BPETokenizer:
    """A small tokenizer of GPT-2's kind: its bytes have GPT-2's order."""
    learned = BPETokenizer.train(TEXT, 280)
    return BPETokenizer(
        [bytes([b]) for b in gpt2_byte_characters().values()] + list(learned.tokens[256:])
    )


def written(token: bytes) -> str:
    characters = {byte: character for character, byte in gpt2_byte_characters().items()}
    return "".join(characters[byte] for byte in token)


def write_two_files(tokenizer: BPETokenizer, folder: Path) -> None:
    ids = {written(token): id for id, token in enumerate(tokenizer.tokens)}
    ids["<|endoftext|>"] = len(ids)
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    lines = [" ".join(map(written, pair)) for pair in merges(tokenizer)]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")


def merges(tokenizer: BPETokenizer) -> list[tuple[bytes, bytes]]:
    """The pair that each learned token was merged from: what the earlier tokens make of it."""
    pairs = []
    for place in range(256, len(tokenizer.tokens)):
        earlier = BPETokenizer(tokenizer.tokens[:place], pattern=r"(?s).+")
        left, right = earlier.encode(tokenizer.tokens[place].decode())
        pairs.append((earlier.tokens[left], earlier.tokens[right]))
    return pairs
