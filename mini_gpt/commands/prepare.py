"""`mini-gpt prepare`: a corpus of any size becomes tokens on disk, once."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mini_gpt.support.prepare import Settings, prepare_tokens
from mini_gpt.support.prepare_plan import HUB, Source
from mini_gpt.support.token_manifest import MANIFEST, UNFINISHED

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Prepare:
    """Make tokens of a corpus of any size, once, for `mini-gpt train --corpus`. Where
    it was interrupted, the same command goes on.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A text file, where <|endoftext|> parts documents; a .jsonl or .parquet file; a
    folder of .txt, .jsonl and .parquet files; hub:OWNER/NAME for a data set on the
    Hugging Face hub; or shakespeare.
    """
    out: Path
    """Folder for the tokens."""
    tokenizer: str = "gpt2"
    """gpt2; bpe, learned from a sample of the training part; characters, all that occur
    in the corpus; or the file of a tokenizer, or the folder or name of a model, to use
    its own. Of several documents, each ends with a token of its own where there is one.
    """
    vocab_size: int | None = None
    """How many tokens bpe learns (8,192 if not said)."""
    sample_megabytes: float = 10.0
    """How much text bpe learns from."""
    validation_fraction: float = 0.01
    """Share of the documents that are kept for validation. Which ones follows from how
    they begin; where they are few, they are the last ones. Of billions of tokens,
    0.0005 is plenty.
    """
    text_field: str = "text"
    """The field of a row that holds its text."""
    subset: str | None = None
    """Subset of a data set on the hub, for instance sample-10BT."""
    split: str = "train"
    """Split of a data set on the hub."""
    processes: int | None = None
    """How many encode side by side; as many as there are processors if not said."""
    shard_megabytes: float | None = None
    """Text for each file of tokens; if not said, as much as makes at most some 256
    files, and at least 16.8.
    """


def run_prepare(command: Prepare) -> None:
    """Prepare, and tell what came of it."""
    if not command.source.startswith(HUB) and (
        command.subset is not None or command.split != "train"
    ):
        raise ValueError(
            f"--subset and --split are for data sets on the hub; write {HUB} before "
            "the name of one"
        )
    source = Source(command.source, command.text_field, command.subset, command.split)
    size = command.shard_megabytes
    settings = Settings(
        tokenizer=command.tokenizer,
        vocab_size=command.vocab_size,
        sample_bytes=round(command.sample_megabytes * MEGABYTE),
        validation_fraction=command.validation_fraction,
        shard_bytes=None if size is None else round(size * MEGABYTE),
    )
    processes = _processors() if command.processes is None else command.processes
    complete = (command.out / MANIFEST).exists()
    goes_on = (command.out / UNFINISHED).exists()
    begun = time.perf_counter()
    try:
        manifest = prepare_tokens(source, command.out, settings, processes=processes)
    except KeyboardInterrupt:
        print("\nwhat is done is kept; the same command goes on", file=sys.stderr)
        raise
    seconds = time.perf_counter() - begun
    if complete:
        print(f"{command.out} is complete, and each of its bytes as it was written")
    for side in ("training", "validation"):
        part = manifest[side]
        shards = len(part["shards"])
        print(
            f"{side}: {part['tokens']:,} tokens of {part['documents']:,} documents, "
            f"{part['text_bytes']:,} bytes of text, in {shards:,} "
            f"file{'s' * (shards != 1)}"
        )
    if not complete:
        read = manifest["training"]["text_bytes"] + manifest["validation"]["text_bytes"]
        speed = "" if goes_on else f", {read / MEGABYTE / seconds:,.1f} MB/s"
        print(f"{seconds:,.0f} s with {processes} processes{speed}")
    print(f"train on it with: mini-gpt train --corpus {command.out}")


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # fewer in a container, perhaps
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
