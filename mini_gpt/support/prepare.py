"""A corpus of any size becomes a folder of tokens, once, for many runs."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.files import read_json
from mini_gpt.support.prepare_encode import Encoder
from mini_gpt.support.prepare_folder import (
    begin_folder,
    complete_manifest,
    locked_folder,
    refuse_other_beginning,
    refuse_other_folder,
)
from mini_gpt.support.prepare_plan import Plan, Source, make_plan, source_name
from mini_gpt.support.prepare_pool import Tell, Workers, started
from mini_gpt.support.prepare_split import Split, Standing, find_split
from mini_gpt.support.prepare_tokenizer import (
    LEARNED,
    given_tokenizer,
    learned_tokenizer,
)
from mini_gpt.support.prepare_work import Record, Shard, Task, make_shards
from mini_gpt.support.shard_file import new_shard, open_shard, shard_dtype
from mini_gpt.support.token_manifest import (
    MANIFEST,
    UNFINISHED,
    read_manifest,
    write_manifest,
)
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE, fingerprint
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer

VALIDATION = "validation-00000.tokens"
_COPIED = 1 << 22  # tokens that are copied at once


@dataclass(frozen=True)
class Settings:
    """How to make tokens of a corpus: what their bytes depend on.

    Attributes:
        tokenizer: "gpt2"; "bpe" or "characters", made for this corpus; a tokenizer's
            file, or a folder that has one.
        vocab_size: How many tokens "bpe" learns; None: 8,192.
        sample_bytes: How much text "bpe" learns from.
        validation_fraction: Share of the documents for validation.
        shard_bytes: Bytes of the source for a shard, about; None: by its size.

    Raises:
        ValueError: naming a setting that makes no sense.
    """

    tokenizer: str = "gpt2"
    vocab_size: int | None = None
    sample_bytes: int = 10_000_000
    validation_fraction: float = 0.01
    shard_bytes: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.validation_fraction <= 0.5:
            raise ValueError(
                f"validation_fraction {self.validation_fraction} must be above 0 and "
                "at most 0.5"
            )
        if self.vocab_size is not None and self.tokenizer != "bpe":
            raise ValueError(
                f"vocab_size {self.vocab_size} is for the tokenizer bpe; that of "
                f"{self.tokenizer} has its own"
            )
        if self.sample_bytes < 1:
            raise ValueError(f"sample_bytes {self.sample_bytes} must be at least 1")
        if self.shard_bytes is not None and self.shard_bytes < 1:
            raise ValueError(f"shard_bytes {self.shard_bytes} must be at least 1")


def prepare_tokens(
    source: Source,
    out: Path,
    settings: Settings | None = None,
    *,
    processes: int = 1,
    shown: bool | None = None,
) -> dict[str, Any]:
    """Make tokens of a corpus; killed and called again, it goes on.

    The bytes are the same for any number of processes, and however often it was killed.
    With more than one process, a script that calls this does so below
    `if __name__ == "__main__":`, as Python's documentation of multiprocessing says.

    Args:
        out: The folder to make; or one that was begun with the same settings.
        processes: How many encode side by side.
        shown: Whether to draw progress on stderr; None: drawn on a terminal, told now
            and then elsewhere.

    Returns:
        The manifest, as `read_manifest` gives it.

    Raises:
        ValueError: if source, settings and folder do not fit, or the source is damaged.
        FileExistsError: if the folder holds something else.
        OSError: if something cannot be read, written or fetched.
    """
    settings = Settings() if settings is None else settings
    if processes < 1:
        raise ValueError(f"processes {processes} must be at least 1")
    refuse_other_folder(out)
    given = None
    if settings.tokenizer not in LEARNED and not (out / MANIFEST).exists():
        given = given_tokenizer(settings.tokenizer)
    plan = make_plan(source, settings.shard_bytes)
    about = _described(source, settings, plan)
    if (out / MANIFEST).exists():
        return complete_manifest(out, about)
    refuse_other_beginning(out, {**about, "state": plan.state})
    split, counted = find_split(plan.parts, settings.validation_fraction)
    standings = counted or [Standing()] * len(plan.parts)
    with started(min(processes, len(plan.parts))) as workers:
        tokenizer = given or _learned(
            out, plan, split, standings, workers, settings, shown
        )
        with locked_folder(out):
            begin_folder(out, {**about, "state": plan.state}, tokenizer)
            made_by = fingerprint(tokenizer)
            tasks = [
                Task(out, made_by, number, part, split, standing, plan.shard_bytes)
                for number, (part, standing) in enumerate(
                    zip(plan.parts, standings, strict=True)
                )
            ]
            parts = workers.map(
                encode_part,
                tasks,
                what=out.name,
                total=plan.size,
                done=_size_of_finished(out),
                shown=shown,
            )
            return _finish(out, about, split, tokenizer, parts)


def _learned(
    out: Path,
    plan: Plan,
    split: Split,
    standings: Sequence[Standing],
    workers: Workers,
    settings: Settings,
    shown: bool | None,
) -> CharTokenizer | BPETokenizer:
    """The tokenizer that was learned before this was interrupted, or a new one."""
    if (out / TOKENIZER_FILE).is_file():
        return load_tokenizer(out / TOKENIZER_FILE)
    return learned_tokenizer(
        settings.tokenizer,
        plan,
        split,
        standings,
        workers,
        vocab_size=settings.vocab_size,
        sample_bytes=settings.sample_bytes,
        shown=shown,
    )


_encoders: dict[str, Encoder] = {}  # the one that was used last, by its fingerprint


def encode_part(task: Task, tell: Tell) -> list[Record]:
    """What a worker does with a part; the tokenizer is read once in each process."""
    if task.made_by not in _encoders:
        _encoders.clear()
        encoder = Encoder(load_tokenizer(task.folder / TOKENIZER_FILE))
        _encoders[encoder.fingerprint] = encoder
    return make_shards(task, _encoders[task.made_by], tell)


def _described(source: Source, settings: Settings, plan: Plan) -> dict[str, Any]:
    """What the manifest tells of the source and the settings."""
    name = source_name(source.name)
    found = {"kind": plan.kind, "files": plan.files, "bytes": plan.size}
    kept: dict[str, Any] = dataclasses.asdict(settings)
    kept["shard_bytes"] = plan.shard_bytes
    if os.path.exists(settings.tokenizer) and settings.tokenizer not in LEARNED:
        kept["tokenizer"] = os.path.abspath(settings.tokenizer)
    rows = dataclasses.asdict(source)
    return {"source": {**rows, "name": name, **found}, "settings": kept}


def _size_of_finished(out: Path) -> int:
    """Bytes of the source whose shards are there, as far as it is noted."""
    size = 0
    for path in (out / UNFINISHED).glob("[0-9]*.json"):
        with suppress(ValueError, TypeError):  # what is damaged is made again
            size += int(read_json(path).get("size", 0))
    return size


def _finish(
    out: Path,
    about: Mapping[str, Any],
    split: Split,
    tokenizer: CharTokenizer | BPETokenizer,
    parts: Sequence[Sequence[Record]],
) -> dict[str, Any]:
    """Join the shards of validation, write the manifest, and clear away."""
    records = [record for part in parts for record in part]
    training = [r.training for r in records if r.training is not None]
    held_out = [r.validation for r in records if r.validation is not None]
    for side, found in (("training", training), ("validation", held_out)):
        if not found:
            raise ValueError(
                f"no document is for {side}; give another --validation-fraction"
            )
    joined = _joined(out, held_out, tokenizer)
    write_manifest(
        out,
        {
            "fingerprint": fingerprint(tokenizer),
            "vocab_size": tokenizer.vocab_size,
            "end_of_text": tokenizer.end_of_text,
            "dtype": shard_dtype(tokenizer.vocab_size).name,
            **about,
            "split": split.described(),
            "training": _side(training),
            "validation": _side([joined]),
        },
    )
    shutil.rmtree(out / UNFINISHED, ignore_errors=True)
    return read_manifest(out)


def _joined(
    out: Path, shards: Sequence[Shard], tokenizer: CharTokenizer | BPETokenizer
) -> Shard:
    """All shards of validation as one: they are many, and small."""
    made_by = fingerprint(tokenizer)
    with new_shard(out / VALIDATION, tokenizer.vocab_size, made_by) as joined:
        for shard in shards:
            found = open_shard(out / UNFINISHED / shard.name, made_by)
            joined.add_starts(found.starts + np.uint64(joined.tokens))
            for start in range(0, len(found.tokens), _COPIED):
                joined.add(found.tokens[start : start + _COPIED])
    assert joined.written is not None
    text_bytes = sum(shard.text_bytes for shard in shards)
    tokens, documents, sha256 = joined.written
    return Shard(VALIDATION, tokens, documents, text_bytes, sha256)


def _side(shards: Sequence[Shard]) -> dict[str, Any]:
    """What a manifest tells of training, or of validation."""
    each = [dataclasses.asdict(shard) for shard in shards]
    names = ("tokens", "documents", "text_bytes")
    return {**{n: sum(shard[n] for shard in each) for n in names}, "shards": each}
