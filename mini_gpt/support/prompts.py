"""Prompts: encoded, and checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from operator import index
from typing import Any

from mini_gpt.characters import Tokenizer
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from mini_gpt.tokenizer import BPETokenizer


def encode_prompt(
    tokenizer: Tokenizer, prompt: str, config: SampleConfig | None = None
) -> list[int]:
    """The ids of a prompt; an empty one starts from the end-of-text token.

    Special tokens that stand in it are plain text, unless `config.allow_special`.

    Raises:
        ValueError: if the prompt is empty and the tokenizer has no end-of-text token.
    """
    special = config is not None and config.allow_special
    if special and isinstance(tokenizer, BPETokenizer):  # others have no special tokens
        ids = tokenizer.encode(prompt, allowed_special=tokenizer.special_tokens)
    else:
        ids = tokenizer.encode(prompt)
    if not ids:
        if tokenizer.end_of_text is None:
            raise ValueError(
                "the prompt is empty and this tokenizer has no end-of-text token to "
                "start from; give a prompt, for instance a line break"
            )
        ids = [tokenizer.end_of_text]
    return ids


def start_tokens(tokenizer: Tokenizer, text: str = "") -> list[int]:
    """Where to start where nobody has given a prompt: at a token that is known.

    That is the end-of-text token, after which a text begins; else a line break, after
    which a line does; else the text's first token, or the vocabulary's.
    """
    if tokenizer.end_of_text is not None:
        return [tokenizer.end_of_text]
    for start in ("\n", text[:1]):
        with suppress(ValueError):
            if ids := tokenizer.encode(start):
                return ids
    return [0]


def check_prompt(model: GPT, prompt: Sequence[int], config: SampleConfig) -> None:
    """Raise unless the model can go on from these ids.

    Raises:
        TypeError: naming the first that is no whole number, and its position.
        ValueError: if there are none, too many, or one that the model does not know.
    """
    size, context = model.config.vocab_size, model.config.context_length
    if len(prompt) == 0:
        raise ValueError("the prompt is empty; give at least one token to go on from")
    odd = [place for place, id in enumerate(prompt) if not _is_id(id)]
    if odd:
        raise TypeError(
            "ids are single whole numbers, "
            f"but at position {odd[0]} of the prompt stands {prompt[odd[0]]!r}"
        )
    if outside := [id for id in prompt if not 0 <= id < size]:
        raise ValueError(
            f"id {outside[0]} in the prompt is outside the model's vocabulary "
            f"(0 to {size - 1})"
        )
    if len(prompt) > context and config.past_context == "stop":
        raise ValueError(
            f"a prompt of {len(prompt)} tokens does not fit the context of {context}; "
            "shorten it, or let the window slide with past_context='slide' "
            "(--past-context slide)"
        )


def _is_id(value: Any) -> bool:
    """Whether this is a whole number, also of another library's; True is none."""
    with suppress(TypeError):
        return index(value) is not None and not isinstance(value, bool)
    return False
