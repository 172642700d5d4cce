"""What a corpus consists of, in parts that each become one shard.

The parts follow from the source alone, not from the number of processes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, TypeAlias

from mini_gpt.support.corpus import SHAKESPEARE, corpus_name
from mini_gpt.support.files import text_digest
from mini_gpt.support.prepare_rows import (
    HubShard,
    Lines,
    RowGroups,
    Works,
    hub_shards,
    lines,
    row_groups,
)
from mini_gpt.support.prepare_text import Fragment, TextStretch, text_stretches

Segment: TypeAlias = TextStretch | Lines | RowGroups | HubShard | Works
Part: TypeAlias = tuple[Segment, ...]

HUB = "hub:"
_KINDS = {".txt": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
# Of the source, for each shard: no shard is smaller without need, and a mapped shard
# keeps a file open, of which many systems allow 1,024.
_SMALLEST, _MOST_SHARDS = 16 << 20, 256
_HUB_BYTES = 128 << 20  # how much text a data set on the hub has, is not known before


@dataclass(frozen=True)
class Source:
    """Where documents come from.

    Attributes:
        name: A text file, a file of JSON lines or a parquet file; a folder of such;
            "hub:" and a data set's name; or "shakespeare".
        text_field: The field of a row that holds its text.
        subset: Of a data set on the hub; None: the one there is.
        split: Of a data set on the hub.
    """

    name: str
    text_field: str = "text"
    subset: str | None = None
    split: str = "train"


@dataclass(frozen=True)
class Plan:
    """The parts of a corpus.

    Attributes:
        kind: Of the source, for the manifest.
        files: How many files there are.
        size: Bytes of the source, as they count for the progress; 0: not known.
        shard_bytes: Bytes of the source that make a shard, about.
        state: A digest of names, sizes and times of the files: it changes with them.
    """

    kind: str
    files: int
    size: int
    shard_bytes: int
    parts: list[Part]
    state: str


def read_part(part: Part, skip: int = 0) -> Iterator[Fragment]:
    """The documents of a part, in their order.

    Args:
        skip: How many to leave out, of a data set on the hub.
    """
    for segment in part:
        yield from (
            segment.read(skip) if isinstance(segment, HubShard) else segment.read()
        )


def rolls(part: Part) -> bool:
    """Whether a part is of unknown length, and becomes as many shards as it takes."""
    return any(isinstance(segment, HubShard) for segment in part)


def make_plan(source: Source, shard_bytes: int | None = None) -> Plan:
    """Cut a source into parts; files are looked through, but not read as text.

    Args:
        shard_bytes: Bytes of the source for a shard, about; None: by its size.

    Raises:
        ValueError: if there is nothing in it, or something that cannot be read.
        FileNotFoundError: if there is no such file or folder.
        OSError: if it cannot be read or fetched.
    """
    if source.name.startswith(HUB):
        name = source.name.removeprefix(HUB)
        shards = hub_shards(name, source.subset, source.split, source.text_field)
        parts: list[Part] = [(shard,) for shard in shards]
        state = text_digest(repr(dataclasses.astuple(source)))
        return Plan("hub", len(parts), 0, shard_bytes or _HUB_BYTES, parts, state)
    if source.name == SHAKESPEARE:
        works = Works()
        return Plan(SHAKESPEARE, 0, works.size, _SMALLEST, [(works,)], SHAKESPEARE)
    files = corpus_files(source.name)
    stats = [os.stat(file) for file in files]
    size = sum(stat.st_size for stat in stats)
    wanted = shard_bytes or max(_SMALLEST, ceil(size / _MOST_SHARDS))
    parts = _packed(files, source.text_field, wanted)
    if not parts:
        raise ValueError(f"{source.name} holds no text; give a corpus that has some")
    kinds = {kind_of(file) for file in files}
    times = [
        (os.fsencode(f).hex(), s.st_size, s.st_mtime_ns)
        for f, s in zip(files, stats, strict=True)
    ]
    return Plan(
        kinds.pop() if len(kinds) == 1 else "mixed",
        len(files),
        sum(segment.size for part in parts for segment in part),
        wanted,
        parts,
        text_digest(repr((times, source.text_field, wanted))),
    )


def source_name(name: str) -> str:
    """A name of a source that holds in every folder."""
    return name if name.startswith(HUB) else corpus_name(name)


def corpus_files(name: str) -> list[str]:
    """The files that a path stands for, in the order of their paths.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if a folder has none.
    """
    path = Path(name)
    if path.is_file():
        return [os.fspath(path)]
    if not path.is_dir():
        raise FileNotFoundError(
            f"no corpus {name!r}: give a .txt, .jsonl or .parquet file, a folder of "
            "them, 'shakespeare', or hub: and the name of a data set"
        )
    found = sorted(p for p in path.rglob("*") if p.suffix in _KINDS and p.is_file())
    if not found:
        raise ValueError(
            f"the folder {name} holds no .txt, .jsonl or .parquet file; give one that "
            "does"
        )
    return [os.fspath(file) for file in found]


def kind_of(file: str) -> str:
    """What kind of file it is by its name; others than those we know are text."""
    return _KINDS.get(Path(file).suffix, "text")


def _packed(files: list[str], field: str, part_bytes: int) -> list[Part]:
    """Stretches of files, small ones together, until a part has its size."""
    parts: list[Part] = []
    open_part: list[Segment] = []
    filled = 0
    for file in files:
        for segment in _segments(file, field, part_bytes - filled, part_bytes):
            open_part.append(segment)
            filled += segment.size
            if filled >= part_bytes:
                parts.append(tuple(open_part))
                open_part, filled = [], 0
    return [*parts, tuple(open_part)] if open_part else parts


def _segments(file: str, field: str, room: int, part_bytes: int) -> Iterator[Any]:
    """A file in stretches; the first as long as there is room in the part."""
    kind = kind_of(file)
    if kind == "text":
        return text_stretches(file, room, part_bytes)
    if kind == "jsonl":
        return lines(file, room, part_bytes, field)
    return row_groups(file, room, part_bytes, field)
