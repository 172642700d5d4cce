"""Our tokenizers in the files of other libraries, and GPT-2's from there."""

from __future__ import annotations

import json
import os
from operator import itemgetter
from pathlib import Path
from typing import Any

from mini_gpt.bpe import byte_pair_encode
from mini_gpt.characters import CharTokenizer, Tokenizer
from mini_gpt.support.files import atomic_file
from mini_gpt.support.gpt2_vocabulary import gpt2_byte_characters
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer


def merges_of(tokenizer: BPETokenizer) -> list[tuple[bytes, bytes]]:
    """The two tokens that each merged token was made of, in the order of learning.

    Raises:
        ValueError: naming a token that is no union of two earlier ones.
    """
    known: dict[bytes, int] = {}
    pairs = []
    for id, token in enumerate(tokenizer.tokens):
        if len(token) > 1:
            # Replaying the earlier merges leaves the two that the last one joined.
            reachable = all(bytes([byte]) in known for byte in token)
            parts = byte_pair_encode(token, known) if reachable else []
            if len(parts) != 2:
                raise ValueError(
                    f"token {id}, {token!r}, is no union of two earlier tokens, "
                    "so that merges cannot make it"
                )
            pairs.append((tokenizer.tokens[parts[0]], tokenizer.tokens[parts[1]]))
        known[token] = id
    return pairs


def write_huggingface_tokenizer(
    tokenizer: Tokenizer,
    folder: str | os.PathLike[str],
    context_length: int | None = None,
) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, as `transformers` reads them.

    `AutoTokenizer.from_pretrained(folder)` gives the same ids for ordinary text. Unlike
    ours, it turns the text of special tokens into their ids, unless told not to by
    `split_special_tokens`. These libraries have another engine for regular expressions
    (Oniguruma): a pattern that is not GPT-2's must be one that it understands alike.

    Args:
        tokenizer: A `BPETokenizer` or a `CharTokenizer`.
        folder: Created where missing. Files of these names are replaced.
        context_length: Length from which these libraries warn of a text, if any.

    Raises:
        ValueError: if the tokens were not learned by merging, or a special or added
            token is written like another one.
        TypeError: if the tokenizer is of another kind.
    """
    special: tuple[str, ...] = ()
    if isinstance(tokenizer, BPETokenizer):
        content, special = bpe_content(tokenizer), tokenizer.special_tokens
    elif isinstance(tokenizer, CharTokenizer):
        content = character_content(tokenizer)
    else:
        raise TypeError(
            f"a {type(tokenizer).__name__} cannot be written for other libraries; "
            "use a BPETokenizer or a CharTokenizer"
        )
    configuration: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    if context_length is not None:
        configuration["model_max_length"] = context_length
    if special:
        configuration["eos_token"] = special[0]
    files = {"tokenizer.json": content, "tokenizer_config.json": configuration}
    for name, part in files.items():
        with atomic_file(Path(folder) / name) as partial:
            partial.write_text(json.dumps(part, ensure_ascii=False), encoding="utf-8")


def split_by(pattern: str) -> dict[str, Any]:
    """The step that cuts a text into the matches of a pattern."""
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


def frame(
    added: list[dict[str, Any]], cut: Any, decoder: Any, model: Any
) -> dict[str, Any]:
    """The parts of a `tokenizer.json` in their places."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": cut,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def character_content(tokenizer: CharTokenizer) -> dict[str, Any]:
    """What `tokenizer.json` says about a tokenizer of characters.

    An unknown character is an error there as it is here, where there is no replacement:
    "unknown" is not one character, and so it is not in the vocabulary.
    """
    model = {
        "type": "WordLevel",
        "vocab": {character: id for id, character in enumerate(tokenizer.alphabet)},
        "unk_token": tokenizer.replacement or "unknown",
    }
    return frame([], split_by(r"[\s\S]"), {"type": "Fuse"}, model)


def bpe_content(tokenizer: BPETokenizer) -> dict[str, Any]:
    """What `tokenizer.json` says about a byte-level BPE tokenizer."""
    characters = {byte: character for character, byte in gpt2_byte_characters().items()}

    def written(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    cut: dict[str, Any] = {**byte_level, "use_regex": True}
    if tokenizer.pattern != GPT2_PATTERN:
        parts = [split_by(tokenizer.pattern), {**byte_level, "use_regex": False}]
        cut = {"type": "Sequence", "pretokenizers": parts}
    named = {**tokenizer.ids.special, **tokenizer.ids.added}
    added: list[dict[str, Any]] = [
        {
            "id": id,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": text in tokenizer.ids.special,
        }
        for text, id in sorted(named.items(), key=itemgetter(1))
    ]
    vocabulary = {written(token): id for token, id in tokenizer.ids.ordinary.items()}
    for text, id in named.items():
        if vocabulary.setdefault(text, id) != id:
            raise ValueError(
                f"the token {text!r} with id {id} is written as the ordinary token "
                f"with id {vocabulary[text]}, and other libraries take both for one; "
                "give it another text"
            )
    merges = [[written(left), written(right)] for left, right in merges_of(tokenizer)]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": merges,
    }
    return frame(added, cut, {**byte_level, "use_regex": True}, model)
