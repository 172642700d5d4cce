"""Tokenizers in Hugging Face's files: read where they give GPT-2's ids, else refused.

Those files can say much that our tokenizer does not do: lower-casing, a token before
each text, merging by chance. Every setting is looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mini_gpt.support.files import read_text
from mini_gpt.support.gpt2_vocabulary import (
    gpt2_byte_characters,
    parse_merge,
    parse_merges,
    tokens_of,
)
from mini_gpt.support.huggingface_added import (
    check_shared,
    read_added_tokens,
)
from mini_gpt.support.huggingface_rules import (
    CUT,
    MODEL,
    OFFSETS,
    PARTS,
    TEMPLATE,
    check,
    json_object,
    short,
)
from mini_gpt.support.huggingface_tokenizer import merges_of
from mini_gpt.tokenizer import BPETokenizer


def read_huggingface_tokenizer(folder: Path) -> BPETokenizer:
    """A tokenizer like GPT-2's from the files of Hugging Face's libraries.

    Args:
        folder: Holds `tokenizer.json`, or `vocab.json` and `merges.txt`. What
            `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`
            say is looked at too, where they are there.

    Raises:
        ValueError: naming the setting by which this tokenizer gives other ids than
            ours, or what is missing or damaged.
        OSError: if a file cannot be read.
    """
    single, pair = folder / "tokenizer.json", folder / "vocab.json"
    if not single.is_file() and not (
        pair.is_file() and (folder / "merges.txt").is_file()
    ):
        raise ValueError(
            f"{folder} has no tokenizer.json, nor vocab.json and merges.txt"
        )
    main = single if single.is_file() else pair
    try:
        read = _read_single if main == single else _read_pair
        ids, merges, listed = read(folder)
        special, others = read_added_tokens(folder, ids, listed)
        made = {*gpt2_byte_characters(), *(left + right for left, right in merges)}
        check_shared(special, others, made & ids.keys())
        named = {**special, **others}
        ordinary = {x: id for x, id in ids.items() if x in made or x not in named}
        added = {x: None if x in ordinary else id for x, id in others.items()}
        tokenizer = BPETokenizer(
            tokens_of(ordinary, merges), special_tokens=special, added_tokens=added
        )
        if sorted(ordinary.values()) != [*tokenizer.ids.ordinary.values()]:
            raise ValueError("the ids have gaps, or two tokens have one")
        _check_merges(tokenizer, merges)
        return tokenizer
    except (LookupError, TypeError, AttributeError, ValueError) as fault:
        raise ValueError(
            f"{main} is no tokenizer like GPT-2's ({fault}); "
            "tokenize with its own library, or train a tokenizer of this package"
        ) from None


# The id of each token as its file writes it, the merges, and what is said of tokens
# that are cut out of a text before.
_Read = tuple[dict[str, int], list[tuple[str, str]], list[dict[str, Any]]]


def _read_single(folder: Path) -> _Read:
    """Vocabulary, merges and added tokens of a `tokenizer.json` that keeps the rules.

    Where the two older files lie beside it, they must say the same.
    """
    content = json_object(folder / "tokenizer.json")
    check(content, PARTS, "tokenizer.json")
    check(content.get("pre_tokenizer"), CUT, "pre_tokenizer")
    check(content.get("decoder"), OFFSETS, "decoder")
    if (after := content.get("post_processor")) is not None:
        template = "single" in after
        check(after, TEMPLATE if template else OFFSETS, "post_processor")
    model = check(content.get("model"), MODEL, "model")
    # "a b" in older files, ["a", "b"] in newer ones
    merges = [
        parse_merge(m) if isinstance(m, str) else tuple(m) for m in model["merges"]
    ]
    listed = content.get("added_tokens") or []
    ids = dict(model["vocab"])
    pair = folder / "vocab.json", folder / "merges.txt"
    if all(path.is_file() for path in pair):
        older = json_object(pair[0])
        added = {token["content"]: token["id"] for token in listed}
        same = older.items() <= (ids | added).items() and older.keys() >= (
            ids.keys() - added.keys()
        )
        if not same or parse_merges(read_text(pair[1])) != merges:
            raise ValueError("vocab.json and merges.txt beside it say something else")
    return ids, merges, listed


def _read_pair(folder: Path) -> _Read:
    """What the two older files say; which tokens are special, other files do."""
    merges = parse_merges(read_text(folder / "merges.txt"))
    return json_object(folder / "vocab.json"), merges, []


def _check_merges(tokenizer: BPETokenizer, merges: list[tuple[str, str]]) -> None:
    """Raise ValueError unless each merge joins the two tokens that ours would join.

    Ours joins any neighbors whose union is a token, the earliest learned first; theirs
    only the pairs that are listed. Where each token's listed pair is what earlier
    merges leave of it, the two cannot differ.
    """
    characters = gpt2_byte_characters()
    for ours, pair in zip(merges_of(tokenizer), merges, strict=True):
        if ours != tuple(bytes(map(characters.__getitem__, part)) for part in pair):
            raise ValueError(f"the merge {short(pair)} is never reached by the others")
