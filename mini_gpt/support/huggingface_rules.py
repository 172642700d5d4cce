"""What the files of Hugging Face's tokenizers may say: every setting has a rule.

What cannot change an id may be anything; what can must say what GPT-2's says; what we
do not know is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mini_gpt.support.files import parse_json, read_text

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
    **dict.fromkeys(["id", "content", "special", "normalized", "__type"]),
}
ROLES = [f"{x}_token" for x in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
MORE = ["additional_special_tokens", "extra_special_tokens"]
GPT2_CLASSES = ["GPT2Tokenizer", "GPT2TokenizerFast"]
CLASSES = [*GPT2_CLASSES, "PreTrainedTokenizerFast", "TokenizersBackend", None]
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


def check(found: Any, rules: Rules, where: str) -> dict[str, Any]:
    """A JSON object whose settings keep the rules.

    Raises:
        ValueError: naming the first setting that does not.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{where} {short(found)} is no object with names")
    for name, value in found.items():
        if name not in rules:
            raise ValueError(f"the setting {name[:80]!r} of {where} is not known here")
        wanted = rules[name]
        if wanted is not None and value not in wanted:
            shown = " or ".join(map(short, wanted))
            raise ValueError(
                f"{name} of {where} is {short(value)}, which gives other ids than "
                f"{shown} does"
            )
    return found


def short(value: object) -> str:
    """A value for a message: of a part, its type says enough."""
    if isinstance(value, dict) and "type" in value:
        value = value["type"]
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


def configuration(folder: Path) -> dict[str, Any]:
    """What `tokenizer_config.json` says, the rules kept."""
    content = json_object(folder / "tokenizer_config.json")
    return check(content, CONFIGURATION, "tokenizer_config.json")


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file, an empty one where there is no such file."""
    content = parse_json(read_text(path), path.name) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no object with names")
    return content
