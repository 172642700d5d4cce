"""Multi-head attention: against PyTorch's own, in parts with a cache, with shared heads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from joining import JoiningCache
from mini_gpt import checks, from_pretrained
from mini_gpt.attention import attention_weights, causal_attention, causal_mask
from mini_gpt.config import GPTConfig
from mini_gpt.data import document_mask
from mini_gpt.model import GPT
from mini_gpt.multi_head import LayerCache, MultiHeadAttention
from mini_gpt.support.shipped_weights import part_of, shipped_weights
from tiny import tiny_config

ROOT = Path(__file__).resolve().parent.parent
COMPILE = """
import torch
from mini_gpt.config import GPTConfig
from mini_gpt.embedding import TokenEmbedding
from mini_gpt.multi_head import MultiHeadAttention
from mini_gpt.position import LearnedPositions, RotaryPositions, SinusoidalPositions


def same(function, *inputs):
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    parameters = list(getattr(function, "parameters", list)())
    wanted = [x for x in (*inputs, *parameters) if torch.is_tensor(x) and x.requires_grad]
    results = []
    for run in (function, compiled):
        output = run(*inputs)
        gradients = torch.autograd.grad(output.square().sum(), wanted) if wanted else ()
        results.append((output, *gradients))
    torch.testing.assert_close(*results)


torch.manual_seed(0)
stream = torch.randn(2, 5, 12, requires_grad=True)
mask = torch.rand(2, 5, 5) < 0.5
sizes = {"vocab_size": 7, "context_length": 9, "width": 12}
plain = GPTConfig(heads=3, **sizes)
grouped = GPTConfig(heads=6, key_value_heads=2, position="rotary", bias=False, **sizes)
for config in (plain, grouped):
    module = MultiHeadAttention(config)
    same(module, stream)
    same(module, stream, None, mask)
query = torch.randn(2, 6, 3, 2, requires_grad=True)
same(RotaryPositions(grouped), query, 4)
same(TokenEmbedding(plain), torch.tensor([[0, 6, 2], [2, 2, 5]]))
same(TokenEmbedding(plain).logits, stream)
same(LearnedPositions(plain), 5, 3)
same(SinusoidalPositions(plain), 5, 3)
"""
sizes = st.integers(1, 6)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make(seed: int = 0, **changes: Any) -> MultiHeadAttention:
    """A module of width 12 with 3 heads, or of another shape; the same at every call."""
    torch.manual_seed(seed)
    return MultiHeadAttention(tiny_config(**changes))


def some_mask(batch: int, queries: int, keys: int, seed: int) -> Tensor:
    """A random mask; some queries may look at nothing."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, queries, keys, generator=generator) < 0.4


def in_parts(
    module: MultiHeadAttention, stream: Tensor, parts: list[int], mask: Tensor | None
) -> tuple[Tensor, JoiningCache]:
    """The module's output for a stream that comes in parts, with a cache."""
    cache, outputs, start = JoiningCache(), [], 0
    for part in stream.split(parts, dim=1):
        end = start + part.shape[1]
        outputs.append(module(part, cache, None if mask is None else mask[:, start:end, :end]))
        start = end
    return torch.cat(outputs, dim=1), cache


def peer_of(module: MultiHeadAttention, width: int, bias: bool) -> nn.MultiheadAttention:
    """PyTorch's own multi-head attention with the same weights."""
    peer = nn.MultiheadAttention(width, module.heads, bias=bias, batch_first=True).double()
    names = {
        "in_proj_weight": "query_key_value.weight",
        "in_proj_bias": "query_key_value.bias",
        "out_proj.weight": "output.weight",
        "out_proj.bias": "output.bias",
    }
    state = module.state_dict()
    peer.load_state_dict({theirs: state[ours] for theirs, ours in names.items() if ours in state})
    return peer


class TestMultiHeadAttention:
    @given(
        batch=sizes,
        time=sizes,
        heads=st.integers(1, 4),
        head_width=st.integers(1, 5),
        bias=st.booleans(),
    )
    @settings(deadline=None, max_examples=25)
    def test_equals_pytorchs_own(
        self, batch: int, time: int, heads: int, head_width: int, bias: bool
    ) -> None:
        width = heads * head_width
        module = make(width=width, heads=heads, bias=bias).double()
        stream = random(batch, time, width)
        mine, other = stream.clone().requires_grad_(), stream.clone().requires_grad_()
        found = module(mine)
        forbidden = ~causal_mask(time, time)
        peer = peer_of(module, width, bias)
        expected = peer(other, other, other, attn_mask=forbidden, need_weights=False)[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        direction = random(batch, time, width, seed=3)
        gradient = torch.autograd.grad((found * direction).sum(), mine)
        torch.testing.assert_close(
            gradient, torch.autograd.grad((expected * direction).sum(), other), rtol=0, atol=1e-12
        )

    def test_shows_the_weights_that_pytorchs_own_reports(self) -> None:
        module = make().double()
        stream = random(2, 5, 12)
        query, key, value = module.project(stream)
        assert query.shape == key.shape == value.shape == (2, 3, 5, 4)
        _, expected = peer_of(module, 12, True)(
            stream, stream, stream, attn_mask=~causal_mask(5, 5), average_attn_weights=False
        )
        torch.testing.assert_close(attention_weights(query, key), expected, rtol=0, atol=1e-12)

    def test_rotary_positions_change_the_weights_and_not_the_values(self) -> None:
        plain, turned = make(position="none"), make(position="rotary")
        turned.load_state_dict(plain.state_dict())
        stream = random(2, 5, 12, dtype=torch.float32)
        torch.testing.assert_close(plain.project(stream)[2], turned.project(stream)[2])
        assert not torch.allclose(plain(stream), turned(stream), atol=1e-4)
        # Position 0 is not turned, and sees only itself.
        torch.testing.assert_close(plain(stream)[:, 0], turned(stream)[:, 0])

    def test_has_the_parameters_of_its_shape(self) -> None:
        assert {name: tuple(p.shape) for name, p in make().named_parameters()} == {
            "query_key_value.weight": (36, 12),
            "query_key_value.bias": (36,),
            "output.weight": (12, 12),
            "output.bias": (12,),
        }
        without = dict(make(bias=False).named_parameters())
        assert set(without) == {"query_key_value.weight", "output.weight"}

    def test_drops_out_in_training_only(self) -> None:
        module = make(dropout=0.5)
        stream = random(2, 5, 12, dtype=torch.float32)
        assert not torch.allclose(module(stream), module(stream))
        module.eval()
        assert torch.equal(module(stream), module(stream))

    def test_documents_that_are_packed_are_as_if_alone(self) -> None:
        module = make().double()
        packed = torch.tensor([[5, 1, 0, 4, 4, 0, 2], [3, 0, 2, 2, 6, 1, 7]])
        stream = random(2, 7, 12)
        found = module(stream, mask=document_mask(packed, end_of_text=0))
        for row, start, end in ((0, 0, 3), (0, 3, 6), (0, 6, 7), (1, 0, 2), (1, 2, 7)):
            part = slice(row, row + 1), slice(start, end)
            torch.testing.assert_close(found[part], module(stream[part]), rtol=0, atol=1e-12)

    def test_what_sees_nothing_adds_only_the_bias_of_the_output(self) -> None:
        module = make().double()
        mask = causal_mask(5, 5).repeat(2, 1, 1)
        mask[1, 3] = False
        found = module(random(2, 5, 12), mask=mask)
        torch.testing.assert_close(found[1, 3], module.output.bias, rtol=0, atol=0)
        found.sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in module.parameters())

    @pytest.mark.slow
    def test_compiles_to_the_same(self) -> None:
        """In a process of its own: the compiler cannot look through the tests' type checks."""
        result = subprocess.run(
            [sys.executable, "-c", COMPILE], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr


class TestSharedHeads:
    @pytest.mark.parametrize("position", ["none", "rotary"])
    @pytest.mark.parametrize("shared", [1, 2, 3, 6])
    def test_are_heads_with_equal_keys_and_values(self, shared: int, position: str) -> None:
        shape = {"width": 24, "heads": 6, "position": position}
        grouped = make(key_value_heads=shared, **shape).double()
        plain = make(**shape).double()
        with torch.no_grad():
            for name in ("weight", "bias"):
                parts = getattr(grouped.query_key_value, name).split([24, 4 * shared, 4 * shared])
                copied = [
                    part.unflatten(0, (shared, 4)).repeat_interleave(6 // shared, 0).flatten(0, 1)
                    for part in parts[1:]
                ]
                getattr(plain.query_key_value, name).copy_(torch.cat([parts[0], *copied]))
            plain.output.load_state_dict(grouped.output.state_dict())
        stream, mask = random(2, 5, 24), some_mask(2, 5, 5, seed=6)
        for some in (None, mask):
            torch.testing.assert_close(
                grouped(stream, None, some), plain(stream, None, some), rtol=0, atol=1e-12
            )

    def test_need_not_be_as_many_in_the_cache(self) -> None:
        module = make(width=24, heads=6, key_value_heads=2).double()
        _, cache = in_parts(module, random(2, 5, 24), [2, 3], None)
        assert [tuple(key.shape) for key, _ in cache.parts] == [(2, 2, 2, 4), (2, 2, 3, 4)]

    def test_that_do_not_divide_are_refused_before_a_module_is_built(self) -> None:
        for shared in (4, 12):
            with pytest.raises(ValueError, match=f"key_value_heads {shared} must divide heads 6"):
                make(width=24, heads=6, key_value_heads=shared)
        with pytest.raises(ValueError, match="key_value_heads 0 must be at least 1"):
            make(width=24, heads=6, key_value_heads=0)
        with pytest.raises(ValueError, match="heads 5 must divide width 12"):
            make(width=12, heads=5)
        with pytest.raises(ValueError, match="heads 0 must be at least 1"):
            make(width=12, heads=0)


class TestEveryPath:
    @given(
        parts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
        shared=st.sampled_from([1, 2, 3, 6]),
        masked=st.booleans(),
        position=st.sampled_from(["none", "rotary"]),
        double=st.booleans(),
        batch=st.integers(1, 3),
    )
    @settings(deadline=None, max_examples=40)
    def test_gives_the_same(
        self, parts: list[int], shared: int, masked: bool, position: str, double: bool, batch: int
    ) -> None:
        """Fused, explicit with weights, and in parts of any sizes with a cache."""
        dtype, tolerance = (torch.float64, 1e-12) if double else (torch.float32, 1e-5)
        time = sum(parts)
        shape = {"width": 24, "heads": 6, "key_value_heads": shared, "context_length": 20}
        module = make(position=position, **shape).to(dtype)
        stream = random(batch, time, 24, dtype=dtype)
        mask = some_mask(batch, time, time, seed=8) if masked else None
        with torch.no_grad():
            fused = module(stream, None, mask)
            query, key, value = module.project(stream)
            weights = attention_weights(query, key, mask)
            mixed = weights @ value.repeat_interleave(6 // shared, dim=1)
            explicit = module.output(mixed.transpose(1, 2).flatten(2))
            cached, cache = in_parts(module, stream, parts, mask)
        assert isinstance(cache, LayerCache)
        assert cache.length == time
        torch.testing.assert_close(explicit, fused, rtol=0, atol=tolerance)
        torch.testing.assert_close(cached, fused, rtol=0, atol=tolerance)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_in_half_precision_up_to_its_digits(self, dtype: torch.dtype) -> None:
        module = make(width=24, heads=6, key_value_heads=2, position="rotary")
        stream = random(2, 7, 24, dtype=torch.float32)
        with torch.no_grad():
            expected = module(stream)
            half = module.to(dtype)
            at_once = half(stream.to(dtype))
            cached, _ = in_parts(half, stream.to(dtype), [3, 3, 1], None)
        assert at_once.dtype == dtype
        for found in (at_once, cached):
            torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)


def names_read(path: Path) -> set[str]:
    """Every attribute that a module's code reads, and every name of an argument in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.arg | ast.keyword):
            found.add(str(node.arg))
    return found


def fields_declared(path: Path) -> set[str]:
    """Every annotated name in the body of a class."""
    return {
        statement.target.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }


class TestAKnobOfAttention:
    """The configuration is handed whole: a knob is declared in one file, read in another."""

    def test_is_declared_once_and_read_once(self) -> None:
        sources = sorted((ROOT / "mini_gpt").rglob("*.py"))
        assert len(sources) > 40
        declaring = [path.name for path in sources if "key_value_heads" in fields_declared(path)]
        assert declaring == ["config.py"]
        model = ("embedding", "position", "attention", "multi_head", "decoder", "model")
        for knob, readers in {"key_value_heads": set(), "kv_heads": {"multi_head"}}.items():
            reading = {m for m in model if knob in names_read(ROOT / "mini_gpt" / f"{m}.py")}
            assert reading == readers, knob

    def test_reaches_attention_through_a_model_that_does_not_know_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Adding a knob: one class declares it, one reads it, and the whole model obeys it."""

        @dataclass(frozen=True)
        class WindowConfig(GPTConfig):
            window: int = 1

        class WindowAttention(MultiHeadAttention):
            def __init__(self, config: GPTConfig) -> None:
                super().__init__(config)
                assert isinstance(config, WindowConfig)
                self.window = config.window

            def forward(
                self, stream: Tensor, cache: LayerCache | None = None, mask: Tensor | None = None
            ) -> Tensor:
                time = stream.shape[1]
                return super().forward(stream, cache, causal_mask(time, time).triu(1 - self.window))

        monkeypatch.setattr("mini_gpt.decoder.MultiHeadAttention", WindowAttention)
        shape = vars(tiny_config()) | {"layers": 1}
        ids = torch.tensor([[3, 1, 4, 1, 5]])
        changed = torch.tensor([[3, 2, 4, 1, 5]])
        for window, sees in ((3, False), (4, True)):
            torch.manual_seed(0)
            model = GPT(WindowConfig(**shape, window=window)).eval()
            with torch.no_grad():
                same = torch.equal(model(ids)[:, -1], model(changed)[:, -1])
            assert same != sees, f"window {window}"


class TestExercises:
    def test_owner(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(config: GPTConfig, row: int) -> tuple[str, int]:
            kinds = [("query", head) for head in range(config.heads)]
            kinds += [("key", head) for head in range(config.kv_heads)]
            kinds += [("value", head) for head in range(config.kv_heads)]
            return kinds[row // config.head_width]

        def three_equal_parts(config: GPTConfig, row: int) -> tuple[str, int]:
            part, rest = divmod(row, config.width)
            return ("query", "key", "value")[part], rest // config.head_width

        checks.multi_head.owner(lambda config, row: None)
        checks.multi_head.owner(lambda config, row: ("query", row // config.heads))
        checks.multi_head.owner(three_equal_parts)
        checks.multi_head.owner(right)
        nothing, by_heads, equal, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith(
            "not yet: for width 12, 3 heads, 3 of keys, row 0 nothing comes back"
        )
        assert by_heads.startswith("not yet: for width 12, 3 heads, 3 of keys, row 3 expected")
        assert equal.startswith("not yet: for width 12, 6 heads, 2 of keys, row 16 expected")
        assert solution.startswith("correct: ")

    def test_owner_is_what_the_module_does(self) -> None:
        """A change of one row changes one head's query, key or value, and nothing else."""
        module = make(heads=6, key_value_heads=2, position="none").double()
        stream = random(2, 5, 12)
        before = module.project(stream)
        expected = {}
        for row in range(20):
            with torch.no_grad():
                module.query_key_value.weight[row] += 1
                after = module.project(stream)
                module.query_key_value.weight[row] -= 1
            moved = [
                (kind, head)
                for kind, one, other in zip(("query", "key", "value"), before, after, strict=True)
                for head in range(one.shape[1])
                if not torch.allclose(one[:, head], other[:, head])
            ]
            assert len(moved) == 1
            expected[row] = moved[0]
        assert [expected[row] for row in (0, 1, 2, 11, 12, 13, 14, 16, 19)] == [
            ("query", 0),
            ("query", 0),
            ("query", 1),
            ("query", 5),
            ("key", 0),
            ("key", 0),
            ("key", 1),
            ("value", 0),
            ("value", 1),
        ]

    def test_grouped_attention(self, capsys: pytest.CaptureFixture[str]) -> None:
        def with_keys(repeat: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
            def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
                group = query.shape[1] // key.shape[1]
                return causal_attention(query, repeat(key, group), repeat(value, group))

            return attend

        checks.multi_head.grouped_attention(lambda query, key, value: None)
        checks.multi_head.grouped_attention(with_keys(lambda x, group: x.repeat(1, group, 1, 1)))
        checks.multi_head.grouped_attention(
            with_keys(lambda x, group: x.repeat_interleave(group, dim=1))
        )
        nothing, interleaved, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for 6 heads, 6 key heads")
        assert interleaved.startswith("not yet: for 6 heads, 2 key heads")
        assert solution.startswith("correct: ")

    def test_whole_attention(self, capsys: pytest.CaptureFixture[str]) -> None:
        def with_order(pattern: str) -> Callable[..., Tensor]:
            def attend(stream: Tensor, joint: Tensor, output: Tensor, heads: int) -> Tensor:
                parts = rearrange(stream @ joint.T, pattern, three=3, heads=heads)
                found = causal_attention(*parts)
                return rearrange(found, "b heads t k -> b t (heads k)") @ output.T

            return attend

        checks.multi_head.whole_attention(lambda stream, joint, output, heads: None)
        for order in ("three heads k", "heads three k"):
            pattern = f"b t ({order}) -> three b heads t k"
            checks.multi_head.whole_attention(with_order(pattern))
        nothing, ours, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith(
            "not yet: for batch 2, time 5, width 12, heads 1 nothing comes back"
        )
        assert ours.startswith("not yet: for batch 1, time 1, width 12, heads 3 expected")
        assert solution.startswith("correct: ")


def test_the_shipped_weights_are_those_of_the_shipped_model() -> None:
    model, tokenizer = from_pretrained("shakespeare")
    config, own_tokenizer, weights = shipped_weights()
    assert config == model.config
    assert own_tokenizer.encode("my lord") == tokenizer.encode("my lord")
    for name, tensor in model.state_dict().items():
        if name in weights:
            assert torch.equal(tensor, weights[name]), name
    first = part_of(weights, "decoder.blocks.0.attention.")
    assert first.keys() == model.decoder.blocks[0].attention.state_dict().keys()
