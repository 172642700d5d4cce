"""Checks for the exercises of the chapter on the decoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mini_gpt.checks.report import call, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.decoder import Decoder, DecoderBlock


def rms_norm(rms_norm: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check the normalization that divides by the root mean square.

    Args:
        rms_norm: From a stream and a scale to the normalized stream; epsilon is 1e-5 by
            default.
    """

    def cases() -> None:
        ones = torch.ones(2)
        hint = "the mean of the squares of 3 and 4 is 12.5; nothing is subtracted"
        stream = torch.tensor([[[3.0, 4.0]]])
        expected = nn.functional.rms_norm(stream, (2,), ones, eps=1e-5)
        expect("the features 3 and 4", call(rms_norm, stream, ones), expected, hint)
        stream = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
        scale = torch.linspace(0.5, 2, 12)
        expected = nn.functional.rms_norm(stream, (12,), scale, eps=1e-5)
        hint = "each position by itself, and each feature times its own scale"
        expect("a stream with a scale", call(rms_norm, stream, scale), expected, hint)
        hint = "epsilon is added to the mean square, inside the root"
        quiet = 0.001 * stream
        expected = nn.functional.rms_norm(quiet, (12,), scale, eps=1e-5)
        expect("a very small stream", call(rms_norm, quiet, scale), expected, hint)

    run_check(cases, "the length is fixed and the mean is free")


def block_parameters(block_parameters: Callable[[int, int], int]) -> None:
    """Check a formula for the number of parameters of a decoder block.

    Args:
        block_parameters: From the width and the hidden width to the number of
            parameters.
    """

    def cases() -> None:
        hints = {
            (
                12,
                48,
            ): "four D x D maps in attention, two D x F after it, and the biases",
            (6, 10): "the hidden width need not be four times the width",
            (768, 3072): "two normalizations have a scale and a shift each",
        }
        for (width, hidden_width), hint in hints.items():
            config = GPTConfig(width=width, heads=1, hidden_width=hidden_width)
            with torch.device("meta"):
                block = DecoderBlock(config)
            expected = sum(parameter.numel() for parameter in block.parameters())
            found = call(block_parameters, width, hidden_width)
            expect(f"width {width}, hidden width {hidden_width}", found, expected, hint)

    run_check(cases, "the size of a block follows from two numbers")


def without(without: Callable[[Decoder, int, Tensor], Tensor]) -> None:
    """Check a function that runs a decoder with one block left out.

    Args:
        without: From a decoder, the number of a layer and a stream to the decoder's
            output.
    """

    def cases() -> None:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            config = GPTConfig(layers=3, width=12, heads=3, hidden_width=20)
            decoder = Decoder(config)
            for parameter in decoder.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
            stream = torch.randn(2, 5, 12)
            whole = decoder(stream)
            for layer in (1, 0, 2):
                expected = stream
                for number in sorted({0, 1, 2} - {layer}):
                    expected = decoder.blocks[number](expected)
                expected = decoder.final_norm(expected)
                hint = "run the other blocks in order, then the final normalization"
                found = call(without, decoder, layer, stream)
                expect(f"three layers without layer {layer}", found, expected, hint)
                hint = "the decoder itself must stay as it was"
                expect("the whole decoder, afterwards", decoder(stream), whole, hint)

    run_check(cases, "a block adds to the stream, so the stream can pass it by")


def norm_gradient(norm_gradient: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check the gradient of a layer normalization without scale and shift.

    Args:
        norm_gradient: From a stream and the gradient by its normalized copy to the
            gradient by the stream; epsilon is 1e-5 by default.
    """

    def expected(stream: Tensor, upstream: Tensor) -> Tensor:
        inputs = stream.clone().requires_grad_()
        normalized = nn.functional.layer_norm(inputs, inputs.shape[-1:])
        return torch.autograd.grad((normalized * upstream).sum(), inputs)[0]

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        stream = torch.tensor([[[2.0, 4.0, 9.0, 1.0]]])
        upstream = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
        hint = (
            "the mean and the spread depend on every feature, so each gets a gradient"
        )
        found = call(norm_gradient, stream, upstream)
        expect("the features of the text", found, expected(stream, upstream), hint)
        stream = torch.randn(2, 5, 12, generator=generator) * 3 + 1
        upstream = torch.randn(2, 5, 12, generator=generator)
        hint = "means run over the features of one position, and over nothing else"
        found = call(norm_gradient, stream, upstream)
        expect("a stream of (2, 5, 12)", found, expected(stream, upstream), hint)
        quiet = 0.003 * stream
        hint = "epsilon belongs into the sigma that divides, under its root"
        found = call(norm_gradient, quiet, upstream)
        expect("a very small stream", found, expected(quiet, upstream), hint)

    run_check(cases, "what comes back has lost its mean and its part along y")


def run_block(run_block: Callable[[dict[str, Tensor], Tensor, int], Tensor]) -> None:
    """Check a decoder block that was written as a function of its weights.

    Args:
        run_block: From the weights of a block, a stream and the number of heads to the
            stream with both contributions added.
    """

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        stream = torch.randn(2, 5, 12, generator=generator)
        config = GPTConfig(width=12, heads=3, hidden_width=20)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            block = DecoderBlock(config).eval()
            for parameter in block.parameters():
                parameter.normal_(std=0.4)
        weights = {name: value.clone() for name, value in block.state_dict().items()}
        hints = {
            "a block that writes nothing": "what is there stays: the parts add to it",
            "feed-forward alone": "it reads a normalized copy; GELU is the tanh form",
            "attention alone": "queries, then keys, then values, each with all heads",
            "both parts": "the second part reads what the first has added",
        }
        for case, hint in hints.items():
            silent = dict(weights)
            if case in ("a block that writes nothing", "feed-forward alone"):
                _silence(silent, "attention.output")
            if case in ("a block that writes nothing", "attention alone"):
                _silence(silent, "feed_forward.contract")
            with torch.no_grad():
                expected = torch.func.functional_call(block, silent, (stream,))
                found = call(run_block, silent, stream, 3)
            expect(case, found, expected, hint)

    run_check(cases, "a block is two sums, and you have written all of it")


def _silence(weights: dict[str, Tensor], name: str) -> None:
    """Let a linear map write zeros."""
    for kind in ("weight", "bias"):
        weights[f"{name}.{kind}"] = torch.zeros_like(weights[f"{name}.{kind}"])
