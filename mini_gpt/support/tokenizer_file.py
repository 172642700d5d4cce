"""Tokenizers as files: JSON with a format and a version."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from mini_gpt.support.files import atomic_file, parse_json, printable, read_text

TOKENIZER_FILE = "mini_gpt_tokenizer.json"  # Hugging Face's name is tokenizer.json
FORMAT, VERSION = "mini_gpt tokenizer", 2
# Fields that version 1 does not know. What has none of them is written as version 1,
# which older programs read too.
NEWER = {"special_ids", "added_tokens"}


@runtime_checkable
class Described(Protocol):
    """Anything that can say all there is to know about itself, ready for JSON."""

    def to_dict(self) -> dict[str, object]:
        """What its file shall hold."""
        ...


class TokenizerFile:
    """What a class of tokenizers inherits to be kept in a file: `save` and `load`.

    It says its `kind`, describes itself with `to_dict`, which names the kind too, and
    makes a tokenizer of such a description with `from_dict`.
    """

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, object]:
        """All there is to know about this tokenizer, ready for JSON."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls: type[Made], content: dict[str, Any]) -> Made:
        """The tokenizer that `to_dict` described."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write this tokenizer to a file, whole or not at all."""
        save_tokenizer(self, path)

    @classmethod
    def load(cls: type[Made], path: str | os.PathLike[str]) -> Made:
        """Read what `save` wrote.

        Raises:
            ValueError: if it is damaged, of another version, or of another kind.
            OSError: if it cannot be read.
        """
        return read_tokenizer(path, cls)


Made = TypeVar("Made", bound=TokenizerFile)


def save_tokenizer(tokenizer: Described, path: str | os.PathLike[str]) -> None:
    """Write a tokenizer as JSON; `load_tokenizer` reads it.

    Args:
        path: The file to create or replace.
    """
    described = tokenizer.to_dict()
    version = VERSION if NEWER & described.keys() else 1
    content = {"format": FORMAT, "version": version, **described}
    with atomic_file(path) as partial:
        text = json.dumps(content, ensure_ascii=True, indent=0)
        partial.write_text(text, encoding="utf-8")


def read_tokenizer(path: str | os.PathLike[str], *classes: type[Made]) -> Made:
    """Read what `save_tokenizer` wrote.

    Args:
        classes: Those of which the tokenizer may be.

    Raises:
        ValueError: if the file is not a tokenizer of a version that we know and of one
            of these kinds, or is damaged.
        OSError: if it cannot be read.
    """
    kinds = {cls.kind: cls for cls in classes}
    try:
        content = parse_json(read_text(path), os.fspath(path))
        if content["format"] != FORMAT:
            raise ValueError("it does not say that it is one")
        if content["version"] not in range(1, VERSION + 1):
            found = content["version"]
            raise ValueError(
                f"version {found!r}, this program reads versions 1 to {VERSION}"
            )
        if content["kind"] not in kinds:
            wanted = " or ".join(map(repr, kinds))
            remedy = "; load_tokenizer reads every kind" if len(kinds) == 1 else ""
            raise ValueError(f"its kind is {content['kind']!r}, not {wanted}{remedy}")
        return kinds[content["kind"]].from_dict(content)
    except KeyError as fault:
        reason = f"it lacks {fault}"
    except (TypeError, AttributeError, ValueError) as fault:
        reason = printable(fault)
    raise ValueError(f"{path} is not a mini_gpt tokenizer that can be read: {reason}")


def fingerprint(tokenizer: Described) -> str:
    """A short digest that two tokenizers share exactly when they are the same."""
    content = json.dumps(tokenizer.to_dict(), sort_keys=True)
    return sha256(content.encode()).hexdigest()[:16]


def named_tokens(content: Mapping[str, Any]) -> dict[str, Any]:
    """The special and added tokens of a file, as the tokenizer's class takes them.

    Raises:
        LookupError: if they are not there.
        ValueError: if there are not as many special tokens as ids.
    """
    special = content["special_tokens"]
    if (ids := content.get("special_ids")) is not None:
        special = dict(zip(special, ids, strict=True))
    return {"special_tokens": special, "added_tokens": content.get("added_tokens")}
