"""Data sets whose documents are rows: JSON lines, parquet files, the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from os import SEEK_END
from typing import Any

from mini_gpt.support.corpus import SHAKESPEARE, load_documents
from mini_gpt.support.files import printable
from mini_gpt.support.prepare_text import Fragment

_ROWS = 256  # of a parquet file that are in memory at once


@dataclass(frozen=True)
class Lines:
    """A part of a file with a JSON object on each line."""

    path: str
    start: int
    end: int
    field: str

    @property
    def size(self) -> int:
        """Bytes of the source."""
        return self.end - self.start

    def read(self) -> Iterator[Fragment]:
        """A document for each row.

        Raises:
            ValueError: naming the file and the byte where a line begins that is no such
                row.
            OSError: if it cannot be read.
        """
        place = self.start
        with open(self.path, "rb") as file:
            file.seek(self.start)
            for line in file:
                if place >= self.end:
                    break
                where = f"{self.path}, the line at byte {place:,},"
                if row := line.removeprefix(b"\xef\xbb\xbf").strip():
                    text = _text_of(_parsed(row, where), self.field, where)
                    if text is not None:
                        yield Fragment(text, len(line))
                place += len(line)


def lines(path: str, room: int, part_bytes: int, field: str) -> Iterator[Lines]:
    """Cut a file of JSON lines at ends of lines.

    Args:
        room: Bytes that the first part should have; the others have `part_bytes`.
    """
    with open(path, "rb") as file:
        size, start = file.seek(0, SEEK_END), 0
        while start < size:
            file.seek(min(start + room, size) - 1)
            file.readline()
            yield Lines(path, start, file.tell(), field)
            start, room = file.tell(), part_bytes


def _parsed(row: bytes, where: str) -> Mapping[str, Any]:
    """A line as a JSON object."""
    try:
        content = json.loads(row)
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"{where} is not JSON ({printable(fault)})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where} holds no JSON object; write one on each line")
    return content


def _text_of(row: Mapping[str, Any], field: str, where: str) -> str | None:
    """The text of a row; None where it has none, or white space only."""
    if field not in row:
        names = printable(", ".join(map(str, row)) or "none")
        raise ValueError(
            f"{where} has no field {field!r}; its fields are: {names}; name one with "
            "--text-field"
        )
    text = row[field]
    if text is not None and not isinstance(text, str):
        raise ValueError(
            f"{where} has no text in its field {field!r}, but {printable(text, 60)}; "
            "name another with --text-field"
        )
    return text if text and not text.isspace() else None


@dataclass(frozen=True)
class RowGroups:
    """A part of a parquet file: some of the groups that its rows come in."""

    path: str
    start: int
    end: int
    field: str
    size: int

    def read(self) -> Iterator[Fragment]:
        """A document for each row; errors as for JSON lines."""
        with _parquet(self.path) as file:
            groups = range(self.start, self.end)
            for batch in file.iter_batches(_ROWS, groups, [self.field]):
                for text in batch.column(0).to_pylist():
                    row = {self.field: text}
                    if (text := _text_of(row, self.field, self.path)) is not None:
                        yield Fragment(text, len(text))


def row_groups(
    path: str, room: int, part_bytes: int, field: str
) -> Iterator[RowGroups]:
    """Cut a parquet file between its groups of rows.

    Args:
        room: Bytes of text that the first part should have; the others have
            `part_bytes`.

    Raises:
        ValueError: if it is not such a file, or has no such column.
    """
    with _parquet(path) as file:
        names = [*file.schema_arrow.names]
        _text_of(dict.fromkeys(names), field, path)  # refuse a column that is not there
        columns = [file.schema.column(place).path for place in range(len(file.schema))]
        if field not in columns:
            raise ValueError(
                f"{path} has no text in its field {field!r}, but other fields; name "
                "another with --text-field"
            )
        column = columns.index(field)
        start = size = 0
        for group in range(file.num_row_groups):
            size += (
                file.metadata.row_group(group).column(column).total_uncompressed_size
            )
            if size >= room or group + 1 == file.num_row_groups:
                yield RowGroups(path, start, group + 1, field, size)
                start, size, room = group + 1, 0, part_bytes


def _parquet(path: str) -> Any:
    """An open parquet file."""
    arrow = needed("pyarrow.parquet", f"{path} is a parquet file, which needs pyarrow")
    try:
        return arrow.ParquetFile(path, buffer_size=1 << 20)
    except ValueError as fault:  # those of pyarrow are such
        raise ValueError(
            f"{path} is not a parquet file that can be read ({printable(fault)})"
        ) from None


@dataclass(frozen=True)
class HubShard:
    """One of the files that a data set on the Hugging Face hub consists of, streamed.

    Attributes:
        name: The data set's name there, or a local folder of files.
        subset: Which of its configurations; None: the one there is.
    """

    name: str
    subset: str | None
    split: str
    index: int
    count: int
    field: str
    size: int = 0  # nobody knows before it has been read

    def read(self, skip: int = 0) -> Iterator[Fragment]:
        """A document for each row after the first `skip` documents."""
        rows = streamed(self.name, self.subset, self.split)
        if self.count > 1:
            rows = rows.shard(num_shards=self.count, index=self.index)
        where = f"the data set {self.name}"
        texts = (_text_of(row, self.field, where) for row in rows)
        for text in islice((text for text in texts if text is not None), skip, None):
            yield Fragment(text, len(text))


def hub_shards(
    name: str, subset: str | None, split: str, field: str
) -> Iterator[HubShard]:
    """The files of a data set on the hub.

    Raises:
        ValueError: if there is no such data set, subset or split, or `datasets` is not
            installed.
        OSError: if it cannot be reached.
    """
    count = max(1, streamed(name, subset, split).num_shards)
    for index in range(count):
        yield HubShard(name, subset, split, index, count, field)


def streamed(name: str, subset: str | None, split: str) -> Any:
    """A data set of the hub as an iterable that fetches what it is asked for."""
    library = needed("datasets", "a data set of the hub needs datasets")
    try:
        return library.load_dataset(name, subset, split=split, streaming=True)
    except (ValueError, OSError) as fault:
        if isinstance(fault, OSError) and not isinstance(fault, FileNotFoundError):
            raise
        raise ValueError(
            f"the data set {name!r} cannot be opened ({printable(fault)}); look at its "
            "name, --subset and --split"
        ) from None


def needed(module: str, why: str) -> Any:
    """A library that is not always there.

    Raises:
        ValueError: saying why it is needed and how to install it.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ValueError(
            f'{why}; run: pip install "mini-gpt[data]", or pip install '
            f"{module.partition('.')[0]}"
        ) from None


@dataclass(frozen=True)
class Works:
    """The works of Shakespeare, as they are fetched."""

    size: int = 5_000_000  # about

    def read(self) -> Iterator[Fragment]:
        """A document for each work."""
        for text in load_documents(SHAKESPEARE):
            yield Fragment(text, len(text))
