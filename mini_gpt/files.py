"""Files: written whole or not at all, and tensors read from them a piece at a time."""

from __future__ import annotations

import json
import math
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

PIECE = 2**21  # most numbers that are read from a file at once, unless one row has more


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of `path` when the block ends without an error.

    The partial file lies in the same folder, so that the final step is one rename on one file
    system.

    Args:
        path: The file to create or replace. Its folder is created where missing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        flush(partial)
        # mkstemp makes files private; give the result the permissions that a plain open() would.
        partial.chmod(0o666 & ~current_umask())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(
    path: str | os.PathLike[str], *, replaces: Collection[str] | None = None
) -> Iterator[Path]:
    """Yield a new folder to fill; it takes the place of `path` when the block ends without error.

    Args:
        path: The folder to create or replace as a whole. An old one stays until the new one is
            complete.
        replaces: Names that an old folder may hold to be replaced; None means any.

    Raises:
        FileExistsError: if `path` is a file, or a folder that holds other names than `replaces`.
    """
    target = Path(path).absolute()
    if target.exists():
        check_replaceable(target, replaces)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(
        tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    )
    old = partial.with_suffix(".old")
    try:
        yield partial
        for file in filter(Path.is_file, partial.rglob("*")):
            file.chmod(0o666 & ~current_umask())  # safetensors lets the owner alone read
            flush(file)
        partial.chmod(0o777 & ~current_umask())
        if target.exists():
            check_replaceable(target, replaces)
            target.rename(old)
        try:
            partial.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(folder: Path, replaces: Collection[str] | None) -> None:
    """Raise FileExistsError where replacing a folder would delete what does not belong there."""
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose another name for the folder")
    others = [] if replaces is None else sorted({p.name for p in folder.iterdir()} - {*replaces})
    if others:
        raise FileExistsError(
            f"{folder} holds other files ({', '.join(others[:3])}{', ...' * (len(others) > 3)}), "
            "which would be lost; choose a new folder"
        )


def flush(path: Path) -> None:
    """Have the system write a file to the disk, so that a crash cannot leave it empty."""
    with open(path, "rb+") as written:
        os.fsync(written.fileno())


def current_umask() -> int:
    """The permissions that new files do not get."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: The file.

    Raises:
        ValueError: if its folder is none, or it is not there or holds no JSON object.
    """
    if path.parent.is_file():
        raise ValueError(f"{path.parent} is a file, not the folder of a model")
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no model: it has no {path.name}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise ValueError(f"{path} is not JSON ({fault})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return content


# What a released GPT-2 consists of. Other formats of the same weights stay where they are.
HUB_FILES = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "mini_gpt_tokenizer.json",
]


# The trained model that comes with the package; `make pretrain` writes it.
SHIPPED_NAME = "shakespeare"
SHIPPED = Path(__file__).parent / "pretrained" / SHIPPED_NAME


def local_folder(name_or_folder: str | os.PathLike[str]) -> Path:
    """A folder on this machine, or a model of the Hugging Face hub, fetched once and then cached.

    Where it is cached, and how to stay offline (`HF_HUB_OFFLINE=1`), is up to `huggingface_hub`.

    Args:
        name_or_folder: A folder; or "shakespeare", the model that comes with the package (give a
            folder of that name as "./shakespeare"); or a name on the hub: owner, slash, model.

    Raises:
        ValueError: if it is neither, or `huggingface_hub` is not installed.
        OSError: if the model cannot be fetched.
    """
    folder, name = Path(name_or_folder), os.fspath(name_or_folder)
    if name_or_folder == SHIPPED_NAME:  # the name, not a path
        return SHIPPED
    if folder.exists():
        return folder
    if folder.parent.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name):
        raise ValueError(
            f"there is no folder {name}; a model on the hub has a name like openai-community/gpt2"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ValueError(
            f"there is no folder {name}; to fetch a model of that name from the Hugging Face hub: "
            "pip install huggingface_hub"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as fault:
        reason = str(fault).strip().split("\n")[0]
        raise OSError(
            f"{name} is no folder here, and cannot be fetched from the Hugging Face hub ({reason})"
        ) from fault


def cached_folder(name: str) -> Path | None:
    """Where the Hugging Face hub's cache on this machine holds a model; None where it does not.

    The network is not used.

    Args:
        name: A name on the hub: owner, slash, model.

    Returns:
        A folder that has at least the shape, the weights in one file, and the tokenizer.
    """
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    wanted = ("config.json", "model.safetensors", "tokenizer.json")
    found = [try_to_load_from_cache(name, file) for file in wanted]
    # What is known to be missing is reported by an object that is no path.
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(wanted) else None


class StoredTensor(NamedTuple):
    """Where a tensor lies and what it is, as the header of its file says.

    Attributes:
        path: The file.
        name: Its name there.
        dtype: Its number format, in the file's word for it, for instance "F32".
        shape: Its shape.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]

    def pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """The tensor a few rows at a time.

        The file is opened anew for each piece: while it is open, all that was read of it stays in
        memory.
        """
        rows = self.shape[0]
        step = max(1, PIECE * rows // max(1, math.prod(self.shape)))
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            with opened(self.path) as file:
                yield part, file.get_slice(self.name)[part]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file, open for reading, its faults told as ValueError."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as fault:
        raise ValueError(f"{path} cannot be read ({fault}); it may be cut short") from None


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """What the headers of a folder's weights announce, by name. No weight is read yet.

    Args:
        folder: Holds `model.safetensors`, or shards and `model.safetensors.index.json`.

    Raises:
        ValueError: if there is neither, or a file is damaged.
    """
    paths, index = [folder / "model.safetensors"], folder / "model.safetensors.index.json"
    if not paths[0].is_file() and index.is_file():
        try:
            shards = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
            paths = [folder / Path(shard).name for shard in shards]
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise ValueError(f"{index} is not an index of shards ({fault})") from None
    found = {}
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{folder} has no {path.name}; its weights are missing")
        with opened(path) as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                found[name] = StoredTensor(path, name, part.get_dtype(), tuple(part.get_shape()))
    return found


def forget_pages(array: np.ndarray) -> None:
    """Let go of the memory pages that a file-mapped array has read; they are read again if used.

    Until then the system counts them as this process's memory, though it could take them back.
    Arrays in memory, and systems without such a request, are left as they are.

    Args:
        array: An array, for instance a `numpy.memmap` or a part of one.
    """
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)
