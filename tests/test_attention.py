"""Causal mask, attention in all its ways, the module, and the test that finds leaks."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right

from mini_gpt import checks
from mini_gpt.attention import (
    KeyValueCache,
    LayerCache,
    MultiHeadAttention,
    attention_weights,
    causal_attention,
    causal_mask,
    check_attention,
    check_causality,
)
from mini_gpt.data import document_mask
from mini_gpt.position import RotaryPositions, check_equivariance

ROOT = Path(__file__).resolve().parent.parent
COMPILE = """
import torch
from mini_gpt.attention import MultiHeadAttention, attention_weights, causal_attention
from mini_gpt.embedding import TokenEmbedding
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
mask[:, range(5), range(5)] = True
rotary = RotaryPositions(9, 2)
for module in (
    MultiHeadAttention(12, 3),
    MultiHeadAttention(12, 6, key_value_heads=2, rotary=rotary, bias=False),
):
    same(module, stream)
    same(module, stream, None, mask)
query = torch.randn(2, 6, 3, 2, requires_grad=True)
key, value = (torch.randn(2, 2, 7, 2, requires_grad=True) for _ in range(2))
same(causal_attention, query, key, value)
same(attention_weights, query, key)
same(rotary, query, 4)
same(TokenEmbedding(7, 12), torch.tensor([[0, 6, 2], [2, 2, 5]]))
same(TokenEmbedding(7, 12).logits, stream)
same(LearnedPositions(9, 12), 5, 3)
same(SinusoidalPositions(9, 12), 5, 3)
"""
sizes = st.integers(1, 6)


class JoiningCache:
    """A cache that keeps what it is given."""

    def __init__(self) -> None:
        self.length = 0
        self.kept: list[tuple[Tensor, Tensor]] = []

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        self.length += key.shape[2]
        self.kept.append((key, value))
        keys, values = zip(*self.kept, strict=True)
        return torch.cat(keys, dim=2), torch.cat(values, dim=2)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def in_plain_python(query: list, key: list, value: list) -> list[list[float]]:
    """Attention of one head from lists and `math` alone."""
    ahead = len(key) - len(query)
    outputs = []
    for place, looking in enumerate(query):
        seen = range(ahead + place + 1)
        scores = [
            sum(a * b for a, b in zip(looking, key[k], strict=True)) / math.sqrt(len(looking))
            for k in seen
        ]
        parts = [math.exp(score - max(scores)) for score in scores]
        columns = zip(*(value[k] for k in seen), strict=True)
        outputs.append([math.sumprod(parts, c) / sum(parts) for c in columns])
    return outputs


if not hasattr(math, "sumprod"):  # Python 3.10 and 3.11

    def sumprod(first: list[float], second: tuple[float, ...]) -> float:
        return sum(a * b for a, b in zip(first, second, strict=True))

    math.sumprod = sumprod  # type: ignore[attr-defined]


class TestMask:
    def test_is_the_lower_triangle(self) -> None:
        expected = [[True, False, False], [True, True, False], [True, True, True]]
        assert causal_mask(3, 3).tolist() == expected

    def test_lets_the_last_query_see_every_key(self) -> None:
        expected = [[True, True, True, True, False], [True, True, True, True, True]]
        assert causal_mask(2, 5).tolist() == expected

    @given(queries=sizes, more=st.integers(0, 4))
    @settings(deadline=None, max_examples=20)
    def test_says_who_is_not_later(self, queries: int, more: int) -> None:
        keys = queries + more
        mask = causal_mask(queries, keys)
        for query in range(queries):
            for key in range(keys):
                assert mask[query, key] == (key <= query + more)

    def test_refuses_more_queries_than_keys(self) -> None:
        with pytest.raises(ValueError, match="4 queries cannot end where 3 keys end"):
            causal_mask(4, 3)


class TestAttention:
    @given(batch=sizes, heads=sizes, queries=sizes, more=st.integers(0, 4), head_width=sizes)
    @settings(deadline=None, max_examples=25)
    def test_equals_plain_python(
        self, batch: int, heads: int, queries: int, more: int, head_width: int
    ) -> None:
        query = random(batch, heads, queries, head_width, seed=1)
        key, value = random(2, batch, heads, queries + more, head_width, seed=2)
        expected = [
            [in_plain_python(query[b, h].tolist(), key[b, h].tolist(), value[b, h].tolist())
             for h in range(heads)]
            for b in range(batch)
        ]  # fmt: skip
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(
            causal_attention(query, key, value), expected, rtol=0, atol=1e-12
        )
        explicit = attention_weights(query, key) @ value
        torch.testing.assert_close(explicit, expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(("queries", "keys"), [(5, 5), (2, 7), (1, 7), (1, 1)])
    def test_has_the_same_gradients_fused_and_explicit(self, queries: int, keys: int) -> None:
        inputs = [
            random(2, 3, n, 4, seed=n + i).requires_grad_()
            for i, n in enumerate((queries, keys, keys))
        ]
        direction = random(2, 3, queries, 4, seed=9)
        fused = torch.autograd.grad((causal_attention(*inputs) * direction).sum(), inputs)
        explicit = attention_weights(*inputs[:2]) @ inputs[2]
        for ours, theirs in zip(
            fused, torch.autograd.grad((explicit * direction).sum(), inputs), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)

    def test_gradients_are_the_numerical_ones(self) -> None:
        inputs = [random(1, 2, n, 3, seed=n).requires_grad_() for n in (2, 5, 5)]
        assert torch.autograd.gradcheck(causal_attention, inputs)

    def test_aligns_the_ends_like_pytorchs_lower_right_mask(self) -> None:
        query, key = (
            random(2, 3, 2, 4, dtype=torch.float32),
            random(2, 3, 7, 4, dtype=torch.float32),
        )
        value = random(2, 3, 7, 4, seed=5, dtype=torch.float32)
        peer = F.scaled_dot_product_attention(query, key, value, attn_mask=causal_lower_right(2, 7))
        torch.testing.assert_close(causal_attention(query, key, value), peer)
        wrong = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        assert not torch.allclose(wrong, peer, atol=1e-2)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_works_in_half_precision(self, dtype: torch.dtype) -> None:
        query, key, value = (random(2, 3, n, 4, seed=n) for n in (3, 6, 6))
        halves = causal_attention(*(tensor.to(dtype) for tensor in (query, key, value)))
        assert halves.dtype == dtype
        torch.testing.assert_close(
            halves.double(), causal_attention(query, key, value), rtol=0.02, atol=0.02
        )

    def test_weights_are_shares_of_what_is_visible(self) -> None:
        weights = attention_weights(random(2, 3, 2, 4), random(2, 3, 7, 4, seed=1))
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 2, dtype=torch.float64))
        assert torch.equal(weights > 0, causal_mask(2, 7).expand_as(weights))

    def test_drops_weights_only_when_asked(self) -> None:
        query, key, value = random(3, 2, 3, 5, 4, dtype=torch.float32)
        assert torch.equal(causal_attention(query, key, value), causal_attention(query, key, value))
        torch.manual_seed(0)
        runs = [causal_attention(query, key, value, dropout=0.5) for _ in range(2)]
        assert not torch.allclose(*runs)

    def test_refuses_more_queries_than_keys(self) -> None:
        for attend in (attention_weights, lambda q, k: causal_attention(q, k, k)):
            with pytest.raises(ValueError, match="4 queries cannot end where 3 keys end"):
                attend(random(1, 2, 4, 3), random(1, 2, 3, 3))


def some_mask(batch: int, queries: int, keys: int, seed: int) -> Tensor:
    """A random mask with which each query may see its own position at least."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(batch, queries, keys, generator=generator) < 0.5
    own = torch.arange(queries) + keys - queries
    mask[:, torch.arange(queries), own] = True
    return mask


class TestMasksAndSharedHeads:
    @given(
        batch=sizes,
        shared=st.integers(1, 3),
        group=st.integers(1, 3),
        queries=sizes,
        more=st.integers(0, 4),
        masked=st.booleans(),
    )
    @settings(deadline=None, max_examples=40)
    def test_fused_and_explicit_and_plain_python_agree(
        self, batch: int, shared: int, group: int, queries: int, more: int, masked: bool
    ) -> None:
        keys, heads = queries + more, shared * group
        query = random(batch, heads, queries, 4, seed=1).requires_grad_()
        key, value = (random(batch, shared, keys, 4, seed=s).requires_grad_() for s in (2, 3))
        mask = some_mask(batch, queries, keys, seed=4) if masked else None
        owner = [head // group for head in range(heads)]
        fused = causal_attention(query, key, value, mask)
        weights = attention_weights(query, key, mask)
        explicit = weights @ value[:, owner]
        torch.testing.assert_close(fused, explicit, rtol=0, atol=1e-12)
        direction = random(batch, heads, queries, 4, seed=5)
        gradients = [
            torch.autograd.grad((result * direction).sum(), [query, key, value])
            for result in (fused, explicit)
        ]
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
        visible = causal_mask(queries, keys).expand(batch, heads, queries, keys)
        if mask is not None:
            visible = visible & mask[:, None]
        assert torch.equal(weights > 0, visible)
        exponentials = (query @ key[:, owner].mT / 2).exp() * visible
        by_formula = exponentials / exponentials.sum(-1, keepdim=True)
        torch.testing.assert_close(weights, by_formula, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_in_other_precisions(self, dtype: torch.dtype) -> None:
        query, key, value = (
            random(2, 6, 3, 4),
            random(2, 2, 5, 4, seed=1),
            random(2, 2, 5, 4, seed=2),
        )
        mask = some_mask(2, 3, 5, seed=3)
        expected = causal_attention(query, key, value, mask)
        found = causal_attention(query.to(dtype), key.to(dtype), value.to(dtype), mask)
        assert found.dtype == dtype
        tolerance = 1e-5 if dtype == torch.float32 else 0.02
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize(("queries", "keys"), [(5, 5), (3, 5), (1, 5)])
    def test_masks_of_every_rank(self, queries: int, keys: int) -> None:
        """One table for all, one a row, one a row and head; size 1 stands for all alike."""
        query = random(2, 3, queries, 4)
        key, value = random(2, 2, 3, keys, 4, seed=1)
        full = torch.stack([some_mask(2, queries, keys, seed=head) for head in range(3)], dim=1)
        for mask in (full[0, 0], full[:, 0], full[:1, 0], full, full[:, :1], full[:1]):
            aligned = mask[:, None] if mask.ndim == 3 else mask
            expanded = aligned.expand(2, 3, queries, keys)
            found = causal_attention(query, key, value, mask)
            for row in range(2):
                for head in range(3):
                    alone = causal_attention(
                        query[row : row + 1, head : head + 1],
                        key[row : row + 1, head : head + 1],
                        value[row : row + 1, head : head + 1],
                        expanded[row, head],
                    )
                    torch.testing.assert_close(found[row, head], alone[0, 0], rtol=0, atol=1e-12)
            weights = attention_weights(query, key, mask)
            torch.testing.assert_close(weights @ value, found, rtol=0, atol=1e-12)

    def test_a_mask_cannot_show_the_future(self) -> None:
        query, key, value = random(3, 2, 3, 5, 4)
        everything = torch.ones(2, 5, 5, dtype=torch.bool)
        torch.testing.assert_close(
            causal_attention(query, key, value, everything), causal_attention(query, key, value)
        )

    @pytest.mark.parametrize("rotary", [False, True])
    @pytest.mark.parametrize("shared", [1, 2, 3, 6])
    def test_shared_heads_are_heads_with_equal_keys_and_values(
        self, shared: int, rotary: bool
    ) -> None:
        torch.manual_seed(0)
        positions = RotaryPositions(9, 4).double() if rotary else None
        grouped = MultiHeadAttention(24, 6, key_value_heads=shared, rotary=positions).double()
        plain = MultiHeadAttention(24, 6, rotary=positions).double()
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

    @given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=5), masked=st.booleans())
    @settings(deadline=None, max_examples=25)
    def test_in_pieces_with_the_cache(self, pieces: list[int], masked: bool) -> None:
        time = sum(pieces)
        torch.manual_seed(0)
        module = MultiHeadAttention(24, 6, key_value_heads=2).double()
        stream = random(2, time, 24)
        mask = some_mask(2, time, time, seed=7) if masked else None
        cache, outputs, start = KeyValueCache(time), [], 0
        for piece in stream.split(pieces, dim=1):
            end = start + piece.shape[1]
            some = None if mask is None else mask[:, start:end, :end]
            outputs.append(module(piece, cache, some))
            start = end
        assert cache.keys is not None
        assert cache.keys.shape[1] == 2
        torch.testing.assert_close(
            torch.cat(outputs, dim=1), module(stream, None, mask), rtol=0, atol=1e-12
        )

    def test_documents_that_are_packed_are_as_if_alone(self) -> None:
        torch.manual_seed(0)
        module = MultiHeadAttention(12, 3).double()
        packed = torch.tensor([[5, 1, 0, 4, 4, 0, 2], [3, 0, 2, 2, 6, 1, 7]])
        stream = random(2, 7, 12)
        found = module(stream, mask=document_mask(packed, end_of_text=0))
        for row, start, end in ((0, 0, 3), (0, 3, 6), (0, 6, 7), (1, 0, 2), (1, 2, 7)):
            torch.testing.assert_close(
                found[row : row + 1, start:end],
                module(stream[row : row + 1, start:end]),
                rtol=0,
                atol=1e-12,
            )

    def test_names_shared_heads_that_do_not_divide(self) -> None:
        for shared in (0, 4, 12):
            with pytest.raises(ValueError, match=f"{shared} key_value_heads do not divide 6 heads"):
                MultiHeadAttention(24, 6, key_value_heads=shared)


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
        torch.manual_seed(0)
        module = MultiHeadAttention(width, heads, bias=bias).double()
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
        module = MultiHeadAttention(12, 3).double()
        stream = random(2, 5, 12)
        query, key, value = module.project(stream)
        assert query.shape == key.shape == value.shape == (2, 3, 5, 4)
        _, expected = peer_of(module, 12, True)(
            stream, stream, stream, attn_mask=~causal_mask(5, 5), average_attn_weights=False
        )
        torch.testing.assert_close(attention_weights(query, key), expected, rtol=0, atol=1e-12)

    @given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=5), rotary=st.booleans())
    @settings(deadline=None, max_examples=25)
    def test_gives_the_same_in_pieces(self, pieces: list[int], rotary: bool) -> None:
        time = sum(pieces)
        torch.manual_seed(0)
        positions = RotaryPositions(time, 4) if rotary else None
        module = MultiHeadAttention(12, 3, rotary=positions).double()
        stream = random(2, time, 12)
        cache = JoiningCache()
        assert isinstance(cache, LayerCache)
        outputs = [module(piece, cache) for piece in stream.split(pieces, dim=1)]
        assert cache.length == time
        found, expected = torch.cat(outputs, dim=1), module(stream)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7 if rotary else 1e-12)

    def test_rotary_positions_change_the_weights_and_not_the_values(self) -> None:
        torch.manual_seed(0)
        plain = MultiHeadAttention(12, 3)
        turned = MultiHeadAttention(12, 3, rotary=RotaryPositions(9, 4))
        turned.load_state_dict(plain.state_dict())
        stream = random(2, 5, 12, dtype=torch.float32)
        torch.testing.assert_close(plain.project(stream)[2], turned.project(stream)[2])
        assert not torch.allclose(plain(stream), turned(stream), atol=1e-4)
        # Position 0 is not turned, and sees only itself.
        torch.testing.assert_close(plain(stream)[:, 0], turned(stream)[:, 0])

    def test_has_the_parameters_of_its_shape(self) -> None:
        with_bias = {
            name: tuple(p.shape) for name, p in MultiHeadAttention(12, 3).named_parameters()
        }
        assert with_bias == {
            "query_key_value.weight": (36, 12),
            "query_key_value.bias": (36,),
            "output.weight": (12, 12),
            "output.bias": (12,),
        }
        without = dict(MultiHeadAttention(12, 3, bias=False).named_parameters())
        assert set(without) == {"query_key_value.weight", "output.weight"}

    def test_drops_out_in_training_only(self) -> None:
        module = MultiHeadAttention(12, 3, dropout=0.5)
        stream = random(2, 5, 12, dtype=torch.float32)
        torch.manual_seed(0)
        assert not torch.allclose(module(stream), module(stream))
        module.eval()
        assert torch.equal(module(stream), module(stream))

    def test_compiles_to_the_same(self) -> None:
        """In a process of its own: the compiler cannot look through the tests' type checks."""
        result = subprocess.run(
            [sys.executable, "-c", COMPILE], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr

    def test_names_heads_that_do_not_divide_the_width(self) -> None:
        with pytest.raises(ValueError, match="5 heads do not divide the width 12"):
            MultiHeadAttention(12, 5)
        with pytest.raises(ValueError, match="0 heads cannot attend"):
            MultiHeadAttention(12, 0)


def with_mask(module: MultiHeadAttention, mask: Tensor) -> Callable[[Tensor], Tensor]:
    """The module with a mask of somebody's choice."""

    def forward(stream: Tensor) -> Tensor:
        query, key, value = module.project(stream)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return module.output(mixed.transpose(1, 2).flatten(2))

    return forward


class TestKeyValueCache:
    def test_is_a_layer_cache_that_returns_what_it_was_given(self) -> None:
        cache = KeyValueCache(5)
        assert isinstance(cache, LayerCache)
        keys, values = random(2, 2, 3, 5, 4)
        assert torch.equal(cache.append(keys[:, :, :2], values[:, :, :2])[0], keys[:, :, :2])
        found = cache.append(keys[:, :, 2:], values[:, :, 2:])
        assert torch.equal(found[0], keys)
        assert torch.equal(found[1], values)
        assert cache.length == 5

    def test_takes_its_memory_once(self) -> None:
        cache = KeyValueCache(5)
        cache.append(*torch.zeros(2, 2, 3, 1, 4))
        assert cache.keys is not None
        assert cache.keys.shape == (2, 3, 5, 4)
        before = cache.keys.data_ptr()
        keys, _ = cache.append(*torch.zeros(2, 2, 3, 2, 4))
        assert cache.keys.data_ptr() == before == keys.data_ptr()

    def test_refuses_what_does_not_fit(self) -> None:
        cache = KeyValueCache(5)
        cache.append(*torch.zeros(2, 2, 3, 4, 4))
        with pytest.raises(ValueError, match="6 positions do not fit a cache for 5"):
            cache.append(*torch.zeros(2, 2, 3, 2, 4))
        with pytest.raises(ValueError, match="1 rows do not fit a cache of 2"):
            cache.append(*torch.zeros(2, 1, 3, 1, 4))
        with pytest.raises(
            ValueError, match=r"1 heads in torch\.float32 do not fit a cache of 3 in"
        ):
            cache.append(*torch.zeros(2, 2, 1, 1, 4))
        with pytest.raises(ValueError, match=r"3 heads in torch\.bfloat16 do not fit a cache of 3"):
            cache.append(*torch.zeros(2, 2, 3, 1, 4).bfloat16())
        assert cache.length == 4

    def test_keeps_rows(self) -> None:
        cache = KeyValueCache(5)
        keys, values = random(2, 3, 2, 4, 4)
        cache.append(keys, values)
        cache.keep([2, 0, 2, 1])
        found, _ = cache.append(*torch.ones(2, 4, 2, 1, 4, dtype=torch.float64))
        assert torch.equal(found[:, :, :4], keys[[2, 0, 2, 1]])

    def test_forgets_the_newest_positions(self) -> None:
        cache = KeyValueCache(5)
        keys, values = random(2, 2, 3, 4, 4)
        cache.append(keys, values)
        cache.crop(1)
        assert cache.length == 1
        newer = random(2, 2, 3, 2, 4, seed=1)
        found = cache.append(*newer)
        assert torch.equal(found[0], torch.cat([keys[:, :, :1], newer[0]], dim=2))
        assert torch.equal(found[1], torch.cat([values[:, :, :1], newer[1]], dim=2))
        cache.crop(0)
        assert cache.append(*newer)[0].shape == (2, 3, 2, 4)

    @pytest.mark.parametrize("length", [-1, 3])
    def test_cannot_forget_what_it_does_not_have(self, length: int) -> None:
        cache = KeyValueCache(5)
        cache.append(*random(2, 2, 3, 2, 4))
        with pytest.raises(ValueError, match=f"cannot keep {length} positions of 2"):
            cache.crop(length)
        assert cache.length == 2


class TestCheckCausality:
    @pytest.fixture
    def module(self) -> MultiHeadAttention:
        torch.manual_seed(0)
        return MultiHeadAttention(12, 3).eval()

    example = random(2, 5, 12, dtype=torch.float32)

    def test_passes_the_module(self, module: MultiHeadAttention) -> None:
        check_causality(module, self.example)
        check_causality(with_mask(module, causal_mask(5, 5)), self.example)

    def test_passes_ids(self) -> None:
        table = random(7, 12, dtype=torch.float32)
        ids = torch.tensor([[0, 6, 2, 2], [3, 0, 1, 6]])
        check_causality(lambda ids: table[ids].cumsum(dim=1), ids)
        with pytest.raises(AssertionError, match="position 0 changes with the input at position 1"):
            check_causality(lambda ids: table[ids].flip(1).cumsum(dim=1).flip(1), ids)

    def test_finds_a_mask_that_is_off_by_one(self, module: MultiHeadAttention) -> None:
        leaky = with_mask(module, torch.ones(5, 5, dtype=torch.bool).tril(1))
        with pytest.raises(AssertionError, match="position 0 changes with the input at position 1"):
            check_causality(leaky, self.example)

    def test_finds_no_mask(self, module: MultiHeadAttention) -> None:
        with pytest.raises(AssertionError, match="position 0 changes with the input at position 1"):
            check_causality(with_mask(module, torch.ones(5, 5, dtype=torch.bool)), self.example)

    def test_names_the_first_leak(self, module: MultiHeadAttention) -> None:
        mask = causal_mask(5, 5)
        mask[2, 4] = mask[3, 4] = True
        with pytest.raises(AssertionError, match="position 2 changes with the input at position 4"):
            check_causality(with_mask(module, mask), self.example)

    def test_finds_a_softmax_over_the_queries(self, module: MultiHeadAttention) -> None:
        def wrong_axis(stream: Tensor) -> Tensor:
            query, key, value = module.project(stream)
            scores = (query @ key.mT / 2).masked_fill(~causal_mask(5, 5), -math.inf)
            return (scores.softmax(dim=-2) @ value).transpose(1, 2).flatten(2)

        with pytest.raises(AssertionError, match="position 0 changes"):
            check_causality(wrong_axis, self.example)

    def test_finds_statistics_over_time(self) -> None:
        with pytest.raises(AssertionError, match="position 0 changes"):
            check_causality(lambda stream: stream - stream.mean(dim=1, keepdim=True), self.example)

    def test_finds_dropout_left_on(self) -> None:
        module = MultiHeadAttention(12, 3, dropout=0.2).train()
        with pytest.raises(AssertionError, match="is dropout on"):
            check_causality(module, self.example)

    def test_finds_a_leak_that_makes_nan(self) -> None:
        def poisoned(stream: Tensor) -> Tensor:
            after = stream.clone()
            if stream[0, 3, 0] != self.example[0, 3, 0]:
                after[0, 1] = math.nan
            return after

        with pytest.raises(AssertionError, match="position 1 changes with the input at position 3"):
            check_causality(poisoned, self.example)

    def test_leaves_the_example_and_the_random_state_alone(
        self, module: MultiHeadAttention
    ) -> None:
        example, state = self.example.clone(), torch.get_rng_state()
        check_causality(module, example)
        assert torch.equal(example, self.example)
        assert torch.equal(torch.get_rng_state(), state)

    def test_refuses_examples_that_show_nothing(self, module: MultiHeadAttention) -> None:
        with pytest.raises(ValueError, match="1 position has no future"):
            check_causality(module, self.example[:, :1])
        with pytest.raises(ValueError, match=r"all ids are \[3\]"):
            check_causality(lambda ids: ids.float(), torch.full((2, 4), 3))


@pytest.fixture
def honest() -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(12, 3).eval()


def broken(what: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """An attention function with one fault."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        queries, keys = query.shape[-2], key.shape[-2]
        own = keys - queries
        diagonal = own + {"off by one": 1, "sees too little": -1, "top left": -own}.get(what, 0)
        visible = torch.ones(queries, keys, dtype=torch.bool).tril(diagonal)
        visible[:, 0] = True
        scale = {"no scale": 1.0, "divided by K": query.shape[-1]}.get(what, query.shape[-1] ** 0.5)
        scores = (query @ key.mT / scale).masked_fill(~visible, -math.inf)
        weights = scores.softmax(dim=-2 if what == "wrong axis" else -1).nan_to_num()
        return F.dropout(weights, 0.2, training=what == "dropout") @ value

    return attend


def in_module(
    module: MultiHeadAttention, attend: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """The module with another attention function."""
    return lambda x: module.output(attend(*module.project(x)).transpose(1, 2).flatten(2))


class TestPlantedBugs:
    """Each fault, the verifier that finds it, and those that are known to be blind to it."""

    example = random(2, 5, 12, dtype=torch.float32)

    def test_without_a_fault_all_pass(self, honest: MultiHeadAttention) -> None:
        check_attention(broken("nothing"))
        check_attention(causal_attention)
        check_attention(lambda query, key, value: attention_weights(query, key) @ value)
        check_causality(in_module(honest, broken("nothing")), self.example)

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("off by one", "with 5 queries and 5 keys the output of query 0 is not the formula's"),
            ("top left", "with 2 queries and 7 keys the output of query 0 is not the formula's"),
            ("wrong axis", "with 5 queries and 5 keys the output of query 0 is not the formula's"),
            ("no scale", "with 5 queries and 5 keys the output of query 1 is not the formula's"),
            ("divided by K", "with 5 queries and 5 keys the output of query 1 is not the formula"),
            ("sees too little", "with 5 queries and 5 keys the output of query 1 is not the form"),
            ("dropout", "two runs on one input differ; is dropout on"),
        ],
    )
    def test_check_attention_finds(self, fault: str, message: str) -> None:
        torch.manual_seed(0)
        with pytest.raises(AssertionError, match=message):
            check_attention(broken(fault))

    @pytest.mark.parametrize("fault", ["off by one", "wrong axis", "dropout"])
    def test_check_causality_finds(self, honest: MultiHeadAttention, fault: str) -> None:
        torch.manual_seed(0)
        with pytest.raises(AssertionError, match=r"position 0 changes with|is dropout on"):
            check_causality(in_module(honest, broken(fault)), self.example)

    @pytest.mark.parametrize("fault", ["no scale", "divided by K", "sees too little"])
    def test_check_causality_is_blind_to(self, honest: MultiHeadAttention, fault: str) -> None:
        check_causality(in_module(honest, broken(fault)), self.example)

    def test_check_attention_finds_another_shape(self) -> None:
        with pytest.raises(AssertionError, match=r"shape \(2, 3, 4, 5\) instead of \(2, 3, 5, 4\)"):
            check_attention(lambda query, key, value: causal_attention(query, key, value).mT)

    def test_the_wrong_corner_shows_in_pieces(self, honest: MultiHeadAttention) -> None:
        """As in writing with a cache: right at once, wrong piece by piece."""

        def in_pieces(attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
            cache, outputs = KeyValueCache(5), []
            for piece in self.example.split(2, dim=1):
                query, key, value = honest.project(piece)
                outputs.append(attend(query, *cache.append(key, value)))
            return torch.cat(outputs, dim=2)

        at_once = causal_attention(*honest.project(self.example))
        corner = broken("top left")
        torch.testing.assert_close(corner(*honest.project(self.example)), at_once)
        torch.testing.assert_close(in_pieces(causal_attention), at_once)
        assert not torch.allclose(in_pieces(corner), at_once, atol=1e-3)

    def test_check_equivariance_finds_heads_that_cut_the_sequence(
        self, honest: MultiHeadAttention
    ) -> None:
        def encoder(stream: Tensor) -> Tensor:
            mixed = F.scaled_dot_product_attention(*honest.project(stream))
            return honest.output(mixed.transpose(1, 2).flatten(2))

        def cut_before_the_maps(stream: Tensor) -> Tensor:
            shape = len(stream), 3, stream.shape[1], 4
            parts = [part.reshape(shape) for part in honest.query_key_value(stream).chunk(3, -1)]
            return honest.output(F.scaled_dot_product_attention(*parts).reshape(stream.shape))

        def causal(stream: Tensor) -> Tensor:
            shape = len(stream), 3, stream.shape[1], 4
            parts = [part.reshape(shape) for part in honest.query_key_value(stream).chunk(3, -1)]
            return honest.output(causal_attention(*parts).reshape(stream.shape))

        six = random(2, 6, 12, dtype=torch.float32)
        check_equivariance(encoder, six)
        with pytest.raises(AssertionError, match="position 0 is not what its input gave"):
            check_equivariance(cut_before_the_maps, six)
        check_causality(causal, six)  # no leak: this verifier is blind to it
        with pytest.raises(AssertionError, match="position 0 is not what its input gave"):
            check_equivariance(honest, six)  # the causal mask


class TestEveryPath:
    @given(
        pieces=st.lists(st.integers(1, 4), min_size=1, max_size=5),
        shared=st.sampled_from([1, 2, 3, 6]),
        masked=st.booleans(),
        rotary=st.booleans(),
        double=st.booleans(),
        batch=st.integers(1, 3),
    )
    @settings(deadline=None, max_examples=40)
    def test_gives_the_same(
        self, pieces: list[int], shared: int, masked: bool, rotary: bool, double: bool, batch: int
    ) -> None:
        """Fused, explicit with weights, and cached in pieces of any sizes."""
        dtype, tolerance = (torch.float64, 1e-12) if double else (torch.float32, 1e-5)
        time = sum(pieces)
        torch.manual_seed(0)
        positions = RotaryPositions(20, 4) if rotary else None
        module = MultiHeadAttention(24, 6, key_value_heads=shared, rotary=positions).to(dtype)
        stream = random(batch, time, 24, dtype=dtype)
        mask = some_mask(batch, time, time, seed=8) if masked else None
        with torch.no_grad():
            fused = module(stream, None, mask)
            query, key, value = module.project(stream)
            weights = attention_weights(query, key, mask)
            mixed = weights @ value.repeat_interleave(6 // shared, dim=1)
            explicit = module.output(mixed.transpose(1, 2).flatten(2))
            cache, outputs, start = KeyValueCache(time), [], 0
            for piece in stream.split(pieces, dim=1):
                end = start + piece.shape[1]
                some = None if mask is None else mask[:, start:end, :end]
                outputs.append(module(piece, cache, some))
                start = end
        torch.testing.assert_close(explicit, fused, rtol=0, atol=tolerance)
        torch.testing.assert_close(torch.cat(outputs, dim=1), fused, rtol=0, atol=tolerance)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_in_half_precision_up_to_its_digits(self, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        module = MultiHeadAttention(24, 6, key_value_heads=2, rotary=RotaryPositions(20, 4))
        stream = random(2, 7, 24, dtype=torch.float32)
        with torch.no_grad():
            expected = module(stream)
            half, cache = module.to(dtype), KeyValueCache(7)
            at_once = half(stream.to(dtype))
            pieces = [half(piece, cache) for piece in stream.to(dtype).split(3, dim=1)]
        assert at_once.dtype == dtype
        for found in (at_once, torch.cat(pieces, dim=1)):
            torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)


class TestExercises:
    def test_scaling_mean(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(width: int) -> float:
            query, key = random(2, 20_000, width, dtype=torch.float32)
            return (query * key).mean(dim=-1).std().item()

        checks.attention.scaling_mean(lambda width: None)
        checks.attention.scaling_mean(lambda width: 1.0)
        checks.attention.scaling_mean(lambda width: 8 * right(width) / width**0.5)
        checks.attention.scaling_mean(right)
        nothing, one, fixed, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for head width 64 expected 0.125, got None")
        assert one.startswith("not yet: for head width 64")
        assert fixed.startswith("not yet: for head width 16")
        assert solution.startswith("correct: ")

    def test_window_mask(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(queries: int, keys: int, window: int) -> Tensor:
            return causal_mask(queries, keys).triu(diagonal=keys - queries - window + 1)

        checks.attention.window_mask(lambda queries, keys, window: None)
        checks.attention.window_mask(lambda q, k, w: causal_mask(q, k).triu(-w))
        checks.attention.window_mask(lambda q, k, w: right(q, k, w).float())
        checks.attention.window_mask(lambda q, k, w: causal_mask(q, k).triu(1 - w))
        checks.attention.window_mask(right)
        nothing, one_more, numbers, top_left, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for 5 queries, 5 keys, window 2 expected tensor 5×5")
        assert one_more.startswith("not yet: for 5 queries, 5 keys, window 2")
        assert "True and False, not numbers" in numbers
        assert top_left.startswith("not yet: for 2 queries, 5 keys, window 3")
        assert solution.startswith("correct: ")

    def test_grouped_attention(self, capsys: pytest.CaptureFixture[str]) -> None:
        def with_keys(repeat: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
            def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
                group = query.shape[1] // key.shape[1]
                return causal_attention(query, repeat(key, group), repeat(value, group))

            return attend

        checks.attention.grouped_attention(lambda query, key, value: None)
        checks.attention.grouped_attention(with_keys(lambda x, group: x.repeat(1, group, 1, 1)))
        checks.attention.grouped_attention(
            with_keys(lambda x, group: x.repeat_interleave(group, dim=1))
        )
        nothing, interleaved, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for 6 heads, 6 key heads")
        assert interleaved.startswith("not yet: for 6 heads, 2 key heads")
        assert solution.startswith("correct: ")
