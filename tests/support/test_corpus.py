"""Texts of a corpus: byte-order marks and line ends, folders, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mini_gpt.support.corpus import decode_text, load_corpus, load_documents, read_text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\ntwo\n", "one\ntwo\n"),
        (b"\xef\xbb\xbfone\r\ntwo\rthree\n\r\n", "one\ntwo\nthree\n\n"),
        ("\ufeff\ufeffa\ufeff".encode(), "\ufeffa\ufeff"),  # only the first is a byte-order mark
        (b"", ""),
    ],
)
def test_marks_and_line_ends(data: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_text(tmp_path / "a.txt") == decode_text(data, "a") == text


def test_a_file_that_is_not_utf8_is_named_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("a rosé".encode("latin-1"))
    with pytest.raises(ValueError, match=r"old\.txt is not UTF-8: byte 0xe9 at offset 5"):
        read_text(tmp_path / "old.txt")


def test_a_folder_is_its_text_files_in_order(tmp_path: Path) -> None:
    for name, text in {"b.txt": "B", "a/z.txt": "Z", "a.md": "no", "c.txt/d.txt": "D"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert load_documents(tmp_path) == ["Z", "B", "D"]
    assert load_corpus(str(tmp_path)) == "Z\n\nB\n\nD"
    assert load_documents(tmp_path / "b.txt") == ["B"]


def test_a_corpus_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no corpus '.*nowhere': give 'shakespeare'"):
        load_documents(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no text"):
        load_documents(tmp_path)
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"blank\.txt' holds no text"):
        load_corpus(tmp_path / "blank.txt")


def test_the_default_corpus() -> None:
    text = load_corpus()
    assert len(text) == 5_057_280
    assert len(load_documents("shakespeare")) == 42
    assert "\r" not in text
