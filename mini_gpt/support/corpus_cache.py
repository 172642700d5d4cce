"""Ordinary texts are encoded once: their tokens are kept in the cache, by content.

Each entry is a folder in `corpora` in the cache folder, whose name says what was made
of which text: a token folder, or a learned tokenizer. It may be removed at any time,
and is made again when it is needed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.documents import DocumentSplit, encode_documents, encode_split
from mini_gpt.support.downloads import cache_folder
from mini_gpt.support.files import atomic_folder, text_digest
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT
from mini_gpt.support.shard_file import new_shard
from mini_gpt.support.text_bytes import count_text_bytes
from mini_gpt.support.token_folder import open_token_folder
from mini_gpt.support.token_manifest import MANIFEST, write_manifest
from mini_gpt.support.token_shards import TokenRow
from mini_gpt.support.tokenizer_file import (
    TOKENIZER_FILE,
    fingerprint,
    save_tokenizer,
)
from mini_gpt.support.workspace import lock_file, open_lock
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer

LEAST = 100_000  # characters; what is shorter is made as soon as it is looked up
MOST = 20 * 10**9  # bytes of all entries; beyond, what was used longest ago goes
# To be counted up with a change by which a text is cut, learned from or encoded
# otherwise: entries are found by it.
_RULES = 1

_Tokenizer = CharTokenizer | BPETokenizer
_Tell = Callable[[str], None]


class EncodedText(NamedTuple):
    """A text as training needs it.

    Attributes:
        validation_bytes: Bytes in UTF-8 of the text of all validation tokens but the
            first, which is never predicted.
        distinct: How many different characters the text has.
    """

    training: TokenRow
    validation: TokenRow
    validation_bytes: int
    distinct: int


def documents_digest(documents: Iterable[str]) -> str:
    """The SHA-256 of texts, and of where each ends, in hexadecimal."""
    digest, step = sha256(), 1 << 20
    for number, document in enumerate(documents):
        if number:  # the marker stands in no document, so that borders count too
            digest.update(END_OF_TEXT.encode())
        for start in range(0, len(document), step):
            digest.update(document[start : start + step].encode())
    return digest.hexdigest()


def encode_once(
    documents: Sequence[str],
    split: DocumentSplit,
    tokenizer: _Tokenizer,
    digest: str,
    tell: _Tell,
) -> EncodedText:
    """Both parts of a text as rows of ids, as `encode_split` gives them.

    From the cache, if they have been made before; else they are kept there.

    Args:
        digest: What `documents_digest` says of the documents.
        tell: Called with what somebody should know of it.
    """
    if sum(map(len, documents)) < LEAST:
        return _encoded_in_memory(documents, split, tokenizer)
    name = _name("tokens", digest, fingerprint(tokenizer))
    try:
        with _locked(name, tell) as folder:
            entry = folder / name
            if (found := _kept_tokens(entry, tell)) is None:
                _keep_tokens(entry, documents, split, tokenizer)
                _make_room(entry)
                found = _kept_tokens(entry, tell)
    except OSError as fault:
        tell(f"the tokens of this text are not kept for the next start: {fault}")
        found = None
    return found or _encoded_in_memory(documents, split, tokenizer)


def learn_once(
    learn: Callable[[], _Tokenizer],
    characters: int,
    digest: str,
    tell: _Tell,
    **how: Any,
) -> _Tokenizer:
    """The tokenizer that is learned from a text; from the cache, if it was before.

    Args:
        characters: How many the text has.
        digest: What `documents_digest` says of it.
        how: What else the tokenizer depends on.
    """
    if characters < LEAST:
        return learn()
    name = _name("tokenizer", digest, json.dumps(how, sort_keys=True))
    learned = None
    try:
        with _locked(name, tell) as folder:
            entries = folder.glob(f"{name}.*")
            for entry in entries:  # at most one, whose name ends with its fingerprint
                with suppress(OSError, ValueError):
                    tokenizer = load_tokenizer(entry / TOKENIZER_FILE)
                    if fingerprint(tokenizer) == entry.suffix[1:]:
                        os.utime(entry)
                        return tokenizer
                tell(f"the tokenizer kept in {entry} is damaged; it is learned again")
                shutil.rmtree(entry, ignore_errors=True)
            learned = learn()
            entry = folder / f"{name}.{fingerprint(learned)}"
            with atomic_folder(entry) as new:
                save_tokenizer(learned, new / TOKENIZER_FILE)
            _make_room(entry)
    except OSError as fault:
        tell(f"the tokenizer is not kept for the next start: {fault}")
    return learned or learn()


def _name(*what: str) -> str:
    """The name of what is made of a text: it says all that it depends on."""
    return text_digest(json.dumps([_RULES, *what]))[:32]


@contextmanager
def _locked(name: str, tell: _Tell) -> Iterator[Path]:
    """The folder of the entries, while no other process makes the one of this name.

    Who comes second, for instance another rank of a run, finds what the first has made.
    """
    folder = cache_folder() / "corpora"
    (folder / ".locks").mkdir(parents=True, exist_ok=True)
    handle = open_lock(folder / ".locks" / name[:2])
    try:
        try:
            lock_file(handle, wait=False)
        except OSError:
            tell("another process is preparing a corpus; waiting for it")
            with suppress(OSError):  # some file systems have no locks
                lock_file(handle, wait=True)
        yield folder
    finally:
        os.close(handle)


def _encoded_in_memory(
    documents: Sequence[str], split: DocumentSplit, tokenizer: _Tokenizer
) -> EncodedText:
    training, validation = encode_split(split, tokenizer)
    predicted = count_text_bytes(tokenizer, validation[1:])
    return EncodedText(training, validation, predicted, _distinct(documents))


def _distinct(documents: Sequence[str]) -> int:
    return len(set().union(*documents))


def _kept_tokens(entry: Path, tell: _Tell) -> EncodedText | None:
    """What an entry holds; None where there is none that is whole."""
    if not entry.is_dir():
        return None
    try:
        kept = open_token_folder(entry)
        distinct = int(kept.manifest["text"]["distinct"])
    except (ValueError, LookupError, TypeError) as fault:
        tell(f"the text is encoded again, since what was kept is damaged: {fault}")
        return None
    os.utime(entry)  # it is in use
    return EncodedText(kept.training, kept.validation, kept.validation_bytes, distinct)


def _keep_tokens(
    entry: Path, documents: Sequence[str], split: DocumentSplit, tokenizer: _Tokenizer
) -> None:
    """Encode a text into an entry, one document at a time; whole or not at all."""
    made_by = fingerprint(tokenizer)
    with atomic_folder(entry) as new:
        save_tokenizer(tokenizer, new / TOKENIZER_FILE)
        # A document that was cut does not end at the cut, and none begins there.
        training = _shard(
            new, "training", split.training, tokenizer, ends=not split.inside
        )
        validation = _shard(
            new, "validation", split.validation, tokenizer, begins=not split.inside
        )
        write_manifest(
            new,
            {
                "fingerprint": made_by,
                "training": training,
                "validation": validation,
                "text": {"distinct": _distinct(documents)},
            },
        )


def _shard(
    folder: Path,
    part: str,
    documents: Sequence[str],
    tokenizer: _Tokenizer,
    *,
    begins: bool = True,
    ends: bool = True,
) -> dict[str, Any]:
    """Write the documents of a part as one shard; returns what a manifest says of it.

    Args:
        begins: Whether the first document begins here.
        ends: Whether the last one ends here.
    """
    name, size = f"{part}-00000.tokens", 0
    with new_shard(
        folder / name, tokenizer.vocab_size, fingerprint(tokenizer)
    ) as shard:
        for number, ids in enumerate(encode_documents(documents, tokenizer), start=1):
            if begins or number > 1:
                shard.begin_document()
            if (
                number == len(documents)
                and not ends
                and tokenizer.end_of_text is not None
            ):
                ids = ids[:-1]
            shard.add(np.array(ids, dtype=np.int64))
            if part == "validation":  # of training nobody asks
                size += count_text_bytes(tokenizer, ids)
    if shard.written is None:
        return {"tokens": 0, "text_bytes": 0, "shards": []}
    entry = {"name": name, **shard.written._asdict()}
    return {"tokens": shard.tokens, "text_bytes": size, "shards": [entry]}


def _make_room(newest: Path) -> None:
    """Remove what was used longest ago, until all entries together are small enough.

    Who has mapped its files keeps them until it ends.
    """
    entries = [path for path in newest.parent.iterdir() if path.name[0] != "."]
    with suppress(OSError):  # another process removes some too
        by_use = sorted(entries, key=lambda path: path.stat().st_mtime_ns)
        sizes = {path: _size(path) for path in by_use}
        for path in by_use:
            if sum(sizes.values()) <= MOST:
                return
            if path != newest:
                (path / MANIFEST).unlink(missing_ok=True)  # no longer found, at once
                shutil.rmtree(path, ignore_errors=True)
                del sizes[path]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
