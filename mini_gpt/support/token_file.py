"""Token files: the ids of a corpus on disk, mapped into memory instead of read."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Integer

from mini_gpt.characters import Tokenizer
from mini_gpt.support.documents import encode_documents
from mini_gpt.support.files import atomic_file
from mini_gpt.support.tokenizer_file import fingerprint

# 64 bytes: the magic word "mini_gpt", version of the format (2), bytes for each token
# (2 or 4), number of tokens, fingerprint of the tokenizer, SHA-256 of the tokens, which
# follow.
TOKEN_FILE_HEADER = struct.Struct("<8sIIQ8s32s")
VERSION = 2


def write_token_file(
    path: str | os.PathLike[str], documents: Iterable[str], tokenizer: Tokenizer
) -> int:
    """Encode documents into a token file, whole or not at all, one document at a time.

    Args:
        path: The file to create or replace.
        documents: The texts; they may be produced one by one.
        tokenizer: Its fingerprint is kept in the file.

    Returns:
        The number of tokens written.

    Raises:
        ValueError: if there is no token to write, or the tokenizer refuses a text.
    """
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    count, digest = 0, sha256()
    with atomic_file(path) as partial, open(partial, "wb") as file:
        file.seek(TOKEN_FILE_HEADER.size)
        for ids in encode_documents(documents, tokenizer):
            written = np.array(ids, dtype=dtype).tobytes()
            file.write(written)
            digest.update(written)
            count += len(ids)
        if not count:
            raise ValueError(
                "the documents hold no text; a token file needs at least one token"
            )
        file.seek(0)
        file.write(
            TOKEN_FILE_HEADER.pack(
                b"mini_gpt",
                VERSION,
                dtype.itemsize,
                count,
                bytes.fromhex(fingerprint(tokenizer)),
                digest.digest(),
            )
        )
    return count


def open_token_file(
    path: str | os.PathLike[str], tokenizer: Tokenizer, *, verify: bool = True
) -> Integer[np.ndarray, " tokens"]:
    """Map a token file into memory: an array whose parts are read when they are used.

    Do not write into a token file that is in use. To touch a page of a mapped file that
    is no longer there ends the process (`SIGBUS`), and no Python code can prevent that;
    `BatchLoader` looks before each batch and raises an error instead, which leaves a
    moment. `write_token_file` is safe: it puts another file in the place of the old
    one, which stays whole for those who have it mapped.

    Args:
        path: What `write_token_file` wrote.
        tokenizer: The tokenizer that it must have been written with.
        verify: Whether to read the whole file once, from front to back, to see that
            every token is the one that was written. That takes about a second for each
            gigabyte, and no memory.

    Raises:
        ValueError: if it is not a token file, is damaged or was made by another
            tokenizer.
        OSError: if it cannot be read.
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe would keep us waiting
        raise ValueError(f"{path} is not a token file; write one with write_token_file")
    # Checked and mapped through one handle, so that it is the same file.
    with open(path, "rb") as file:
        header = file.read(TOKEN_FILE_HEADER.size)
        if len(header) < TOKEN_FILE_HEADER.size or not header.startswith(b"mini_gpt"):
            raise ValueError(
                f"{path} is not a token file; write one with write_token_file"
            )
        _, version, width, count, made_by, digest = TOKEN_FILE_HEADER.unpack(header)
        if version != VERSION or width not in (2, 4):
            raise ValueError(
                f"{path} is a token file of version {version} with {width} bytes for "
                f"each token; this program reads version {VERSION} with 2 or 4"
            )
        promised = TOKEN_FILE_HEADER.size + count * width
        found = os.fstat(file.fileno()).st_size
        if not count or promised != found:
            raise ValueError(
                f"{path} is damaged: {count} tokens should make {promised} bytes, it "
                f"has {found}; write it again"
            )
        if made_by.hex() != (ours := fingerprint(tokenizer)):
            raise ValueError(
                f"{path} was made by another tokenizer (fingerprint {made_by.hex()}, "
                f"yours {ours}); write it again with yours"
            )
        dtype = np.dtype(f"<u{width}")
        if verify and _digest_of_rest(file) != digest:
            raise ValueError(
                f"{path} is damaged: its tokens are not those that were written; write "
                "it again"
            )
        return np.memmap(
            file, dtype=dtype, mode="r", offset=TOKEN_FILE_HEADER.size, shape=(count,)
        )


def _digest_of_rest(file: BinaryIO) -> bytes:
    """The SHA-256 of a file from where it stands, read in parts and not kept."""
    digest = sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.digest()
