"""JSON lines, parquet files and data sets of the hub: the same documents as a text file."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mini_gpt.support.prepare_plan import Source, make_plan, read_part
from mini_gpt.support.prepare_rows import needed

TEXTS = [f"document {number} " + "word " * number for number in range(40)]


def read(plan_of: Source, shard_bytes: int = 300) -> list[str]:
    plan = make_plan(plan_of, shard_bytes)
    return [fragment.text for part in plan.parts for fragment in read_part(part)]


def write_lines(path: Path, rows: list[Any], end: str = "\n") -> Path:
    path.write_text(end.join(json.dumps(row) for row in rows) + end, encoding="utf-8")
    return path


@pytest.mark.parametrize("shard_bytes", [1, 77, 300, 5000, 10**9])
def test_lines_are_read_once_wherever_the_file_is_cut(shard_bytes: int, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": text, "id": 3} for text in TEXTS])
    assert read(Source(str(path)), shard_bytes) == TEXTS
    parts = make_plan(Source(str(path)), shard_bytes).parts
    assert (len(parts) == 1) == (shard_bytes > path.stat().st_size)


def test_other_fields_empty_rows_and_line_ends(tmp_path: Path) -> None:
    rows = [{"body": "a\r\nb"}, {"body": None}, {"body": " \n"}, {"body": "", "text": 1}]
    path = write_lines(tmp_path / "a.jsonl", [*rows, {"body": "c"}], "\r\n\n")
    assert read(Source(str(path), text_field="body")) == ["a\r\nb", "c"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": ', "the line at byte 14, is not JSON"),
        ("[1]", "holds no JSON object; write one on each line"),
        ('{"body": "a", "id": 1}', "no field 'text'; its fields are: body, id; name one with --t"),
        ('{"text": 3}', "has no text in its field 'text', but 3; name another with --text-field"),
    ],
)
def test_a_line_that_is_no_document_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a"}}\n{line}\n')
    with pytest.raises(ValueError, match=rf"a\.jsonl.*{message}"):
        read(Source(str(path)))


@pytest.mark.parametrize("shard_bytes", [1, 1500, 10**9])
def test_a_parquet_file_gives_its_rows(shard_bytes: int, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    table = arrow.table({"id": list(range(41)), "body": [*TEXTS, None]})
    parquet.write_table(table, path, row_group_size=7)
    assert read(Source(str(path), text_field="body"), shard_bytes) == TEXTS
    parts = make_plan(Source(str(path), text_field="body"), shard_bytes).parts
    assert (len(parts) == 6) == (shard_bytes == 1)
    with pytest.raises(ValueError, match=r"a\.parquet has no field 'text'; .*: id, body; name"):
        read(Source(str(path)))
    with pytest.raises(ValueError, match=r"a\.parquet has no text in its field 'id', but 0"):
        read(Source(str(path), text_field="id"))


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    path.write_text("text")
    with pytest.raises(ValueError, match=r"a\.parquet is not a parquet file"):
        read(Source(str(path)))


def test_what_is_not_installed_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    path = tmp_path / "a.parquet"
    path.touch()
    with pytest.raises(ValueError, match=r"needs pyarrow; run: pip install .*, or pip install pya"):
        read(Source(str(path)))
    with pytest.raises(ValueError, match=r"a data set of the hub needs datasets; run: pip inst"):
        read(Source("hub:owner/name"))
    assert needed("json", "") is json


class Streamed:
    """Stands for the streamed data set of the library `datasets`."""

    def __init__(self, rows: list[dict[str, Any]], num_shards: int) -> None:
        self.rows, self.num_shards = rows, num_shards

    def shard(self, num_shards: int, index: int) -> Streamed:
        size = len(self.rows) // num_shards
        end = None if index + 1 == num_shards else size * (index + 1)
        return Streamed(self.rows[size * index : end], 1)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A module in the place of `datasets`; gives what it was asked for."""
    calls = []

    def load_dataset(name: str, subset: str | None, *, split: str, streaming: bool) -> Streamed:
        calls.append((name, subset, split, streaming))
        if split != "train":
            raise ValueError(f"Unknown split {split!r}")
        return Streamed([{"text": text} for text in [*TEXTS, " "]], 3)

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return calls


def test_a_data_set_of_the_hub_is_streamed_in_its_shards(asked: list[tuple[Any, ...]]) -> None:
    source = Source("hub:owner/name", subset="small")
    assert read(source) == TEXTS
    assert set(asked) == {("owner/name", "small", "train", True)}
    plan = make_plan(source)
    assert [shard.index for (shard,) in plan.parts] == [0, 1, 2]  # type: ignore[union-attr]
    assert [f.text for f in read_part(plan.parts[2], skip=2)] == TEXTS[28:]
    with pytest.raises(ValueError, match=r"'owner/name' cannot be opened \(Unknown split 'no'\)"):
        read(Source("hub:owner/name", split="no"))


@pytest.mark.slow
def test_the_library_datasets_streams_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hub is needed: the library takes a local folder by the same call."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for number in range(2):
        rows = [{"text": text} for text in TEXTS[20 * number : 20 * number + 20]]
        write_lines(tmp_path / f"{number}.jsonl", rows)
    assert read(Source(f"hub:{tmp_path}")) == TEXTS
    assert len(make_plan(Source(f"hub:{tmp_path}")).parts) == 2


def test_a_folder_is_all_its_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "c.txt").write_text("last")
    write_lines(tmp_path / "b" / "x.jsonl", [{"text": "middle"}])
    (tmp_path / "a.txt").write_text("first<|endoftext|>second")
    (tmp_path / "notes.md").write_text("not this")
    source = Source(str(tmp_path))
    assert read(source, 1) == read(source, 10**6) == ["first", "second", "middle", "last"]
    plan = make_plan(source)
    assert (plan.kind, plan.files, len(plan.parts)) == ("mixed", 3, 1)
    (tmp_path / "c.txt").write_text("longer")
    assert make_plan(source).state != plan.state


def test_no_corpus_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no corpus '.*nothing': give a \.txt, \.jsonl"):
        make_plan(Source(str(tmp_path / "nothing")))
    with pytest.raises(ValueError, match=r"holds no \.txt, \.jsonl or \.parquet file"):
        make_plan(Source(str(tmp_path)))
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="holds no text"):
        make_plan(Source(str(tmp_path)))
