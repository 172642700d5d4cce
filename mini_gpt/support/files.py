"""Files and folders, written whole or not at all; and text as editors leave it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mini_gpt.support.token_shards import TokenRow, TokenShards
from mini_gpt.support.workspace import destination, finish_replacement, workspace_for


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a file to fill; it replaces `path` when the block ends without error.

    Args:
        path: The file to create or replace; where it is a symbolic link, what the link
            points to. Its folder is created where missing.

    Raises:
        FileExistsError: if `path` is something other than a file.
    """
    target = destination(path)
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{target} is not a file; choose another name")
    with workspace_for(target) as workspace:
        new = workspace / "new"
        new.touch()
        yield new
        new.chmod(_file_mode(workspace))
        flush(new)
        new.replace(target)
        flush(target.parent)


@contextmanager
def atomic_folder(
    path: str | os.PathLike[str], *, replaces: Collection[str] | None = None
) -> Iterator[Path]:
    """Yield a new folder to fill; it replaces `path` when the block ends without error.

    Args:
        path: The folder to create or replace as a whole; where it is a symbolic link,
            what the link points to. An old one stays until the new one is complete.
        replaces: Names that an old folder may hold to be replaced; None means any.

    Raises:
        FileExistsError: if `path` is a file, or a folder that holds other names than
            `replaces`.
    """
    target = destination(path)
    finish_replacement(target)
    _check_replaceable(target, replaces)
    with workspace_for(target) as workspace:
        new = workspace / "new"
        new.mkdir()
        yield new
        for inner in new.rglob("*"):
            if inner.is_file():
                # safetensors lets the owner alone read what it writes.
                inner.chmod(_file_mode(workspace))
            if inner.is_file() or inner.is_dir():
                flush(inner)
        flush(new)
        _check_replaceable(target, replaces)
        _put_in_place(new, target, workspace / "old")
        flush(target.parent)  # before the old one is deleted for good


def _put_in_place(new: Path, target: Path, old: Path) -> None:
    """Have a folder take its place, and what stood there the place of the new or old.

    At no time is there nothing whole: either the system swaps both in one step, or the
    state between two renames is one that `finish_replacement` knows.
    """
    if not target.exists():
        new.rename(target)
    elif not _exchange(new, target):
        target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if not target.exists():  # else a reader has finished this for us
                old.rename(target)
                raise


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where that cannot be done."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # since glibc 2.28
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and not rename(
        here, os.fsencode(one), here, os.fsencode(other), exchange
    )


def _check_replaceable(folder: Path, replaces: Collection[str] | None) -> None:
    """Raise FileExistsError where replacing a folder would delete what is not ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose another name for the folder")
    if replaces is None:
        return
    if others := sorted({path.name for path in folder.iterdir()} - {*replaces}):
        named = ", ".join([*others[:3], *["..."] * (len(others) > 3)])
        raise FileExistsError(
            f"{folder} holds other files ({named}), which would be lost; choose a new "
            "folder"
        )


def _file_mode(workspace: Path) -> int:
    """The permissions that a new file gets here.

    They are read off a new folder: to ask for the umask, one has to change it, for all
    threads of the process.
    """
    return stat.S_IMODE(workspace.stat().st_mode) & 0o666


def flush(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk.

    Without that, a crash of the machine can leave an empty file behind a whole name.
    """
    if not path.is_dir():
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    elif os.name != "nt":
        handle = os.open(path, os.O_RDONLY)
        try:
            with suppress(OSError):  # some file systems know no such request
                os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def utf8_name(path: Path) -> Iterator[str]:
    """A name of a file for libraries that take UTF-8 only.

    On Linux a name is any bytes. There, a file that is open has a second name.
    """
    if is_utf8(os.fspath(path)):
        yield os.fspath(path)
    else:
        with open(path, "rb") as file:
            yield f"/proc/self/fd/{file.fileno()}"


def is_utf8(name: str) -> bool:
    """Whether a name's bytes are UTF-8; Python gives others as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def shown_name(path: str | os.PathLike[str]) -> str:
    """A name for people and pictures: what is not UTF-8 in it becomes a mark."""
    return os.fsencode(path).decode("utf-8", errors="replace")


def printable(text: object, most: int = 300) -> str:
    """What a stranger wrote, fit for a message: short, and nothing a terminal obeys."""
    shown = str(text)
    if len(shown) > most:
        shown = f"{shown[: most // 2]} ... {shown[-most // 2 :]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; a part of it at a time is in memory."""
    digest, part = hashlib.sha256(), bytearray(2**20)
    with open(path, "rb", buffering=0) as file:
        while read := file.readinto(part):
            digest.update(memoryview(part)[:read])
    return digest.hexdigest()


def text_digest(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, without byte-order mark, its line ends plain ones.

    Raises:
        ValueError: naming the file and the offset of the first byte that is not UTF-8.
        OSError: if the file cannot be read.
    """
    return decode_text(Path(path).read_bytes(), os.fspath(path))


def decode_text(data: bytes, name: str) -> str:
    """The text of UTF-8 bytes, without byte-order mark, its line ends plain ones.

    Args:
        name: Where they come from, for the error message.

    Raises:
        ValueError: naming the source and the offset of the first byte that is not
            UTF-8.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"{name} is not UTF-8: byte {data[fault.start]:#04x} at offset "
            f"{fault.start}; convert it first"
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str, name: str) -> Any:
    """What a JSON text says; a name that an object gives twice is an error.

    Args:
        name: Where the text comes from, for the error message.

    Raises:
        ValueError: if it is not JSON, is nested too deeply, or is ambiguous.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except ValueError as fault:
        raise ValueError(f"{name} is not JSON ({fault})") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply to be read") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dictionary; ValueError where a name would be lost."""
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"the name {name[:80]!r} stands twice in one object")
        content[name] = value
    return content


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model's folder.

    Raises:
        ValueError: if its folder is none, or it is not there or holds no JSON object.
    """
    if path.parent.is_file():
        raise ValueError(f"{path.parent} is a file, not the folder of a model")
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no model: it has no {path.name}")
    content = parse_json(read_text(path), os.fspath(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return content


def release_pages(array: TokenRow) -> None:
    """Let go of the memory pages that a file-mapped array, or its shards, have read.

    They are read again if they are used. Until then the system counts them as this
    process's memory, though it could take them back. Arrays in memory, and systems
    without such a request, are left as they are.

    Raises:
        OSError: if the file has been cut short since it was mapped. To use the array
            would end the process.
    """
    if isinstance(array, TokenShards):
        for shard in array.shards:
            release_pages(shard)
        return
    owner: object = array  # a part of a mapped array leads to the map by its bases
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if not isinstance(owner, mmap.mmap):
        return
    if owner.size() < len(owner):
        name = getattr(array, "filename", None) or "the mapped file"
        raise OSError(f"{name} was cut short while it was in use; write it again")
    if hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
