"""Shards: files of tokens that know where documents begin in them, mapped to be read.

A shard is a token file of version 3: a header of 128 bytes; the tokens; zeros up to a
multiple of 8; for each document that begins in it the place of its first token, in 8
bytes. Everything is little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Integer

from mini_gpt.support.files import atomic_file

# The magic word "mini_gpt", version of the format, bytes for each token (2 or 4),
# number of tokens, fingerprint of the tokenizer, SHA-256 of all that follows the
# header, number of documents that begin here.
SHARD_HEADER = struct.Struct("<8sIIQ8s32sQ56x")
VERSION = 3
_START = np.dtype("<u8")


class TokenShard(NamedTuple):
    """A shard as it is read.

    Attributes:
        tokens: The ids.
        starts: The place of each document's first token. A shard whose first start is
            not 0, or that has none, goes on with the last document of the one before.
        sha256: The digest that its header promises of what follows it, in hexadecimal.
    """

    tokens: Integer[np.ndarray, " tokens"]
    starts: Integer[np.ndarray, " documents"]
    sha256: str


class Written(NamedTuple):
    """What a shard holds, as its writer counted: what a manifest tells of it."""

    tokens: int
    documents: int
    sha256: str


def shard_dtype(vocab_size: int) -> np.dtype[Any]:
    """The type that shards keep the ids of a vocabulary in."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


class ShardWriter:
    """Takes the tokens of a shard, part by part; `new_shard` makes one.

    Attributes:
        tokens: How many there are so far.
        written: What the shard holds; None until it is complete, and where no token
            came.
    """

    def __init__(self, file: BinaryIO, vocab_size: int, fingerprint: str) -> None:
        self.tokens = 0
        self.written: Written | None = None
        self._file, self._fingerprint = file, bytes.fromhex(fingerprint)
        self._dtype = shard_dtype(vocab_size)
        self._starts: list[np.ndarray] = []
        self._digest = sha256()
        file.seek(SHARD_HEADER.size)

    def begin_document(self) -> None:
        """What is added from here on belongs to another document."""
        self.add_starts(np.array([self.tokens], dtype=_START))

    def add_starts(self, starts: Integer[np.ndarray, " documents"]) -> None:
        """Places at which documents begin, after those that are known."""
        self._starts.append(starts.astype(_START, copy=False))

    def add(self, ids: Integer[np.ndarray, " tokens"]) -> None:
        """Append ids, which the vocabulary must have."""
        self._append(ids.astype(self._dtype, copy=False).tobytes())
        self.tokens += len(ids)

    def finish(self) -> None:
        """Write where documents begin, and at last the header."""
        starts = np.concatenate([np.zeros(0, _START), *self._starts])
        self._append(bytes(-self.tokens * self._dtype.itemsize % 8) + starts.tobytes())
        self._file.seek(0)
        self._file.write(
            SHARD_HEADER.pack(
                b"mini_gpt",
                VERSION,
                self._dtype.itemsize,
                self.tokens,
                self._fingerprint,
                self._digest.digest(),
                len(starts),
            )
        )
        self.written = Written(self.tokens, len(starts), self._digest.hexdigest())

    def _append(self, part: bytes) -> None:
        self._file.write(part)
        self._digest.update(part)


class _NothingToWrite(Exception):
    """Keeps `atomic_file` from leaving an empty file."""


@contextmanager
def new_shard(
    path: str | os.PathLike[str], vocab_size: int, fingerprint: str
) -> Iterator[ShardWriter]:
    """Yield a writer; what it got is the shard when the block ends without error.

    Until then nothing is there, or what was there before; so it is where no token came.

    Args:
        path: The file to create or replace.
        vocab_size: Of the tokenizer; says how many bytes a token takes.
        fingerprint: Of the tokenizer, in hexadecimal.
    """
    with (
        suppress(_NothingToWrite),
        atomic_file(path) as partial,
        open(partial, "wb", buffering=1 << 20) as file,
    ):
        writer = ShardWriter(file, vocab_size, fingerprint)
        yield writer
        if not writer.tokens:
            raise _NothingToWrite
        writer.finish()


def open_shard(
    path: str | os.PathLike[str], fingerprint: str, *, verify: bool = True
) -> TokenShard:
    """Map a shard into memory: arrays whose parts are read when they are used.

    Args:
        path: What `new_shard` wrote.
        fingerprint: Of the tokenizer that it must have been written with.
        verify: Whether to read the whole file once, to see that every byte is the one
            that was written. That takes about a second for each gigabyte.

    Raises:
        ValueError: naming the file, if it is not a shard, is damaged or was made by
            another tokenizer.
        OSError: if it cannot be read.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise ValueError(f"{path} is not a token shard; write it with mini-gpt prepare")
    with open(path, "rb") as file:  # checked and mapped through one handle
        header = file.read(SHARD_HEADER.size)
        if len(header) < SHARD_HEADER.size or not header.startswith(b"mini_gpt"):
            raise ValueError(
                f"{path} is not a token shard; write it with mini-gpt prepare"
            )
        _, version, width, count, made_by, digest, documents = SHARD_HEADER.unpack(
            header
        )
        if version != VERSION or width not in (2, 4):
            raise ValueError(
                f"{path} is a token file of version {version} with {width} bytes for "
                f"each token; a shard has version {VERSION} and 2 or 4 bytes"
            )
        end = SHARD_HEADER.size + count * width
        promised = end + -count * width % 8 + 8 * documents
        found = os.fstat(file.fileno()).st_size
        if not count or promised != found:
            raise ValueError(
                f"{path} is damaged: {count} tokens and {documents} documents should "
                f"make {promised} bytes, it has {found}; prepare the corpus again"
            )
        if made_by.hex() != fingerprint:
            raise ValueError(
                f"{path} was made by another tokenizer (fingerprint {made_by.hex()}, "
                f"not {fingerprint}); prepare the corpus again"
            )
        if verify:
            seen = sha256()
            while part := file.read(1 << 20):
                seen.update(part)
            if seen.digest() != digest:
                raise ValueError(
                    f"{path} is damaged: its bytes are not those that were written; "
                    "prepare the corpus again"
                )
        tokens = np.memmap(
            file, f"<u{width}", mode="r", offset=SHARD_HEADER.size, shape=(count,)
        )
        file.seek(promised - 8 * documents)
        starts = np.fromfile(file, dtype=_START, count=documents)
    return TokenShard(tokens, starts, digest.hex())
