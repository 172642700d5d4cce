"""Corpora: Shakespeare's works, a text file, or a folder of text files."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mini_gpt.support.downloads import shakespeare_documents
from mini_gpt.support.files import decode_text, is_utf8, read_text
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT

SHAKESPEARE = "shakespeare"
_URI = "file://"


def load_documents(source: str | os.PathLike[str] = SHAKESPEARE) -> list[str]:
    """The texts of a corpus, one string a document.

    A file holds one document, or several that are parted by `<|endoftext|>`. This
    marker is no text and belongs to none of them, nor do the line breaks around it.

    Args:
        source: "shakespeare" (fetched once, then cached), a text file, or a folder
            whose `.txt` files, also in subfolders, are taken in the order of their
            paths. A path, or what `corpus_name` made of one.

    Raises:
        ValueError: if there is no text in it, or a file is not UTF-8.
        FileNotFoundError: if there is no such file or folder.
        OSError: if a corpus cannot be fetched or read.
    """
    name = os.fspath(source)
    path = corpus_path(source)
    if name == SHAKESPEARE:
        works = shakespeare_documents()
        documents = [decode_text(data, work) for work, data in works.items()]
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*.txt") if file.is_file())
        documents = [part for file in files for part in _parts(read_text(file))]
    elif path.exists():
        documents = _parts(read_text(path))
    else:
        raise FileNotFoundError(
            f"no corpus {name!r}: give 'shakespeare', a text file, or a folder "
            "of .txt files"
        )
    if not any(document.strip() for document in documents):
        raise ValueError(
            f"corpus {name!r} holds no text; give a file or folder that does"
        )
    return documents


def _parts(text: str) -> list[str]:
    """The documents in a file: what stands between the markers, or all of it."""
    if END_OF_TEXT not in text:
        return [text]
    parts = text.split(END_OF_TEXT)
    return [part.strip("\n") for part in parts if part.strip()]


def load_corpus(source: str | os.PathLike[str] = SHAKESPEARE) -> str:
    """All documents of a corpus as one text, an empty line between them.

    Args:
        source: As for `load_documents`, with the same errors.
    """
    return "\n\n".join(load_documents(source))


def corpus_path(source: str | os.PathLike[str]) -> Path:
    """The path of a corpus that has one, as given or as `corpus_name` wrote it."""
    name = os.fspath(source)
    if name.startswith(_URI):
        return Path(os.fsdecode(unquote_to_bytes(name.removeprefix(_URI))))
    return Path(source)


def corpus_name(source: str | os.PathLike[str]) -> str:
    """A name of a corpus that holds in every folder, and that a text file can keep.

    That is its whole path; where the path's bytes are not UTF-8, which on Linux they
    need not be, a `file:` URI, which has escapes for them.
    """
    name = os.fspath(source)
    if name == SHAKESPEARE or name.startswith(_URI):
        return name
    path = os.path.abspath(name)
    return path if is_utf8(path) else _URI + quote_from_bytes(os.fsencode(path))
