"""Prompts: encoded once, and refused before anything is written."""

from __future__ import annotations

import pytest

from mini_gpt.sampling import SampleConfig
from mini_gpt.support.prompts import check_prompt, encode_prompt
from writing import BYTES, LETTERS, lively_model


def test_an_empty_prompt_starts_a_document() -> None:
    assert encode_prompt(BYTES, "") == [256]
    assert encode_prompt(BYTES, "a") == [97]
    with pytest.raises(ValueError, match="no end-of-text token"):
        encode_prompt(LETTERS, "")


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(ValueError, match="does not know 'z'"):
        encode_prompt(LETTERS, "az")


@pytest.mark.parametrize(
    ("prompt", "config", "message"),
    [
        ([], SampleConfig(), "the prompt is empty"),
        ([1, 19, 2], SampleConfig(), r"id 19 .* outside the model's vocabulary \(0 to 18\)"),
        ([-1], SampleConfig(), "id -1"),
        ([1] * 12, SampleConfig(past_context="stop"), "12 tokens does not fit.* 11.*slide"),
    ],
)
def test_bad_prompts_are_refused(prompt: list[int], config: SampleConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_prompt(lively_model(), prompt, config)


def test_good_prompts_are_not() -> None:
    check_prompt(lively_model(), [0, 18], SampleConfig())
    check_prompt(lively_model(), [1] * 11, SampleConfig())
    check_prompt(lively_model(), [1] * 12, SampleConfig(past_context="slide"))
