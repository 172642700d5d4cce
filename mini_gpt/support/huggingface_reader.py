"""Tokenizers in Hugging Face's files: read where they give GPT-2's ids, else refused.

Those files can say much that our tokenizer does not do: lower-casing, a token before
each text, merging by chance. Every setting is looked at. What cannot change an id may
be anything; what can must say what GPT-2's says; what we do not know is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mini_gpt.support.files import parse_json, read_text
from mini_gpt.support.gpt2_vocabulary import (
    END_OF_TEXT,
    gpt2_byte_characters,
    parse_merge,
    parse_merges,
    tokens_of,
)
from mini_gpt.support.huggingface_tokenizer import merges_of
from mini_gpt.tokenizer import BPETokenizer

# What a setting may say. None stands for anything, since no id depends on it.
Rules = Mapping[str, Collection[object] | None]

PARTS: Rules = {
    "version": ["1.0", None],
    "truncation": [None],
    "padding": [None],
    "normalizer": [None],
    **dict.fromkeys(["added_tokens", "pre_tokenizer", "post_processor"]),
    **dict.fromkeys(["decoder", "model"]),  # each has rules of its own
}
CUT: Rules = {
    "type": ["ByteLevel"],
    "add_prefix_space": [False],
    "use_regex": [True],
    "trim_offsets": None,
}
# After the cut, the same part only says where in the text a token stood.
OFFSETS: Rules = {
    "type": ["ByteLevel"],
    **dict.fromkeys(["add_prefix_space", "use_regex", "trim_offsets"]),
}
# Or it puts tokens around a text, of which there may be none.
TEMPLATE: Rules = {
    "type": ["TemplateProcessing"],
    "single": [[{"Sequence": {"id": "A", "type_id": 0}}]],
    **dict.fromkeys(["pair", "special_tokens"]),
}
MODEL: Rules = {
    "type": ["BPE"],
    "dropout": [None, 0],
    "continuing_subword_prefix": [None, ""],
    "end_of_word_suffix": [None, ""],
    "ignore_merges": [False],
    # All 256 bytes have tokens, so that nothing is ever unknown.
    **dict.fromkeys(["unk_token", "fuse_unk", "byte_fallback", "vocab", "merges"]),
}
ADDED_TOKEN: Rules = {
    "single_word": [False],
    "lstrip": [False],
    "rstrip": [False],
    "special": [True],
    **dict.fromkeys(["id", "content", "normalized", "__type"]),
}
ROLES = [f"{x}_token" for x in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
MORE = ["additional_special_tokens", "extra_special_tokens"]
CLASSES = [
    *("GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast"),
    *("TokenizersBackend", None),
]
# Of batches, of decoding, of prompts, of where a file came from.
# fmt: off
OF_NO_ID = [
    "model_max_length", "max_len", "max_length", "padding", "padding_side",
    "pad_to_multiple_of", "pad_token_type_id", "truncation", "truncation_side",
    "truncation_strategy", "stride", "model_input_names", "return_token_type_ids",
    "clean_up_tokenization_spaces", "trim_offsets", "split_special_tokens",
    "chat_template", "name_or_path", "use_fast", "special_tokens_map_file",
    "tokenizer_file", "vocab_file", "merges_file", "backend", "is_local",
    "local_files_only", "processor_class", "init_inputs",
    "spaces_between_special_tokens",
]
# fmt: on
CONFIGURATION: Rules = {
    "tokenizer_class": CLASSES,
    "add_prefix_space": [False, None],
    "add_bos_token": [False, None],
    "add_eos_token": [False, None],
    "do_lower_case": [False, None],
    "fix_mistral_regex": [False, None],
    "errors": ["replace"],
    **dict.fromkeys([*ROLES, *MORE, "added_tokens_decoder"]),  # looked at one by one
    **dict.fromkeys(OF_NO_ID),
}


def _check(found: Any, rules: Rules, where: str) -> dict[str, Any]:
    """A JSON object whose settings keep the rules.

    Raises:
        ValueError: naming the first setting that does not.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{where} {_short(found)} is no object with names")
    for name, value in found.items():
        if name not in rules:
            raise ValueError(f"the setting {name[:80]!r} of {where} is not known here")
        wanted = rules[name]
        if wanted is not None and value not in wanted:
            shown = " or ".join(map(_short, wanted))
            raise ValueError(
                f"{name} of {where} is {_short(value)}, which gives other ids than "
                f"{shown} does"
            )
    return found


def _short(value: object) -> str:
    """A value for a message: of a part, its type says enough."""
    if isinstance(value, dict) and "type" in value:
        value = value["type"]
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


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
        ids, merges, special = read(folder)
        special |= _read_added(folder, special)
        ordinary = {token: id for token, id in ids.items() if token not in special}
        for token, id in special.items():
            if ids.get(token, id) != id:
                raise ValueError(f"the added token {token[:80]!r} has two ids")
        names = sorted(special, key=special.__getitem__)
        first = len(ordinary)
        if [special[name] for name in names] != list(range(first, first + len(names))):
            raise ValueError(
                f"the special tokens {_short(names)} are not the last ids, one each"
            )
        _check_roles(folder, names)
        tokenizer = BPETokenizer(tokens_of(ordinary, merges), special_tokens=names)
        _check_merges(tokenizer, merges)
        return tokenizer
    except (LookupError, TypeError, AttributeError, ValueError) as fault:
        raise ValueError(
            f"{main} is no tokenizer like GPT-2's ({fault}); "
            "tokenize with its own library, or train a tokenizer of this package"
        ) from None


def _read_single(
    folder: Path,
) -> tuple[dict[str, int], list[tuple[str, str]], dict[str, int]]:
    """Vocabulary, merges and added tokens of a `tokenizer.json` that keeps the rules.

    Where the two older files lie beside it, they must say the same.
    """
    content = _object(folder / "tokenizer.json")
    _check(content, PARTS, "tokenizer.json")
    _check(content.get("pre_tokenizer"), CUT, "pre_tokenizer")
    _check(content.get("decoder"), OFFSETS, "decoder")
    if (after := content.get("post_processor")) is not None:
        template = "single" in after
        _check(after, TEMPLATE if template else OFFSETS, "post_processor")
    model = _check(content.get("model"), MODEL, "model")
    # "a b" in older files, ["a", "b"] in newer ones
    merges = [
        parse_merge(m) if isinstance(m, str) else tuple(m) for m in model["merges"]
    ]
    special = {}
    for token in content.get("added_tokens") or []:
        special[_special_content(token)] = token["id"]
    ids = dict(model["vocab"])
    pair = folder / "vocab.json", folder / "merges.txt"
    if all(path.is_file() for path in pair):
        older = _object(pair[0])
        same = older.items() <= (ids | special).items() and older.keys() >= (
            ids.keys() - special.keys()
        )
        if not same or parse_merges(read_text(pair[1])) != merges:
            raise ValueError("vocab.json and merges.txt beside it say something else")
    return ids, merges, special


def _special_content(token: dict[str, Any]) -> str:
    """The text of an added token; ValueError unless it is cut out as ours are."""
    where = f"the added token {_short(token.get('content'))}"
    return _check({"special": False, **token}, ADDED_TOKEN, where)["content"]


def _read_pair(
    folder: Path,
) -> tuple[dict[str, int], list[tuple[str, str]], dict[str, int]]:
    """Vocabulary, merges and the end-of-text token of the two older files."""
    ids = _object(folder / "vocab.json")
    merges = parse_merges(read_text(folder / "merges.txt"))
    if END_OF_TEXT not in ids:
        raise ValueError(f"it lacks {END_OF_TEXT}")
    return ids, merges, {END_OF_TEXT: ids[END_OF_TEXT]}


def _read_added(folder: Path, known: Mapping[str, int]) -> dict[str, int]:
    """The special tokens that further files add.

    Raises:
        ValueError: naming one that is not special, or whose id is another elsewhere.
    """
    configuration = _configuration(folder)
    found: dict[str, int] = {}
    for id, token in (configuration.get("added_tokens_decoder") or {}).items():
        found[_special_content(token)] = int(id)
    named = set(found) | set(known) | set(_in_roles(folder))
    for content, id in _object(folder / "added_tokens.json").items():
        if content not in named:
            raise ValueError(f"added_tokens.json has {content[:80]!r}, not special")
        if found.setdefault(content, id) != id:
            raise ValueError(f"the added token {content[:80]!r} has two ids")
    for content, id in found.items():
        if known.get(content, id) != id:
            raise ValueError(f"the added token {content[:80]!r} has two ids")
    return found


def _check_roles(folder: Path, special: list[str]) -> None:
    """Raise ValueError unless roles are of special tokens, the first ends a text."""
    roles = _in_roles(folder)
    for token, role in roles.items():
        if token not in special:
            raise ValueError(f"{role} {token[:80]!r} is none of its special tokens")
    ends = [token for token, role in roles.items() if role == "eos_token"]
    ends = ends or [token for token in special if token == END_OF_TEXT]
    if special and any(token != special[0] for token in ends):
        raise ValueError(
            f"eos_token {ends[0][:80]!r} is not the first of its special tokens"
        )


def _in_roles(folder: Path) -> dict[str, str]:
    """The tokens that the two files of settings give a role, and the role of each."""
    found: dict[str, str] = {}
    described = _object(folder / "special_tokens_map.json")
    _check(described, dict.fromkeys([*ROLES, *MORE]), "special_tokens_map.json")
    for settings in (_configuration(folder), described):
        for name in [*MORE, *ROLES]:  # an end of text keeps that role if it has several
            value = settings.get(name) or []
            if isinstance(value, dict) and "content" not in value:
                value = list(value.values())  # by names of one's own
            for token in value if isinstance(value, list) else [value]:
                if isinstance(token, dict):  # by its role it is special
                    token = _special_content({**token, "special": True})
                if found.get(token) != "eos_token":
                    found[token] = name
    return found


def _configuration(folder: Path) -> dict[str, Any]:
    """What `tokenizer_config.json` says, the rules kept."""
    content = _object(folder / "tokenizer_config.json")
    return _check(content, CONFIGURATION, "tokenizer_config.json")


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file, an empty one where there is no such file."""
    content = parse_json(read_text(path), path.name) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no object with names")
    return content


def _check_merges(tokenizer: BPETokenizer, merges: list[tuple[str, str]]) -> None:
    """Raise ValueError unless each merge joins the two tokens that ours would join.

    Ours joins any neighbors whose union is a token, the earliest learned first; theirs
    only the pairs that are listed. Where each token's listed pair is what earlier
    merges leave of it, the two cannot differ.
    """
    characters = gpt2_byte_characters()
    for ours, pair in zip(merges_of(tokenizer), merges, strict=True):
        if ours != tuple(bytes(map(characters.__getitem__, part)) for part in pair):
            raise ValueError(f"the merge {_short(pair)} is never reached by the others")
