"""Checks for the exercises of the chapter on GPT-2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check
from mini_gpt.gpt2 import from_gpt2_names, gpt2_names
from mini_gpt.model import GPT, GPTConfig


def our_name(answer: Callable[[str], Any]) -> None:
    """Check a function from one of GPT-2's names to ours."""
    hints = {
        "h.7.ln_1.bias": "this one stands in the text of the exercise.",
        "wte.weight": "names outside the blocks have no layer; GPT2_NAMES has them as they are.",
        "h.0.attn.c_attn.weight": "put {layer} in place of the number and look the name up.",
        "h.1.ln_1.weight": "two things in this name are digits; only one is the layer.",
        "h.2.ln_2.weight": "two things in this name are digits; only one is the layer.",
        "h.47.mlp.c_proj.bias": "a layer can have two digits.",
        "ln_f.bias": "names outside the blocks have no layer; GPT2_NAMES has them as they are.",
    }
    table = gpt2_names(48)

    def cases() -> None:
        for name, hint in hints.items():
            expect(name, call(answer, name), table[name], hint)

    run_check(cases, "you can find any of GPT-2's parameters in our model.")


def query_weight(answer: Callable[[dict[str, Tensor], int, int, int], Any]) -> None:
    """Check a function that cuts one head's query matrix out of c_attn."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"h.{layer}.attn.c_attn.weight": torch.randn(12, 36, generator=generator)
        for layer in range(2)
    }
    hints = {
        (
            0,
            0,
            3,
        ): "c_attn is (inputs, outputs): take columns, and of the queries only the first 4.",
        (
            1,
            2,
            3,
        ): "queries are the first third of the columns, and the heads lie side by side in it.",
        (1, 1, 2): "the head width is the width divided by the number of heads.",
    }

    def cases() -> None:
        for (layer, head, heads), hint in hints.items():
            columns = slice(head * 12 // heads, (head + 1) * 12 // heads)
            expected = weights[f"h.{layer}.attn.c_attn.weight"][:, columns]
            found = call(answer, dict(weights), layer, head, heads)
            expect(f"layer {layer}, head {head} of {heads}", found, expected, hint)

    run_check(cases, "head and column: you know what each part of c_attn does.")


def to_gpt2_names(answer: Callable[[dict[str, Tensor], int], Any]) -> None:
    """Check a function that is the inverse of `from_gpt2_names`."""
    config = GPTConfig(vocab_size=17, context_length=8, layers=2, heads=3, width=12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, rotary = GPT(config), GPT(replace(config, position="rotary"))
    ours = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def refuses(tensors: dict[str, Tensor]) -> bool:
        try:
            answer(tensors, 2)
        except ValueError:
            return True
        return False

    def cases() -> None:
        found = call(answer, dict(ours), 2)
        names = sorted(found) if isinstance(found, dict) else None
        missing = set(gpt2_names(2)) - set(names or ())
        hint = f"{len(missing)} names are missing, for instance {min(missing)}." if missing else ""
        expect("the number of names", len(names or ()), 28, hint or "some names are not GPT-2's.")
        expect("the names", names, sorted(gpt2_names(2)), hint or "some names are not GPT-2's.")
        back = from_gpt2_names(found, 2)
        hint = "Conv1D stores (inputs, outputs); a square matrix needs to be turned round, too."
        for name, tensor in ours.items():
            expect(f"{name}, there and back", back[name], tensor, hint)
        others = {name: tensor.detach() for name, tensor in rotary.named_parameters()}
        hint = "GPT-2 has position embeddings; without them there must be a ValueError."
        expect("a model with rotary positions: refused", refuses(others), True, hint)
        hint = "GPT-2 has no name for this tensor; dropping it silently would change the model."
        extra = {**ours, "decoder.gate.weight": torch.zeros(3)}
        expect("a model with a tensor too many: refused", refuses(extra), True, hint)

    run_check(cases, "there and back, bit by bit, and nothing is lost in silence.")
