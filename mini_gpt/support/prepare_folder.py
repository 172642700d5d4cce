"""The folder that `mini-gpt prepare` writes into: ours or not, begun, whole, locked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mini_gpt.characters import Tokenizer
from mini_gpt.support.files import atomic_file, read_json
from mini_gpt.support.shard_file import open_shard
from mini_gpt.support.token_manifest import MANIFEST, UNFINISHED, read_manifest
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE
from mini_gpt.support.workspace import lock_file, open_lock, remove_fragments

_BEGUN = "begun.json"


def refuse_other_folder(out: Path) -> None:
    """Raise where a folder holds something that is not ours."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; choose another --out")
    ours = (out / MANIFEST).exists() or (out / UNFINISHED).is_dir()
    if out.exists() and not ours and any(out.iterdir()):
        raise FileExistsError(f"{out} holds other files; choose a new folder as --out")


def refuse_other_beginning(out: Path, about: Mapping[str, Any]) -> None:
    """Raise where a folder was begun with another source or other settings."""
    path = out / UNFINISHED / _BEGUN
    if not path.exists():
        return
    before = read_json(path)
    if before == about:
        return
    changed = "its files are no longer what they were"
    said = "; ".join(_differences(before, about)) or changed
    raise ValueError(
        f"{out} was begun with something else ({said}); delete it, or choose another "
        "--out"
    )


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What is otherwise than before, in words."""
    for group in ("source", "settings"):
        for name, value in after[group].items():
            if (old := before.get(group, {}).get(name)) != value:
                yield f"{name} was {old}, now {value}"


def complete_manifest(out: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a folder that is finished, if it is whole and of this corpus."""
    manifest = read_manifest(out)
    if others := [*_differences(manifest, about)]:
        raise ValueError(
            f"{out} holds the tokens of something else ({'; '.join(others)}); choose "
            "another --out"
        )
    for side in ("training", "validation"):
        for shard in manifest[side]["shards"]:
            found = open_shard(out / shard["name"], manifest["fingerprint"])
            if found.sha256 != shard["sha256"]:
                raise ValueError(
                    f"{out / shard['name']} is damaged: it is another shard; prepare "
                    "the corpus again"
                )
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)  # a kill may have left it
    return manifest


@contextmanager
def locked_folder(out: Path) -> Iterator[None]:
    """Keep a second command from writing into the same folder."""
    folder = out / UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    lock = open_lock(folder / "lock")
    try:
        try:
            lock_file(lock, wait=False)
        except BlockingIOError:
            raise OSError(
                f"another process is preparing {out}; wait until it has ended"
            ) from None
        except OSError:
            pass  # this file system has no locks
        yield
    finally:
        os.close(lock)


def begin_folder(out: Path, about: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    """Write what a second start goes by; remove what a kill has left half written."""
    remove_fragments(out)
    remove_fragments(out / UNFINISHED)
    # First, since it says which settings the tokenizer was learned with.
    with atomic_file(out / UNFINISHED / _BEGUN) as partial:
        partial.write_text(json.dumps(about, indent=1), encoding="utf-8")
    tokenizer.save(out / TOKENIZER_FILE)
