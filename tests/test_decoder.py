"""Feed-forward network, decoder block and stack, against PyTorch, transformers and arithmetic."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from answers import verdicts
from joining import JoiningCache
from mini_gpt import checks
from mini_gpt.attention import causal_mask
from mini_gpt.config import GPTConfig
from mini_gpt.decoder import Decoder, DecoderBlock, FeedForward, make_normalization
from mini_gpt.diagnostics import check_causality
from tiny import tiny_config

ROOT = Path(__file__).resolve().parent.parent
COMPILE = """
import torch
from mini_gpt.config import GPTConfig
from mini_gpt.decoder import Decoder
decoder = Decoder(GPTConfig(layers=2, width=12, heads=3, hidden_width=20))
stream = torch.randn(2, 5, 12)
compiled = torch.compile(decoder, backend="aot_eager", fullgraph=True)
torch.testing.assert_close(compiled(stream), decoder(stream))
"""


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with random numbers in all parameters, also those that start as 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return module.double()


def peer_of(block: DecoderBlock, bias: bool = True) -> nn.TransformerEncoderLayer:
    """PyTorch's layer with the same weights; with a causal mask it is a decoder block."""
    hidden_width, width = block.feed_forward.expand.weight.shape
    peer = nn.TransformerEncoderLayer(
        d_model=width,
        nhead=block.attention.heads,
        dim_feedforward=hidden_width,
        dropout=0.0,
        activation=nn.GELU(approximate="tanh"),
        batch_first=True,
        norm_first=True,
        bias=bias,
    ).double()
    names = {
        "norm1.": "attention_norm.",
        "self_attn.in_proj_": "attention.query_key_value.",
        "self_attn.out_proj.": "attention.output.",
        "norm2.": "feed_forward_norm.",
        "linear1.": "feed_forward.expand.",
        "linear2.": "feed_forward.contract.",
    }
    state = block.state_dict()
    kinds = ("weight", "bias") if bias else ("weight",)
    peer.load_state_dict(
        {theirs + kind: state[ours + kind] for theirs, ours in names.items() for kind in kinds}
    )
    return peer


def make(kind: Callable[[GPTConfig], nn.Module], **changes: Any) -> nn.Module:
    """A part of a model of 3 layers, 3 heads, width 12, hidden width 20, or another shape."""
    return kind(tiny_config(**{"layers": 3, "hidden_width": 20, **changes}))


class TestFeedForward:
    def test_is_two_maps_with_a_gelu_between(self) -> None:
        network = shaken(make(FeedForward))
        stream = random(2, 5, 12)
        for batch in range(2):
            for time in range(5):
                hidden = network.expand.weight @ stream[batch, time] + network.expand.bias
                bent = [
                    0.5 * h * (1 + math.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
                    for h in hidden.tolist()
                ]
                bent = torch.tensor(bent, dtype=torch.float64)
                expected = network.contract.weight @ bent + network.contract.bias
                torch.testing.assert_close(network(stream)[batch, time], expected)

    def test_uses_the_tanh_form_and_not_the_exact_one(self) -> None:
        network = shaken(make(FeedForward))
        stream = 2 * random(2, 5, 12)
        exact = network.contract(nn.functional.gelu(network.expand(stream)))
        assert not torch.allclose(network(stream), exact, rtol=0, atol=1e-5)
        torch.testing.assert_close(network(stream), exact, rtol=0, atol=0.02)

    def test_treats_each_position_alone(self) -> None:
        network, stream = shaken(make(FeedForward)), random(2, 5, 12)
        order = torch.tensor([3, 1, 4, 0, 2])
        torch.testing.assert_close(network(stream[:, order]), network(stream)[:, order])

    def test_drops_out_in_training_only(self) -> None:
        network, stream = shaken(make(FeedForward, dropout=0.5)), random(2, 5, 12)
        torch.manual_seed(0)
        assert not torch.equal(network(stream), network(stream))
        network.eval()
        assert torch.equal(network(stream), network(stream))

    def test_has_a_bias_or_none(self) -> None:
        assert make(FeedForward).expand.bias.shape == (20,)
        assert make(FeedForward, hidden_width=None).expand.bias.shape == (48,)
        names = [name for name, _ in make(FeedForward, bias=False).named_parameters()]
        assert names == ["expand.weight", "contract.weight"]


class TestNormalization:
    def test_both_kinds_are_their_formulas(self) -> None:
        """Biased variance, and epsilon inside the root: a quiet stream would show it outside."""
        for size in (1.0, 0.001):
            stream = size * (random(2, 5, 12) + 0.5)
            centered = stream - stream.mean(-1, keepdim=True)
            for kind, vectors in (("layer", centered), ("rms", stream)):
                norm = shaken(make(make_normalization, normalization=kind))
                expected = vectors / (vectors.square().mean(-1, keepdim=True) + 1e-5).sqrt()
                expected = expected * norm.weight + (norm.bias if kind == "layer" else 0)
                torch.testing.assert_close(norm(stream), expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(("kind", "bias", "count"), [("layer", True, 24), ("layer", False, 12)])
    def test_has_a_shift_or_none(self, kind: str, bias: bool, count: int) -> None:
        for normalization, expected in ((kind, count), ("rms", 12)):
            norm = make(make_normalization, normalization=normalization, bias=bias)
            assert sum(parameter.numel() for parameter in norm.parameters()) == expected

    def test_reaches_every_place_of_the_stack(self) -> None:
        decoder = make(Decoder, layers=2, normalization="rms")
        norms = [m for name, m in decoder.named_modules() if name.endswith("norm")]
        assert [type(norm) for norm in norms] == [nn.RMSNorm] * 5


class TestDecoderBlock:
    @given(
        batch=st.integers(1, 3),
        time=st.integers(1, 6),
        heads=st.integers(1, 3),
        head_width=st.integers(1, 4),
        hidden_width=st.integers(1, 9),
        bias=st.booleans(),
    )
    @settings(deadline=None, max_examples=20)
    def test_equals_pytorchs_layer(
        self, batch: int, time: int, heads: int, head_width: int, hidden_width: int, bias: bool
    ) -> None:
        width = heads * head_width
        block = shaken(
            make(DecoderBlock, width=width, heads=heads, hidden_width=hidden_width, bias=bias)
        )
        mine = random(batch, time, width).requires_grad_()
        other = mine.detach().clone().requires_grad_()
        found, expected = (
            block(mine),
            peer_of(block, bias)(other, src_mask=~causal_mask(time, time)),
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
        direction = random(batch, time, width, seed=1)
        torch.testing.assert_close(
            torch.autograd.grad((found * direction).sum(), mine),
            torch.autograd.grad((expected * direction).sum(), other),
            rtol=1e-7,
            atol=1e-8,
        )

    def test_equals_the_block_of_transformers(self) -> None:
        transformers = pytest.importorskip("transformers")
        from transformers.models.gpt2.modeling_gpt2 import GPT2Block

        block = shaken(make(DecoderBlock))
        config = transformers.GPT2Config(
            n_embd=12, n_head=3, n_inner=20, n_positions=9, attn_implementation="eager"
        )
        peer = GPT2Block(config, layer_idx=0).double().eval()
        names = {
            "ln_1": "attention_norm",
            "attn.c_attn": "attention.query_key_value",
            "attn.c_proj": "attention.output",
            "ln_2": "feed_forward_norm",
            "mlp.c_fc": "feed_forward.expand",
            "mlp.c_proj": "feed_forward.contract",
        }
        state = block.state_dict()
        loaded = {}
        for theirs, ours in names.items():
            weight = state[f"{ours}.weight"]
            loaded[f"{theirs}.weight"] = weight.T if weight.ndim == 2 else weight
            loaded[f"{theirs}.bias"] = state[f"{ours}.bias"]
        peer.load_state_dict(loaded)
        stream = random(2, 5, 12)
        mask = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~causal_mask(5, 5), -torch.inf)
        expected = peer(stream, attention_mask=mask[None, None])
        expected = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(block(stream), expected, rtol=0, atol=1e-10)

    def test_adds_to_the_stream_and_does_not_replace_it(self) -> None:
        block, stream = shaken(make(DecoderBlock)), random(2, 5, 12)
        for part in (block.attention.output, block.feed_forward.contract):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        assert torch.equal(block(stream), stream)

    def test_is_causal(self) -> None:
        check_causality(shaken(make(DecoderBlock)), random(2, 5, 12))
        broken = shaken(make(DecoderBlock))

        class OverTime(nn.Module):
            def forward(self, stream: Tensor) -> Tensor:
                return nn.functional.layer_norm(stream, stream.shape[1:])

        broken.feed_forward_norm = OverTime()
        with pytest.raises(AssertionError, match="position 0 changes with the input at position 1"):
            check_causality(broken, random(2, 5, 12))

    def test_names_heads_that_do_not_divide_the_width(self) -> None:
        with pytest.raises(ValueError, match="heads 5 must divide width 12"):
            make(DecoderBlock, heads=5)


class TestDecoder:
    def test_equals_a_stack_of_pytorchs_layers(self) -> None:
        decoder, stream = shaken(make(Decoder)), random(2, 5, 12)
        expected = stream
        for block in decoder.blocks:
            expected = peer_of(block)(expected, src_mask=~causal_mask(5, 5))
        scale, shift = decoder.final_norm.weight, decoder.final_norm.bias
        mean = expected.mean(dim=-1, keepdim=True)
        variance = expected.var(dim=-1, keepdim=True, correction=0)
        expected = (expected - mean) / (variance + 1e-5).sqrt() * scale + shift
        torch.testing.assert_close(decoder(stream), expected, rtol=0, atol=1e-10)

    def test_the_stream_is_the_sum_of_what_the_parts_write(self) -> None:
        decoder, stream = shaken(make(Decoder)), random(2, 5, 12)
        written: list[Tensor] = []
        for block in decoder.blocks:
            for part in (block.attention, block.feed_forward):
                part.register_forward_hook(lambda part, inputs, out: written.append(out))
        found = decoder(stream)
        assert len(written) == 6
        torch.testing.assert_close(found, decoder.final_norm(stream + sum(written)))

    @given(parts=st.lists(st.integers(1, 4), min_size=1, max_size=4), rotary=st.booleans())
    @settings(deadline=None, max_examples=15)
    def test_gives_the_same_in_parts(self, parts: list[int], rotary: bool) -> None:
        time = sum(parts)
        position = "rotary" if rotary else "none"
        decoder = shaken(make(Decoder, position=position, context_length=16))
        stream, caches = random(2, time, 12), [JoiningCache() for _ in range(3)]
        outputs = [decoder(part, caches) for part in stream.split(parts, dim=1)]
        assert [cache.length for cache in caches] == [time] * 3
        tolerance = 1e-5 if rotary else 1e-10
        torch.testing.assert_close(
            torch.cat(outputs, dim=1), decoder(stream), rtol=0, atol=tolerance
        )

    def test_is_causal_and_trains_every_parameter(self) -> None:
        decoder, stream = shaken(make(Decoder)), random(2, 5, 12)
        check_causality(decoder, stream)
        (decoder(stream) * random(2, 5, 12, seed=1)).sum().backward()
        for name, parameter in decoder.named_parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name

    def test_passes_its_options_on(self) -> None:
        decoder = make(Decoder, layers=2, dropout=0.3, bias=False, position="rotary")
        assert not [name for name, _ in decoder.named_parameters() if name.endswith("bias")]
        dropouts = [module.p for module in decoder.modules() if isinstance(module, nn.Dropout)]
        assert dropouts == [0.3] * 4
        assert all(block.attention.rotary is not None for block in decoder.blocks)

    def test_names_the_wrong_number_of_caches(self) -> None:
        decoder = make(Decoder).double()
        with pytest.raises(ValueError, match="2 caches for 3 layers"):
            decoder(random(2, 5, 12), [JoiningCache(), JoiningCache()])

    @pytest.mark.slow
    def test_compiles_to_the_same(self) -> None:
        """In a process of its own: the compiler cannot look through the tests' type checks."""
        result = subprocess.run(
            [sys.executable, "-c", COMPILE], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr


class TestExercises:
    def test_rms_norm(self, capsys: pytest.CaptureFixture[str]) -> None:
        def normalize(inside: bool, center: bool) -> Callable[[Tensor, Tensor], Tensor]:
            def rms_norm(stream: Tensor, scale: Tensor) -> Tensor:
                if center:
                    stream = stream - stream.mean(dim=-1, keepdim=True)
                square = stream.square().mean(dim=-1, keepdim=True)
                root = (square + 1e-5).sqrt() if inside else square.sqrt() + 1e-5
                return stream / root * scale

            return rms_norm

        checks.decoder.rms_norm(lambda stream, scale: None)
        checks.decoder.rms_norm(normalize(inside=True, center=True))
        checks.decoder.rms_norm(normalize(inside=False, center=False))
        checks.decoder.rms_norm(lambda stream, scale: normalize(True, False)(stream, 1))
        checks.decoder.rms_norm(normalize(inside=True, center=False))
        nothing, centered, outside, unscaled, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for the features 3 and 4")
        assert centered.startswith("not yet: for the features 3 and 4")
        assert outside.startswith("not yet: for a very small stream")
        assert unscaled.startswith("not yet: for a stream with a scale")
        assert solution.startswith("correct: ")

    def test_block_parameters(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.decoder.block_parameters(lambda width, hidden: None)
        checks.decoder.block_parameters(lambda width, hidden: 12 * width**2 + 13 * width)
        checks.decoder.block_parameters(
            lambda width, hidden: 4 * width**2 + 9 * width + 2 * width * hidden + hidden
        )
        nothing, always_four, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for width 12, hidden width 48 nothing comes back")
        assert always_four.startswith("not yet: for width 6, hidden width 10")
        assert solution.startswith("correct: ")

    def test_without(self, capsys: pytest.CaptureFixture[str]) -> None:
        def forgets_the_norm(decoder: Decoder, layer: int, stream: Tensor) -> Tensor:
            for number, block in enumerate(decoder.blocks):
                stream = block(stream) if number != layer else stream
            return stream

        def deletes(decoder: Decoder, layer: int, stream: Tensor) -> Tensor:
            del decoder.blocks[layer]
            return decoder(stream)

        nothing, raw, destroyed, solution = verdicts(
            capsys,
            checks.decoder.without,
            lambda decoder, layer, stream: None,
            forgets_the_norm,
            deletes,
            lambda decoder, layer, stream: decoder.final_norm(
                forgets_the_norm(decoder, layer, stream)
            ),
        )
        assert nothing.startswith("not yet: for three layers without layer 1")
        assert raw.startswith("not yet: for three layers without layer 1")
        assert "must stay as it was" in destroyed
        assert solution.startswith("correct: ")

    def test_norm_gradient(self, capsys: pytest.CaptureFixture[str]) -> None:
        def gradient(stream: Tensor, upstream: Tensor, epsilon: float = 1e-5) -> Tensor:
            inputs = stream.clone().requires_grad_()
            y = nn.functional.layer_norm(inputs, inputs.shape[-1:], eps=epsilon)
            return torch.autograd.grad((y * upstream).sum(), inputs)[0]

        def fixed_spread(stream: Tensor, upstream: Tensor) -> Tensor:
            sigma = (stream.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
            return (upstream - upstream.mean(-1, keepdim=True)) / sigma

        def over_all(stream: Tensor, upstream: Tensor) -> Tensor:
            inputs = stream.clone().requires_grad_()
            y = nn.functional.layer_norm(inputs, inputs.shape[1:])
            return torch.autograd.grad((y * upstream).sum(), inputs)[0]

        checks.decoder.norm_gradient(lambda stream, upstream: None)
        checks.decoder.norm_gradient(fixed_spread)
        checks.decoder.norm_gradient(over_all)
        checks.decoder.norm_gradient(lambda stream, upstream: gradient(stream, upstream, 1e-12))
        checks.decoder.norm_gradient(gradient)
        nothing, fixed, everywhere, bare, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for the features of the text")
        assert fixed.startswith("not yet: for the features of the text")
        assert everywhere.startswith("not yet: for a stream of (2, 5, 12)")
        assert bare.startswith("not yet: for a very small stream")
        assert solution.startswith("correct: ")

    def test_run_block(self, capsys: pytest.CaptureFixture[str]) -> None:
        def run(weights: dict[str, Tensor], stream: Tensor, heads: int, post: bool) -> Tensor:
            config = GPTConfig(width=12, heads=heads, hidden_width=20)
            block = DecoderBlock(config)
            block.load_state_dict(weights)
            if not post:
                return block(stream)
            stream = block.attention_norm(stream + block.attention(stream))
            return block.feed_forward_norm(stream + block.feed_forward(stream))

        def parallel(weights: dict[str, Tensor], stream: Tensor, heads: int) -> Tensor:
            block = DecoderBlock(GPTConfig(width=12, heads=heads, hidden_width=20))
            block.load_state_dict(weights)
            found = block.attention(block.attention_norm(stream))
            return stream + found + block.feed_forward(block.feed_forward_norm(stream))

        checks.decoder.run_block(lambda weights, stream, heads: None)
        checks.decoder.run_block(lambda weights, stream, heads: run(weights, stream, heads, True))
        checks.decoder.run_block(lambda weights, stream, heads: run(weights, stream, 1, False))
        checks.decoder.run_block(parallel)
        checks.decoder.run_block(lambda weights, stream, heads: run(weights, stream, heads, False))
        nothing, post, one_head, side_by_side, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for a block that writes nothing")
        assert post.startswith("not yet: for a block that writes nothing")
        assert one_head.startswith("not yet: for attention alone")
        assert side_by_side.startswith("not yet: for both parts")
        assert solution.startswith("correct: ")
