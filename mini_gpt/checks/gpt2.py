"""Checks for the exercises of the chapter on GPT-2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.gpt2 import gpt2_names
from mini_gpt.model import GPT


def our_name(answer: Callable[[str], Any]) -> None:
    """Check a function from one of GPT-2's names to ours."""
    hints = {
        "h.7.ln_1.bias": "this one stands in the text of the exercise.",
        "wte.weight": "GPT2_NAMES has no .weight and no .bias; add what was there.",
        "h.0.attn.c_attn.weight": "put {layer} in place of the number.",
        "h.1.ln_1.weight": "two things in this name are digits; only one is the layer.",
        "h.2.ln_2.weight": "two things in this name are digits; only one is the layer.",
        "h.47.mlp.c_proj.bias": "a layer can have two digits.",
        "ln_f.bias": "names outside the blocks have no layer.",
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
        (0, 0, 3): "c_attn is (inputs, outputs): take the first 4 of the columns.",
        (1, 2, 3): "queries are the first third of the columns, head beside head.",
        (1, 1, 2): "the head width is the width divided by the number of heads.",
    }

    def cases() -> None:
        for (layer, head, heads), hint in hints.items():
            columns = slice(head * 12 // heads, (head + 1) * 12 // heads)
            expected = weights[f"h.{layer}.attn.c_attn.weight"][:, columns]
            found = call(answer, dict(weights), layer, head, heads)
            expect(f"layer {layer}, head {head} of {heads}", found, expected, hint)

    run_check(cases, "head and column: you know what each part of c_attn does.")


def with_biases(answer: Callable[[GPT], Any]) -> None:
    """Check a function that gives a model without biases some that change nothing."""
    config = GPTConfig(17, context_length=8, layers=2, heads=3, width=12, bias=False)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = GPT(config).eval()
        for parameter in model.parameters():  # scales that are not 1, too
            parameter.add_(0.3 * torch.randn(parameter.shape))
    ids = torch.randint(17, (2, 5), generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def cases() -> None:
        before = model(ids)
        found = answer(model)
        kind = type(found).__name__
        expect(
            "the kind of the answer",
            kind,
            "GPT",
            "return a new GPT with the other config.",
        )
        assert isinstance(found, GPT)
        hint = "dataclasses.replace(model.config, bias=True) describes the new model."
        expect("its config", found.config, replace(config, bias=True), hint)
        biases = sum(name.endswith("bias") for name, _ in found.named_parameters())
        expect(
            "the number of biases",
            biases,
            13,
            "the new model is built from its config.",
        )
        hint = "every weight has to be copied, and every bias has to be 0."
        expect("its logits", found.eval()(ids), before, hint)
        expect(
            "the given model's logits",
            model(ids),
            before,
            "leave the given model as it is.",
        )
        hint = "the two models must not share their memory; copy the weights."
        shared = {p.data_ptr() for p in model.parameters()} & {
            p.data_ptr() for p in found.parameters()
        }
        expect("the number of shared tensors", len(shared), 0, hint)

    run_check(cases, "with zero biases it is a GPT-2, and can go wherever a GPT-2 can.")


def load(answer: Callable[[dict[str, Tensor], int], Any]) -> None:
    """Check a function that builds a model from tensors under Hugging Face's names."""
    shapes = {
        "3 layers, 2 heads": (GPTConfig(17, 8, layers=3, heads=2, width=12), 1),
        "3 heads": (GPTConfig(17, 8, layers=3, heads=3, width=12), 2),
        "11 layers": (GPTConfig(7, 5, layers=11, heads=1, width=4), 3),
    }

    def files(config: GPTConfig, seed: int) -> tuple[GPT, dict[str, Tensor]]:
        """A random model, and its weights as GPT-2's file would hold them."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            model = GPT(config).eval()
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape))
        state, turned = model.state_dict(), ("c_attn", "c_proj", "c_fc")
        return model, {
            theirs: state[ours].t() if theirs.split(".")[-2] in turned else state[ours]
            for theirs, ours in gpt2_names(config.layers).items()
            if state[ours].ndim == 2
        } | {
            theirs: state[ours]
            for theirs, ours in gpt2_names(config.layers).items()
            if state[ours].ndim == 1
        }

    @torch.no_grad()
    def cases() -> None:
        for name, (config, seed) in shapes.items():
            model, tensors = files(config, seed)
            found = call(answer, tensors, config.heads)
            hint = "build a GPT from a GPTConfig, and return it."
            expect(f"{name}: the kind", type(found).__name__, "GPT", hint)
            hint = "look at wte, wpe and the numbers after h."
            expect(f"{name}: its config", found.config, config, hint)
            ids = torch.arange(5)[None] % config.vocab_size
            hint = "compare with first_difference; is the square c_proj turned, too?"
            expect(f"{name}: its logits", found.eval()(ids), model(ids), hint)

    run_check(cases, "you can bring a released model into your own code.")
