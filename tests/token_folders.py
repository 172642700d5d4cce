"""Token folders for tests, of given documents, in as many shards as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.documents import encode_row
from mini_gpt.support.shard_file import new_shard
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.token_manifest import write_manifest
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE, fingerprint, save_tokenizer
from mini_gpt.tokenizer import BPETokenizer

Tokenizer = CharTokenizer | BPETokenizer


def write_shards(
    folder: Path, part: str, row: np.ndarray, tokenizer: Tokenizer, shards: int
) -> dict[str, Any]:
    """A row of ids in so many files; what a manifest says of them."""
    entries = []
    for number, ids in enumerate(np.array_split(row, shards)):
        name = f"{part}-{number:05}.tokens"
        with new_shard(folder / name, tokenizer.vocab_size, fingerprint(tokenizer)) as shard:
            shard.begin_document()
            shard.add(ids)
        assert shard.written is not None
        entries.append({"name": name, **shard.written._asdict()})
    size = count_text_bytes(tokenizer, row)
    return {"tokens": len(row), "documents": 7, "text_bytes": size, "shards": entries}


def write_folder(
    folder: Path,
    tokenizer: Tokenizer,
    training: Sequence[str],
    validation: Sequence[str],
    shards: int = 3,
) -> tuple[np.ndarray, np.ndarray]:
    """A token folder of these documents; returns both rows of ids."""
    folder.mkdir()
    save_tokenizer(tokenizer, folder / TOKENIZER_FILE)
    rows = encode_row(training, tokenizer), encode_row(validation, tokenizer)
    parts = {
        part: write_shards(folder, part, row, tokenizer, shards)
        for part, row in zip(("training", "validation"), rows, strict=True)
    }
    write_manifest(folder, {"fingerprint": fingerprint(tokenizer), **parts})
    return rows
