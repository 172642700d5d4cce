"""Token folders: a corpus as `mini-gpt prepare` leaves it, mapped to be trained on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.files import release_pages
from mini_gpt.support.shard_file import open_shard
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.token_manifest import MANIFEST, corpus_digest, read_manifest
from mini_gpt.support.token_shards import TokenRow, TokenShards
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE, fingerprint
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer


class TokenFolder(NamedTuple):
    """A prepared corpus as training needs it.

    Attributes:
        training: All training tokens as one row; they are mapped, and none is read.
        validation: The same of what is kept for validation.
        validation_bytes: Bytes in UTF-8 of the text of all validation tokens but the
            first, which is never predicted.
        digest: What tells this corpus from others, wherever it lies.
        manifest: All that its `prepared.json` says.
    """

    tokenizer: CharTokenizer | BPETokenizer
    training: TokenRow
    validation: TokenRow
    validation_bytes: int
    digest: str
    manifest: dict[str, Any]


def open_token_folder(
    path: str | os.PathLike[str], *, verify: bool = True
) -> TokenFolder:
    """Map what `mini-gpt prepare` wrote; no token is kept in memory.

    Args:
        path: The folder.
        verify: Whether to read each shard once to see that every byte is the one that
            was written. That takes about a second for each gigabyte.

    Raises:
        ValueError: naming what is missing, damaged, unfinished or of another tokenizer.
        OSError: if it cannot be read.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    tokenizer = read_folder_tokenizer(folder, manifest)
    try:
        training = _open_part(folder, manifest, "training", verify)
        validation = _open_part(folder, manifest, "validation", verify)
        text_bytes = int(manifest["validation"]["text_bytes"])
        digest = corpus_digest(manifest)
    except (LookupError, TypeError) as fault:
        raise ValueError(
            f"{folder / MANIFEST} is not as mini-gpt prepare writes it ({fault!r}); "
            "prepare the corpus again"
        ) from None
    unpredicted = count_text_bytes(tokenizer, validation[:1])
    predicted = text_bytes - unpredicted
    return TokenFolder(tokenizer, training, validation, predicted, digest, manifest)


def read_folder_tokenizer(
    folder: Path, manifest: Mapping[str, Any] | None = None
) -> CharTokenizer | BPETokenizer:
    """The tokenizer that the tokens of a folder were made with.

    Raises:
        ValueError: if it is missing, damaged or another one than the manifest says.
        OSError: if it cannot be read.
    """
    promised = (manifest or read_manifest(folder)).get("fingerprint")
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing; prepare the corpus again")
    tokenizer = load_tokenizer(path)
    if (found := fingerprint(tokenizer)) != promised:
        raise ValueError(
            f"{path} is another tokenizer than the one that the tokens were made with "
            f"(fingerprint {found}, not {promised}); prepare the corpus again"
        )
    return tokenizer


def _open_part(
    folder: Path, manifest: Mapping[str, Any], part: str, verify: bool
) -> TokenRow:
    """The shards of one part as one row, each the file that the manifest promises."""
    rows = []
    for entry in manifest[part]["shards"]:
        path = folder / Path(entry["name"]).name  # no file outside the folder
        if not path.is_file():
            raise ValueError(
                f"{path} is missing: {folder / MANIFEST} names it as a shard of "
                f"{part}; the same mini-gpt prepare makes it again"
            )
        shard = open_shard(path, manifest["fingerprint"], verify=verify)
        if shard.sha256 != entry["sha256"] or len(shard.tokens) != entry["tokens"]:
            raise ValueError(
                f"{path} is not the shard that {folder / MANIFEST} names: it holds "
                "other tokens; prepare the corpus again"
            )
        release_pages(shard.tokens)
        rows.append(shard.tokens)
    if not rows:
        return np.zeros(0, dtype=np.uint16)
    return rows[0] if len(rows) == 1 else TokenShards(rows)
