"""What one process does for `mini-gpt prepare`: a part of a corpus becomes shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from mini_gpt.support.files import atomic_file, printable, read_json
from mini_gpt.support.prepare_encode import Encoder
from mini_gpt.support.prepare_plan import Part, read_part, rolls
from mini_gpt.support.prepare_split import Assignment, Side, Split, Standing
from mini_gpt.support.prepare_text import Fragment
from mini_gpt.support.shard_file import ShardWriter, new_shard, open_shard
from mini_gpt.support.token_manifest import UNFINISHED

SIDES: tuple[Side, ...] = ("training", "validation")
_PREFIX: dict[Side, str] = {"training": "train", "validation": "validation"}
TOLD_EVERY = 1 << 20  # bytes of the source
_AT_ONCE = 1 << 16  # tokens that are written at once


class Stopped(Exception):
    """The work was asked to end."""


@dataclass(frozen=True)
class Task:
    """A part, and what there is to know for making its shards.

    Attributes:
        folder: It has the tokenizer already.
        made_by: The tokenizer's fingerprint.
        number: Of the part in the corpus.
        standing: Where in the corpus it begins.
    """

    folder: Path
    made_by: str
    number: int
    part: Part
    split: Split
    standing: Standing
    shard_bytes: int


@dataclass(frozen=True)
class Shard:
    """What a manifest tells of a shard."""

    name: str
    tokens: int
    documents: int
    text_bytes: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """What is noted when a part's shard is written, or the next of its shards.

    Attributes:
        documents: Read so far in this part, the earlier shards included.
        size: Bytes of the source, read for this shard.
        finished: Whether the part has no more.
    """

    documents: int
    size: int
    finished: bool
    training: Shard | None
    validation: Shard | None


def make_shards(
    task: Task, encoder: Encoder, tell: Callable[[int], None]
) -> list[Record]:
    """Write the shards of a part that are not there yet; returns what all hold.

    Args:
        tell: Is called with the bytes that were read since the last call; may raise
            `Stopped`.

    Raises:
        ValueError, OSError: from the source; from encoding, naming a document.
    """
    records = finished_records(task, encoder.fingerprint)
    if records and records[-1].finished:
        return records
    skip = records[-1].documents if records else 0
    standing = Standing(task.standing.documents + skip, task.standing.characters)
    assignment = Assignment(task.split, standing)
    fragments = read_part(task.part, skip)
    read = skip
    while not records or not records[-1].finished:
        number = len(records)
        with ExitStack() as stack:
            making = {
                side: _Making(stack, task, number, side, encoder) for side in SIDES
            }
            size, documents, finished = _fill(
                making, task, assignment, fragments, encoder, tell
            )
        read += documents
        made = {side: making[side].shard() for side in SIDES}
        record = Record(read, size, finished, made["training"], made["validation"])
        _write_record(record_path(task.folder, task.number, number), record)
        records.append(record)
    return records


class _Making:
    """A shard that is being written, for one of the sides."""

    def __init__(
        self, stack: ExitStack, task: Task, number: int, side: Side, encoder: Encoder
    ) -> None:
        self.path = shard_path(task.folder, task.number, number, side)
        self.text_bytes = self._waiting = 0
        self._parts: list[np.ndarray] = []
        self._starts: list[int] = []
        self.encoder = encoder
        vocab_size = encoder.tokenizer.vocab_size
        made_by = encoder.fingerprint
        self.writer: ShardWriter = stack.enter_context(
            new_shard(self.path, vocab_size, made_by)
        )

    def begin_document(self) -> None:
        """What is added from here on belongs to another document."""
        self._starts.append(self.writer.tokens + self._waiting)

    def add(self, ids: Integer[np.ndarray, " _"]) -> None:
        """Append ids; those of many short documents are written together."""
        self._parts.append(ids)
        self._waiting += len(ids)
        if self._waiting >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Hand on what waits."""
        if self._parts:
            ids = np.concatenate(self._parts)
            self.writer.add(ids)
            self.text_bytes += self.encoder.text_bytes(ids)
        self.writer.add_starts(np.array(self._starts, dtype=np.int64))
        self._parts, self._starts, self._waiting = [], [], 0

    def shard(self) -> Shard | None:
        """What was written; None if nothing was."""
        written = self.writer.written
        if written is None:
            return None
        tokens, documents, sha256 = written
        return Shard(self.path.name, tokens, documents, self.text_bytes, sha256)


def _fill(
    making: dict[Side, _Making],
    task: Task,
    assignment: Assignment,
    fragments: Iterator[Fragment],
    encoder: Encoder,
    tell: Callable[[int], None],
) -> tuple[int, int, bool]:
    """Encode until a shard is full or the part at its end.

    Returns:
        Bytes of the source, documents that were read, and whether it was the end.
    """
    size = untold = documents = 0
    rolled = rolls(task.part)
    for fragment in fragments:
        for piece in assignment.pieces(fragment):
            place = making[piece.side]
            if piece.begins:
                place.begin_document()
            try:
                for ids in encoder.encode(piece):
                    place.add(ids)
            except ValueError as fault:
                begins = printable(piece.text, 60)
                raise ValueError(
                    f"{fault}; it stands in a document with {begins}"
                ) from None
        documents += fragment.begins
        size += fragment.size
        untold += fragment.size
        if untold >= TOLD_EVERY:
            tell(untold)
            untold = 0
        if rolled and size >= task.shard_bytes:
            break
    else:
        rolled = False
    for place in making.values():
        place.flush()
    tell(untold)
    return size, documents, not rolled


def shard_path(folder: Path, part: int, number: int, side: Side) -> Path:
    """Where a shard is written; those of validation are joined at the end."""
    more = f".{number:03}" if number else ""
    name = f"{_PREFIX[side]}-{part:05}{more}.tokens"
    return folder / name if side == "training" else folder / UNFINISHED / name


def record_path(folder: Path, part: int, number: int) -> Path:
    """Where it is noted that the shards of a part are there."""
    return folder / UNFINISHED / f"{part:05}.{number:03}.json"


def finished_records(task: Task, made_by: str) -> list[Record]:
    """What is noted of a part, as far as its shards are whole.

    A shard that is not what was noted is made again, and what follows it in the part.
    """
    records: list[Record] = []
    while (path := record_path(task.folder, task.number, len(records))).is_file():
        try:
            record = _read_record(path)
            for side in SIDES:
                _check(task, len(records), side, record, made_by)
        except (ValueError, OSError, KeyError, TypeError):
            break
        records.append(record)
    return records


def _check(task: Task, number: int, side: Side, record: Record, made_by: str) -> None:
    """Raise ValueError or OSError where a shard is not the one that was noted."""
    noted = record.training if side == "training" else record.validation
    path = shard_path(task.folder, task.number, number, side)
    if noted is not None and open_shard(path, made_by).sha256 != noted.sha256:
        raise ValueError(f"{path} is another shard")


def _write_record(path: Path, record: Record) -> None:
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")


def _read_record(path: Path) -> Record:
    content = read_json(path)
    for side in SIDES:
        if content[side] is not None:
            content[side] = Shard(**content[side])
    return Record(**content)
