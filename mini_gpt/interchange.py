"""Our tokenizers in the files of other libraries."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mini_gpt.files import atomic_file
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer, gpt2_byte_characters, merge_piece


def merges_of(tokenizer: BPETokenizer) -> list[tuple[bytes, bytes]]:
    """The two tokens that each merged token was made of, in the order of their learning.

    Args:
        tokenizer: A tokenizer whose tokens were learned by merging.

    Raises:
        ValueError: naming a token that is no union of two earlier ones.
    """
    known: dict[bytes, int] = {}
    pairs = []
    for id, token in enumerate(tokenizer.tokens):
        if len(token) > 1:
            parts = merge_piece(token, known) if all(bytes([b]) in known for b in token) else []
            if len(parts) != 2:
                raise ValueError(
                    f"token {id}, {token!r}, is no union of two earlier tokens, "
                    "so that merges cannot make it"
                )
            pairs.append((tokenizer.tokens[parts[0]], tokenizer.tokens[parts[1]]))
        known[token] = id
    return pairs


def to_huggingface(tokenizer: BPETokenizer, folder: str | os.PathLike[str]) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` for `tokenizers` and `transformers`.

    `AutoTokenizer.from_pretrained(folder)` gives the same ids for ordinary text. Unlike ours, it
    turns the text of special tokens into their ids, unless told not to by `split_special_tokens`.
    These libraries have another engine for regular expressions (Oniguruma): a pattern that is not
    GPT-2's must be one that it understands alike.

    Args:
        tokenizer: The tokenizer to write.
        folder: Where to write; created where missing. Files of these names are replaced.

    Raises:
        ValueError: if the tokens were not learned by merging.
    """
    characters = {byte: character for character, byte in gpt2_byte_characters().items()}

    def written(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    by_gpt2 = tokenizer.pattern == GPT2_PATTERN
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    split = {
        "type": "Split",
        "pattern": {"Regex": tokenizer.pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    pre_tokenizer: dict[str, Any] = {**byte_level, "use_regex": True}
    if not by_gpt2:
        pre_tokenizer = {
            "type": "Sequence",
            "pretokenizers": [split, {**byte_level, "use_regex": False}],
        }
    added: list[dict[str, Any]] = [
        {
            "id": len(tokenizer.tokens) + place,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for place, text in enumerate(tokenizer.special_tokens)
    ]
    vocabulary = {written(token): id for id, token in enumerate(tokenizer.tokens)}
    vocabulary.update({token["content"]: token["id"] for token in added})
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [[written(left), written(right)] for left, right in merges_of(tokenizer)],
        },
    }
    configuration: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    if tokenizer.special_tokens:
        configuration["eos_token"] = tokenizer.special_tokens[0]
    for name, part in (("tokenizer.json", content), ("tokenizer_config.json", configuration)):
        with atomic_file(Path(folder) / name) as partial:
            partial.write_text(json.dumps(part, ensure_ascii=False), encoding="utf-8")
