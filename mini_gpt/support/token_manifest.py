"""The manifest of a token folder: which shards make which part, by which tokenizer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mini_gpt.support.files import atomic_file, read_json, text_digest

MANIFEST = "prepared.json"  # written last: a folder without it is unfinished
UNFINISHED = ".prepare"  # what there is of it before
FORMAT, VERSION = "mini_gpt token folder", 1


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what `read_manifest` reads, with a digest by which damage is noticed.

    Args:
        content: Ready for JSON; at least `fingerprint`, `training` and `validation`.
    """
    whole = {"format": FORMAT, "version": VERSION, **content}
    whole["check"] = _check(whole)
    with atomic_file(folder / MANIFEST) as partial:
        partial.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def is_token_folder(path: str | os.PathLike[str]) -> bool:
    """Whether tokens were prepared in this folder, or their preparation was begun."""
    return any(os.path.lexists(Path(path) / name) for name in (MANIFEST, UNFINISHED))


def read_manifest(folder: Path) -> dict[str, Any]:
    """What `write_manifest` wrote, whole.

    Raises:
        ValueError: if there is none, or it is damaged or of another version.
        OSError: if it cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(
            f"{folder} is not prepared to its end: it has no {MANIFEST}; the same "
            "mini-gpt prepare goes on with it"
        )
    content = read_json(path)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise ValueError(
            f"{path} is of version {content.get('version')!r}, this program reads "
            f"{FORMAT}s of version {VERSION}; prepare the corpus again"
        )
    check = content.pop("check", None)
    if check != _check(content):
        raise ValueError(
            f"{path} is damaged: it is not what was written; prepare the corpus again"
        )
    return content


def corpus_digest(manifest: Mapping[str, Any]) -> str:
    """What tells one prepared corpus from another, wherever it came from and lies."""
    parts = ("fingerprint", "training", "validation")
    return text_digest(json.dumps([manifest[name] for name in parts], sort_keys=True))


def _check(content: Mapping[str, Any]) -> str:
    return text_digest(json.dumps(content, sort_keys=True))
