"""Counts, costs and health: the formulas against what is there, the checks against planted bugs."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from chapters import chapter
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mini_gpt import checks
from mini_gpt.attention import attention_weights, causal_attention, causal_mask
from mini_gpt.config import PRESETS, GPTConfig
from mini_gpt.diagnostics import (
    activation_bytes,
    check_attention,
    check_causality,
    check_equivariance,
    check_gradients,
    check_initial_loss,
    check_model,
    count_parameters,
    decoding_bytes,
    flops_by_component,
    flops_per_token,
    overfit_one_batch,
    parameters_by_component,
    positions_that_differ,
    random_batch,
    training_bytes,
    training_bytes_by_part,
)
from mini_gpt.generation import KVCache
from mini_gpt.model import GPT
from mini_gpt.multi_head import MultiHeadAttention
from mini_gpt.position import RotaryPositions, sinusoidal_table
from shapes import configs, shaken
from tiny import tiny_config, tiny_gpt

TINY = tiny_config()
POSITIONS = ("learned", "sinusoidal", "rotary", "none")
RELEASED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_ids(config: GPTConfig = TINY, batch_size: int = 2, time: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(config.vocab_size, (batch_size, time), generator=generator)


class TestSize:
    @pytest.mark.parametrize("name", RELEASED)
    def test_the_four_released_sizes_are_exact(self, name: str) -> None:
        config = GPTConfig.preset(name)
        with torch.device("meta"):
            model = GPT(config)
        assert count_parameters(model) == RELEASED[name]
        assert sum(parameters_by_component(config).values()) == RELEASED[name]

    @settings(deadline=None, max_examples=40)
    @given(configs())
    def test_the_formula_counts_each_part(self, config: GPTConfig) -> None:
        with torch.device("meta"):
            model = GPT(config)
        blocks = model.decoder.blocks

        def total(*modules: nn.Module | None) -> int:
            return sum(count_parameters(module) for module in modules if module is not None)

        assert parameters_by_component(config) == {
            "token embedding (tied head)": total(model.token_embedding),
            "positions": total(model.positions),
            "attention": total(*(block.attention for block in blocks)),
            "feed-forward": total(*(block.feed_forward for block in blocks)),
            "normalization": total(
                *(block.attention_norm for block in blocks),
                *(block.feed_forward_norm for block in blocks),
            ),
            "final normalization": total(model.decoder.final_norm),
        }
        assert sum(parameters_by_component(config).values()) == count_parameters(model)

    def test_shared_parameters_count_once(self) -> None:
        linear = nn.Linear(3, 5)
        assert count_parameters(nn.ModuleList([linear, linear])) == 20


class TestCost:
    @settings(deadline=None, max_examples=15)
    @given(configs(), st.integers(1, 3), st.integers(1, 6))
    def test_flops_are_those_that_pytorch_counts(
        self, config: GPTConfig, batch: int, time: int
    ) -> None:
        model = GPT(config)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(some_ids(config, batch, time)).sum().backward()
        assert counter.get_total_flops() == batch * time * flops_per_token(config, time)

    def test_flops_of_each_part_are_those_of_its_products(self) -> None:
        """By hand, for one layer: twice each product's three sizes, three times over."""
        config = GPTConfig(7, 5, layers=1, heads=4, width=8, hidden_width=3, key_value_heads=2)
        assert flops_by_component(config, time=9) == {
            "attention's matrices": 6 * (8 * 8 + 2 * 8 * 4 + 8 * 8),
            "scores and mixing": 6 * (2 * 9 * 8),
            "feed-forward": 6 * (2 * 8 * 3),
            "head": 6 * 8 * 7,
        }

    def test_activation_bytes_grow_with_batch_and_time_and_leave_out_the_weights(self) -> None:
        model = tiny_gpt()
        one = activation_bytes(model, 1, 4)
        assert activation_bytes(model, 6, 4) - activation_bytes(model, 3, 4) == pytest.approx(
            3 * one, rel=0.1
        )
        assert activation_bytes(model, 1, 8) > 1.8 * one
        assert all(parameter.grad is None for parameter in model.parameters())
        large = tiny_gpt(vocab_size=5000)  # its table is 20,000 times larger than its logits
        assert activation_bytes(large, 1, 1) < large.token_embedding.weight.nbytes

    def test_activation_bytes_count_what_the_backward_pass_needs(self) -> None:
        """One token through a model without blocks' sizes: at least what each map reads."""
        config, tokens = TINY, 2 * 5
        reads = 12 + 12 + 12 + 48  # query_key_value, output, expand, contract
        assert activation_bytes(tiny_gpt(), 2, 5) > 4 * tokens * config.layers * reads

    def test_flops_default_to_the_full_context(self) -> None:
        assert flops_per_token(TINY) == flops_per_token(TINY, 8) > flops_per_token(TINY, 7)

    @settings(deadline=None, max_examples=10)
    @given(configs())
    def test_training_bytes_are_those_of_a_step(self, config: GPTConfig) -> None:
        model = GPT(config)
        optimizer = torch.optim.AdamW(model.parameters())
        model(some_ids(config)).sum().backward()
        optimizer.step()
        held = [tensor for p in model.parameters() for tensor in (p, p.grad)]
        held += [t for state in optimizer.state.values() for t in state.values() if t.ndim]
        assert sum(t.nbytes for t in held if t is not None) == training_bytes(config)

    @pytest.mark.parametrize("processes", [2, 3, 5])
    @pytest.mark.parametrize("optimizer", ["adamw", "muon"])
    def test_shared_bytes_are_those_of_the_first_of_equal_chunks(
        self, processes: int, optimizer: str
    ) -> None:
        """`tests/support/test_sharding.py` compares them with what a process really holds."""
        parts = training_bytes_by_part(TINY, processes, optimizer)
        shares = {n: p.chunk(processes)[0] for n, p in tiny_gpt().named_parameters()}
        assert parts["parameters"] == sum(4 * share.numel() for share in shares.values())
        assert parts["gradients"] == parts["parameters"]
        averages = {
            n: 1 if optimizer == "muon" and s.ndim == 2 and n.startswith("decoder.") else 2
            for n, s in shares.items()
        }
        held = sum(4 * averages[n] * share.numel() for n, share in shares.items())
        assert parts["averages"] == held
        if optimizer == "adamw":
            assert sum(parts.values()) == training_bytes(TINY, processes)

    @pytest.mark.parametrize(("dtype", "number_bytes"), [(torch.float32, 4), (torch.bfloat16, 2)])
    @pytest.mark.parametrize("kept", [None, 1])
    def test_decoding_bytes_are_those_of_model_and_caches(
        self, dtype: torch.dtype, number_bytes: int, kept: int | None
    ) -> None:
        shape = dataclasses.replace(TINY, key_value_heads=kept)
        model = GPT(shape).to(dtype).eval()
        caches = [KVCache(TINY.context_length) for _ in range(TINY.layers)]
        with torch.no_grad():
            model(some_ids(batch_size=3), caches)
        held = [*model.parameters()]
        for cache in caches:
            assert cache.keys is not None
            assert cache.values is not None
            held += [cache.keys, cache.values]
        assert sum(t.nbytes for t in held) == decoding_bytes(shape, 3, number_bytes)
        assert decoding_bytes(TINY) == decoding_bytes(TINY, 1, 4)


class Doubled(torch.autograd.Function):
    """Passes values on unchanged and gradients twice as large."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class TestHealth:
    @pytest.mark.parametrize("position", POSITIONS)
    def test_learns_one_batch_by_heart(self, position: Any) -> None:
        torch.manual_seed(0)
        config = GPTConfig(17, context_length=12, layers=2, heads=2, width=32, position=position)
        model = GPT(config)
        before = copy.deepcopy(model.state_dict())
        losses = overfit_one_batch(model)
        assert len(losses) == 60
        assert losses[0] == pytest.approx(math.log(17), rel=0.02)
        assert losses[-1] < 0.1
        assert model.training, "the mode is left as it was"
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name]), f"{name} of the model itself has moved"

    def test_random_batches_are_the_same_at_every_call(self) -> None:
        ids = random_batch(TINY, batch_size=4, time=6)
        assert torch.equal(ids, random_batch(TINY, batch_size=4, time=6))
        assert ids.shape == (4, 6)
        assert ids[:, 0].tolist() == [0, 1, 2, 3]
        assert random_batch(TINY, batch_size=20, time=50).shape == (20, 9)
        assert random_batch(TINY, batch_size=20, time=5).max() < 17

    def test_first_loss_of_a_good_start(self) -> None:
        model = tiny_gpt(vocab_size=500, width=96)
        assert check_initial_loss(model) == pytest.approx(math.log(500), rel=0.02)
        assert model.training, "the mode is left as it was"

    @pytest.mark.parametrize("vocab_size", [17, 84, 500])
    @pytest.mark.parametrize("width", [192, 384, 768])
    @pytest.mark.parametrize("seed", range(3))
    def test_first_loss_of_a_wide_model(self, seed: int, width: int, vocab_size: int) -> None:
        """The wider, the further above an even choice a healthy model starts."""
        shape = {"vocab_size": vocab_size, "width": width, "heads": 3, "context_length": 64}
        assert check_initial_loss(tiny_gpt(seed, **shape)) > math.log(vocab_size)

    @pytest.mark.parametrize("width", [192, 768])
    def test_first_loss_of_a_wide_model_with_a_bad_start(self, width: int) -> None:
        model = tiny_gpt(vocab_size=84, width=width, heads=3, context_length=64)
        with torch.no_grad():
            model.token_embedding.weight.mul_(3)
        with pytest.raises(ValueError, match="are the initial weights small"):
            check_initial_loss(model)

    def test_first_loss_of_a_model_that_knows_what_comes(self) -> None:
        model = tiny_gpt(position="none")
        ids = random_batch(TINY, 16, 65)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
            optimizer.step()
        with pytest.raises(ValueError, match=r"where 2\.775 ± 0\.067 is expected of 17 tokens"):
            check_initial_loss(model)

    @pytest.mark.parametrize("fault", ["large weights", "not a number"])
    def test_first_loss_of_a_bad_start(self, fault: str) -> None:
        model = tiny_gpt()
        with torch.no_grad():
            model.token_embedding.weight.mul_(50 if fault == "large weights" else math.nan)
        with pytest.raises(ValueError, match=r"where 2\.775 ± 0\.067 is expected of 17 tokens"):
            check_initial_loss(model)

    @settings(deadline=None, max_examples=8)
    @given(configs())
    def test_gradients_are_the_slopes_of_the_loss(self, config: GPTConfig) -> None:
        self.check_slopes(config)

    @pytest.mark.slow
    @settings(deadline=None, max_examples=60)
    @given(configs())
    def test_gradients_are_the_slopes_of_the_loss_in_many_shapes(self, config: GPTConfig) -> None:
        self.check_slopes(config)

    def check_slopes(self, config: GPTConfig) -> None:
        torch.manual_seed(0)
        model = shaken(GPT(config))
        before = copy.deepcopy(model.state_dict())
        check_gradients(model)
        assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_a_parameter_without_a_gradient_is_found(self) -> None:
        class Detached(GPT):
            def hidden(self, ids: Tensor, caches: Any = None, mask: Any = None) -> Tensor:
                stream = self.token_embedding(ids) + self.positions(ids.shape[1]).detach()
                return self.decoder(stream)

        with pytest.raises(ValueError, match=r"gradients are wrong: positions\.weight has none$"):
            check_gradients(Detached(TINY))

    def test_a_wrong_gradient_is_found(self) -> None:
        class Wrong(GPT):
            def hidden(self, ids: Tensor, caches: Any = None, mask: Any = None) -> Tensor:
                stream = self.token_embedding(ids) + Doubled.apply(self.positions(ids.shape[1]))
                return self.decoder(stream)

        torch.manual_seed(0)
        with pytest.raises(ValueError) as fault:
            check_gradients(Wrong(TINY))
        assert "positions.weight has" in str(fault.value)
        assert "where the slope is" in str(fault.value)
        assert "decoder" not in str(fault.value)


class Unmasked(MultiHeadAttention):
    """Every position looks at all."""

    def forward(self, stream: Tensor, cache: Any = None, mask: Any = None) -> Tensor:
        mixed = F.scaled_dot_product_attention(*self.project(stream))
        return self.output(mixed.transpose(1, 2).flatten(2))


class LooksAhead(GPT):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.decoder.blocks[-1].attention = Unmasked(config)
        self.initialize()


class Listed(GPT):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        blocks = list(self.decoder.blocks)
        del self.decoder.blocks
        self.decoder.blocks = blocks


class OwnHead(GPT):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.head = nn.Parameter(self.token_embedding.weight.detach().clone())

    def forward(self, ids: Tensor, *_: Any, **__: Any) -> Tensor:
        return F.linear(self.hidden(ids), self.head)


class Squashed(GPT):
    def forward(self, ids: Tensor, *_: Any, **__: Any) -> Tensor:
        return super().forward(ids).tanh()


class LargeStart(GPT):
    def initialize(self) -> None:
        super().initialize()
        nn.init.normal_(self.token_embedding.weight)


class WithoutGradients(GPT):
    def hidden(self, ids: Tensor, caches: Any = None, mask: Any = None) -> Tensor:
        with torch.no_grad():
            return super().hidden(ids, caches, mask)


class TwiceTheGradient(GPT):
    def hidden(self, ids: Tensor, caches: Any = None, mask: Any = None) -> Tensor:
        stream = self.token_embedding(ids) + self.positions(ids.shape[1])
        return self.decoder(Doubled.apply(stream))


class NotFinite(GPT):
    def initialize(self) -> None:
        super().initialize()
        with torch.no_grad():
            self.decoder.final_norm.bias[3] = math.nan


class Crashes(GPT):
    def hidden(self, ids: Tensor, caches: Any = None, mask: Any = None) -> Tensor:
        raise IndexError("out of range\nand more")


class TestCheckModel:
    QUESTIONS = ("parameters", "initial loss", "gradients", "causality", "one batch", "tied head")

    @pytest.mark.parametrize("seed", range(10))
    def test_a_healthy_small_model_passes(self, seed: int) -> None:
        assert check_model(tiny_gpt(seed, width=24)) == {}

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["shakespeare-small", "shakespeare-large"])
    @pytest.mark.parametrize("seed", range(10))
    def test_a_healthy_preset_passes(self, name: str, seed: int) -> None:
        torch.manual_seed(seed)
        assert check_model(GPT(GPTConfig.preset(name))) == {}

    @pytest.mark.slow
    @pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("gpt2")])
    @pytest.mark.parametrize("seed", range(2))
    def test_a_quarter_of_a_healthy_gpt2_passes(self, name: str, seed: int) -> None:
        """The whole ones take minutes and gigabytes: `python -m bench health` has asked them."""
        whole = GPTConfig.preset(name)
        part = {"layers": whole.layers // 4, "heads": whole.heads // 4}
        part |= {"width": 64 * part["heads"], "vocab_size": 500, "context_length": 64}
        torch.manual_seed(seed)
        assert check_model(GPT(dataclasses.replace(whole, **part))) == {}

    def test_the_chapter_says_what_the_benchmark_has_asked(self) -> None:
        path = Path(__file__).resolve().parent.parent / "bench/results/health.json"
        presets = json.loads(path.read_text(encoding="utf-8"))["presets"]
        assert list(presets) == list(PRESETS)
        assert not any(found["faults"] for found in presets.values())
        asked = {name: (found["part"], found["seeds"]) for name, found in presets.items()}
        assert asked == {
            "gpt2": (1, 3),
            "gpt2-medium": (5, 3),
            "gpt2-large": (5, 10),
            "gpt2-xl": (5, 10),
            "shakespeare-small": (1, 10),
            "shakespeare-large": (1, 10),
        }
        cells = nbformat.read(chapter("diagnostics").notebook, as_version=4).cells
        prose = " ".join(" ".join(c.source for c in cells if c.cell_type == "markdown").split())
        said = (
            "of the two for Shakespeare over ten seeds, and of GPT-2 small over three.",
            "a fifth of its layers, heads and width stood in, over three seeds for medium and ten",
            f"any of the {sum(found['seeds'] for found in presets.values())} models",
        )
        assert all(words in prose for words in said)

    @pytest.mark.parametrize(
        "change",
        [
            {"position": "sinusoidal"},
            {"position": "rotary"},
            {"position": "none"},
            {"bias": False},
            {"normalization": "rms"},
            {"pad_vocab_to_multiple": 64},
            {"key_value_heads": 1},
            {"activation": "gelu"},
            {"dropout": 0.5},
            {"width": 192, "vocab_size": 84},
        ],
    )
    def test_a_healthy_model_of_another_kind_passes(self, change: dict[str, Any]) -> None:
        model = tiny_gpt(**{"width": 24, **change})
        before = copy.deepcopy(model.state_dict())
        assert check_model(model) == {}
        assert model.training, "the mode is left as it was"
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name]), f"{name} has moved"

    def test_maps_that_start_at_zero_are_healthy(self) -> None:
        """A usual start today; without the noise on the copies no gradient would pass."""
        model = tiny_gpt(width=24)
        for block in model.decoder.blocks:
            nn.init.zeros_(block.attention.output.weight)
            nn.init.zeros_(block.feed_forward.contract.weight)
        assert check_model(model) == {}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fault", "named"),
        [
            (LooksAhead, {"causality": "position 0 changes with the input at position 1"}),
            (Listed, {"parameters": "as in a plain list", "one batch": "after 100 steps"}),
            (OwnHead, {"tied head": "a table of its own", "parameters": "a part too many"}),
            (Squashed, {"one batch": "learned by heart"}),
            (LargeStart, {"initial loss": "are the initial weights small"}),
            (WithoutGradients, {"gradients": "attention.output.weight has none"}),
            (TwiceTheGradient, {"gradients": "positions.weight has"}),
            (NotFinite, {"initial loss": "the first loss is nan", "one batch": "loss is nan"}),
            (Crashes, dict.fromkeys(QUESTIONS[1:], "stopped with IndexError: out of range")),
        ],
    )
    def test_each_fault_is_named(self, fault: type[GPT], named: dict[str, str]) -> None:
        for seed in range(3):
            torch.manual_seed(seed)
            said = check_model(fault(tiny_config(width=24)))
            assert set(said) <= set(self.QUESTIONS)
            for question, words in named.items():
                assert words in said[question]
                assert "\n" not in said[question]

    def test_squashed_logits_are_not_taken_for_a_head_of_its_own(self) -> None:
        torch.manual_seed(0)
        assert list(check_model(Squashed(tiny_config(width=24)))) == ["one batch"]

    def test_frozen_parameters_are_named(self) -> None:
        model = tiny_gpt(width=24)
        model.decoder.blocks[1].feed_forward.expand.bias.requires_grad_(False)
        (said,) = check_model(model).values()
        assert said.endswith("decoder.blocks.1.feed_forward.expand.bias has none")

    def test_overfitting_stops_when_it_is_enough(self) -> None:
        losses = overfit_one_batch(tiny_gpt(width=24), steps=60, enough=1.0)
        assert losses[-1] < 1 <= losses[-2]
        assert len(losses) < 60


def with_mask(module: MultiHeadAttention, mask: Tensor) -> Callable[[Tensor], Tensor]:
    """The module with a mask of somebody's choice."""

    def forward(stream: Tensor) -> Tensor:
        query, key, value = module.project(stream)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return module.output(mixed.transpose(1, 2).flatten(2))

    return forward


@pytest.fixture
def honest() -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(TINY).eval()


class TestCheckCausality:
    @pytest.fixture
    def module(self, honest: MultiHeadAttention) -> MultiHeadAttention:
        return honest

    example = random(2, 5, 12)

    def test_passes_the_module(self, module: MultiHeadAttention) -> None:
        check_causality(module, self.example)
        check_causality(with_mask(module, causal_mask(5, 5)), self.example)

    def test_passes_ids(self) -> None:
        table = random(7, 12)
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
        module = MultiHeadAttention(tiny_config(dropout=0.2)).train()
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

    def test_passes_a_whole_model_and_finds_its_leak(self) -> None:
        model = shaken(tiny_gpt())
        check_causality(model, some_ids())

        def leaky(ids: Tensor) -> Tensor:
            logits = model(ids)
            return torch.cat([logits[:, :2], logits[:, 3:4] + logits[:, 2:3], logits[:, 3:]], 1)

        with pytest.raises(AssertionError, match="position 2 changes with the input at position 3"):
            check_causality(leaky, some_ids())

    def test_is_blind_to_what_multiplies_by_zero(self, module: MultiHeadAttention) -> None:
        """As the chapter says: give such tests weights that are not 0."""
        leaky = with_mask(module, torch.ones(5, 5, dtype=torch.bool))
        with torch.no_grad():
            module.output.weight.zero_()
        check_causality(leaky, self.example)

    def test_leaves_the_example_and_the_random_state_alone(
        self, module: MultiHeadAttention
    ) -> None:
        example, state = self.example.clone(), torch.get_rng_state()
        check_causality(module, example)
        assert torch.equal(example, self.example)
        assert torch.equal(torch.get_rng_state(), state)

    def test_refuses_examples_that_show_nothing(self, module: MultiHeadAttention) -> None:
        with pytest.raises(ValueError, match="1 position has no future; give two or more"):
            check_causality(module, self.example[:, :1])
        with pytest.raises(ValueError, match=r"all ids are \[3\]"):
            check_causality(lambda ids: ids.float(), torch.full((2, 4), 3))


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

    example = random(2, 5, 12)

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

    def test_the_wrong_corner_shows_in_parts(self, honest: MultiHeadAttention) -> None:
        """As in writing with a cache: right at once, wrong part by part."""

        def in_parts(attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
            cache, outputs = KVCache(5), []
            for part in self.example.split(2, dim=1):
                query, key, value = honest.project(part)
                outputs.append(attend(query, *cache.append(key, value)))
            return torch.cat(outputs, dim=2)

        at_once = causal_attention(*honest.project(self.example))
        corner = broken("top left")
        torch.testing.assert_close(corner(*honest.project(self.example)), at_once)
        torch.testing.assert_close(in_parts(causal_attention), at_once)
        assert not torch.allclose(in_parts(corner), at_once, atol=1e-3)

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

        six = random(2, 6, 12)
        check_equivariance(encoder, six)
        with pytest.raises(AssertionError, match="position 0 is not what its input gave"):
            check_equivariance(cut_before_the_maps, six)
        check_causality(causal, six)  # no leak: this verifier is blind to it
        with pytest.raises(AssertionError, match="position 0 is not what its input gave"):
            check_equivariance(honest, six)  # the causal mask


MAPS = random(3, 12, 12, seed=3) / 12**0.5
RAMP = torch.linspace(-1, 1, 6)[:, None]


def attend(stream: Tensor, mask: Tensor | None = None, heads: int = 3) -> Tensor:
    """Attention with several heads, without positions and, by default, without a mask."""
    shape = "batch time (heads width) -> batch heads time width"
    query, key, value = (rearrange(stream @ m, shape, heads=heads) for m in MAPS)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return rearrange(mixed, "batch heads time width -> batch time (heads width)")


def heads_by_a_wrong_reshape(stream: Tensor) -> Tensor:
    batch, time, width = stream.shape
    query, key, value = ((stream @ m).view(batch, 3, time, width // 3) for m in MAPS)
    return F.scaled_dot_product_attention(query, key, value).reshape(batch, time, width)


def heads_split_before_the_maps(stream: Tensor) -> Tensor:
    """Each third of the features of a *flattened* sequence becomes a sequence of its own."""
    batch, time, width = stream.shape
    parts = stream.view(batch, 3, time, width // 3)
    query, key, value = (parts @ m[: width // 3, : width // 3] for m in MAPS)
    return F.scaled_dot_product_attention(query, key, value).reshape(batch, time, width)


def softmax_over_features(stream: Tensor) -> Tensor:
    return stream.softmax(dim=-1) @ MAPS[0]


class TestCheckEquivariance:
    example = random(2, 6, 12, seed=4)

    @given(
        time=st.integers(2, 7), batch_size=st.integers(1, 3), heads=st.sampled_from([1, 2, 3, 6])
    )
    @settings(deadline=None, max_examples=20)
    def test_passes_attention_of_any_size(self, time: int, batch_size: int, heads: int) -> None:
        example = random(batch_size, time, 12, seed=time)
        check_equivariance(lambda x: attend(x, heads=heads), example)

    def test_passes_what_treats_positions_alike(self) -> None:
        for function in (
            lambda x: x,
            lambda x: x - x.mean(dim=1, keepdim=True),
            softmax_over_features,
            lambda x: attend(attend(x) + x),
            lambda x: attend(x, mask=torch.eye(6, dtype=torch.bool)),  # each sees only itself
        ):
            check_equivariance(function, self.example)

    @pytest.mark.parametrize(
        "broken",
        [
            lambda x: attend(x + sinusoidal_table(6, 12)),
            lambda x: attend(x + RAMP),
            lambda x: attend(x, mask=torch.ones(6, 6, dtype=torch.bool).tril()),
            lambda x: attend(x, mask=torch.ones(6, 6, dtype=torch.bool).tril(1)),
            heads_by_a_wrong_reshape,
            heads_split_before_the_maps,
            lambda x: x.roll(1, dims=1),
            lambda x: x.cumsum(dim=1),
        ],
    )
    def test_finds_what_knows_of_places(self, broken: Callable[[Tensor], Tensor]) -> None:
        with pytest.raises(AssertionError, match="is not what its input gave at position"):
            check_equivariance(broken, self.example)

    def test_finds_rotary_positions(self) -> None:
        rotary = RotaryPositions(tiny_config(context_length=6, position="rotary"))

        def turned(stream: Tensor) -> Tensor:
            shape = "batch time (heads width) -> batch heads time width"
            query, key, value = (rearrange(stream @ m, shape, heads=3) for m in MAPS)
            mixed = F.scaled_dot_product_attention(rotary(query), rotary(key), value)
            return rearrange(mixed, "batch heads time width -> batch time (heads width)")

        with pytest.raises(AssertionError, match="is not what its input gave"):
            check_equivariance(turned, self.example)

    @pytest.mark.parametrize("place", range(6))
    def test_names_the_first_position(self, place: int) -> None:
        def marked(stream: Tensor) -> Tensor:
            return stream + torch.eye(6)[place][:, None]

        with pytest.raises(AssertionError) as fault:
            check_equivariance(marked, self.example)
        # A token that leaves the marked place, or comes to it: the first place is never later.
        named = int(str(fault.value).split("the output at position ")[1].split()[0])
        assert named <= place
        if place == 0:
            assert named == 0

    def test_finds_a_single_feature_of_a_single_sequence(self) -> None:
        def marked(stream: Tensor) -> Tensor:
            after = stream.clone()
            after[1, 0, 7] += 0.01
            return after

        with pytest.raises(AssertionError, match="position 0 is not what its input gave at"):
            check_equivariance(marked, self.example)
        check_equivariance(marked, self.example, tolerance=0.1)

    def test_takes_ids(self) -> None:
        table, ids = random(7, 12), torch.tensor([[0, 6, 2, 2], [3, 0, 1, 6]])
        check_equivariance(lambda ids: attend(table[ids]), ids)
        check_equivariance(lambda ids: (ids * 2)[..., None], ids)
        with pytest.raises(AssertionError, match="position 0 is not what"):
            check_equivariance(lambda ids: table[ids] + RAMP[:4], ids)

    def test_finds_nan_and_dropout(self) -> None:
        def poisoned(stream: Tensor) -> Tensor:
            return torch.where(stream[:, :1] == self.example[:, :1], stream, math.nan)

        with pytest.raises(AssertionError, match="position 0 is not what"):
            check_equivariance(poisoned, self.example)
        with pytest.raises(AssertionError, match=r"is dropout on\? Use .eval\(\)"):
            check_equivariance(nn.Dropout(0.2).train(), self.example)

    def test_leaves_the_example_and_the_random_state_alone(self) -> None:
        example, state = self.example.clone(), torch.get_rng_state()
        check_equivariance(attend, example)
        assert torch.equal(example, self.example)
        assert torch.equal(torch.get_rng_state(), state)

    def test_refuses_examples_that_show_nothing(self) -> None:
        with pytest.raises(ValueError, match="1 position has no order; give two or more"):
            check_equivariance(attend, self.example[:, :1])
        for same in (torch.ones(2, 4, 12), torch.full((2, 4), 3)):
            with pytest.raises(ValueError, match="all positions of the example are equal"):
                check_equivariance(lambda x: x, same)

    def test_says_where_outputs_differ(self) -> None:
        other = self.example.clone()
        other[1, 4, 2] += 1
        other[0, 2] = math.nan
        assert positions_that_differ(self.example, other) == [2, 4]
        assert positions_that_differ(other, other) == []
        assert positions_that_differ(self.example, self.example + 0.1, tolerance=0.2) == []


def rows_meet(module: Callable[[Tensor], Tensor], example: Tensor) -> bool:
    alone = [module(example[[row, row, row]])[:1] for row in range(len(example))]
    return not torch.allclose(torch.cat(alone), module(example), atol=1e-6)


def first_row_only(module: Callable[[Tensor], Tensor], example: Tensor) -> bool:
    other = example.clone()
    other[0] += 1
    return not torch.equal(module(example)[1:], module(other)[1:])


def counts_itself(module: Callable[[Tensor], Tensor], example: Tensor) -> bool:
    return not torch.equal(module(example), module(example + 1))


def half_length(config: GPTConfig) -> int:
    return next(t for t in range(1, 100_000) if dominates(config, t))


def dominates(config: GPTConfig, time: int) -> bool:
    return 2 * flops_by_component(config, time)["scores and mixing"] >= flops_per_token(
        config, time
    )


def diagnose(model: GPT) -> str:
    said = check_model(model)
    for question, word in {
        "initial loss": "start",
        "causality": "future",
        "gradients": "gradient",
        "tied head": "head",
    }.items():
        if question in said:
            return word
    return "healthy"


def most_layers(memory: int, width: int) -> int:
    layers = 0
    while training_bytes(GPTConfig(layers=layers + 1, heads=1, width=width)) <= memory:
        layers += 1
    return layers


class TestExercises:
    @pytest.mark.slow
    def test_half_length(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.diagnostics.half_length(lambda config: None)
        checks.diagnostics.half_length(lambda config: config.width * 9)
        checks.diagnostics.half_length(lambda config: half_length(config) + 1)
        checks.diagnostics.half_length(half_length)
        nothing, guess, late, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for gpt2 nothing comes back")
        assert guess.startswith("not yet: for gpt2 expected 6703, got 6912")
        assert late.startswith("not yet: for gpt2 expected 6703, got 6704")
        assert solution.startswith("correct: ")

    @pytest.mark.slow
    def test_diagnose(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.diagnostics.diagnose(lambda model: None)
        checks.diagnostics.diagnose(lambda model: "healthy")
        checks.diagnostics.diagnose(
            lambda model: nn.init.zeros_(model.token_embedding.weight) is not None and "healthy"
        )
        checks.diagnostics.diagnose(diagnose)
        nothing, healthy, spoiled, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for a healthy model nothing comes back")
        assert healthy.startswith("not yet: for a table that starts too large expected 'start'")
        assert spoiled.startswith("not yet: ")
        assert solution.startswith("correct: ")

    def test_most_layers(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.diagnostics.most_layers(lambda memory, width: None)
        checks.diagnostics.most_layers(lambda memory, width: memory // 16 // (12 * width**2))
        checks.diagnostics.most_layers(lambda memory, width: most_layers(memory, width) or 1)
        checks.diagnostics.most_layers(most_layers)
        nothing, blocks_only, at_least_one, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for 16 GB and width 768 nothing comes back")
        assert blocks_only.startswith("not yet: for 16 GB and width 768")
        assert at_least_one.startswith("not yet: for 1 GB and width 1024 expected 0, got 1")
        assert solution.startswith("correct: ")

    def test_rows_meet(self, capsys: pytest.CaptureFixture[str]) -> None:
        checks.diagnostics.rows_meet(lambda module, example: None)
        checks.diagnostics.rows_meet(lambda module, example: False)
        checks.diagnostics.rows_meet(counts_itself)
        checks.diagnostics.rows_meet(first_row_only)
        checks.diagnostics.rows_meet(rows_meet)
        nothing, never, itself, first, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for a function that sums over the past")
        assert never.startswith("not yet: for a function that centers over the batch")
        assert itself.startswith("not yet: for a function that sums over the past")
        assert first.startswith("not yet: for a function that reads the last row")
        assert solution.startswith("correct: ")
