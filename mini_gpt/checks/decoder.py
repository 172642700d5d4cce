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
