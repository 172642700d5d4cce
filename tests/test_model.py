"""The model: its description, its start, its size, its cost, and what it may see."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mini_gpt import checks
from mini_gpt.attention import KeyValueCache
from mini_gpt.model import (
    GPT,
    GPTConfig,
    batch_loss,
    check_gradients,
    check_initial_loss,
    count_parameters,
    decoding_bytes,
    flops_per_token,
    overfit_one_batch,
    parameters_by_component,
    random_batch,
    training_bytes,
)

ROOT = Path(__file__).resolve().parent.parent
TINY = GPTConfig(vocab_size=17, context_length=8, layers=6, heads=3, width=12)
POSITIONS = ("learned", "sinusoidal", "rotary", "none")
RELEASED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


def build(config: GPTConfig, seed: int = 0, spread: float = 0.3) -> GPT:
    """A model in evaluation mode whose every parameter is random, so that none can be left out."""
    torch.manual_seed(seed)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn(parameter.shape))
    return model


def some_ids(config: GPTConfig, batch: int = 2, time: int = 5, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(config.vocab_size, (batch, time), generator=generator)


@st.composite
def configs(draw: st.DrawFn) -> GPTConfig:
    """Small shapes of every kind."""
    heads = draw(st.integers(1, 4))
    head_width = 2 * draw(st.integers(2, 4))
    return GPTConfig(
        vocab_size=draw(st.integers(2, 40)),
        context_length=draw(st.integers(6, 12)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        width=heads * head_width,
        hidden_width=draw(st.none() | st.integers(1, 30)),
        bias=draw(st.booleans()),
        position=draw(st.sampled_from(POSITIONS)),
        normalisation=draw(st.sampled_from(["layer", "rms"])),
        vocab_multiple=draw(st.sampled_from([1, 7, 64])),
        key_value_heads=draw(st.sampled_from([None, *(n for n in (1, 2, 3, 4) if not heads % n)])),
    )


class TestConfig:
    def test_defaults_are_the_smallest_gpt2(self) -> None:
        config = GPTConfig()
        assert config == GPTConfig.preset("gpt2")
        assert dataclasses.astuple(config) == (
            50_257,
            1024,
            12,
            12,
            768,
            None,
            0.0,
            True,
            "learned",
            "layer",
            1,
            None,
        )

    @pytest.mark.parametrize(
        ("name", "layers", "heads", "width"),
        [
            ("gpt2", 12, 12, 768),
            ("gpt2-medium", 24, 16, 1024),
            ("gpt2-large", 36, 20, 1280),
            ("gpt2-xl", 48, 25, 1600),
        ],
    )
    def test_presets(self, name: str, layers: int, heads: int, width: int) -> None:
        config = GPTConfig.preset(name)
        assert (config.layers, config.heads, config.width) == (layers, heads, width)
        assert (config.head_width, config.feed_forward_width) == (64, 4 * width)

    def test_unknown_preset_lists_the_known(self) -> None:
        with pytest.raises(ValueError, match="no preset 'gpt3'") as fault:
            GPTConfig.preset("gpt3")
        for name in (*RELEASED, "shakespeare-small", "shakespeare-large"):
            assert name in str(fault.value)

    def test_presets_of_the_book_are_what_the_command_trains(self) -> None:
        from mini_gpt.commands.train import CPU_MODEL, GPU_MODEL

        for name, model in (("shakespeare-small", CPU_MODEL), ("shakespeare-large", GPU_MODEL)):
            preset = GPTConfig.preset(name)
            assert preset.vocab_size == 84
            assert dataclasses.replace(model, vocab_size=84) == preset

    @pytest.mark.parametrize(
        ("fields", "kind", "message"),
        [
            ({"vocab_size": 0}, ValueError, "vocab_size 0 must be at least 1"),
            ({"context_length": -1}, ValueError, "context_length -1 must be at least 1"),
            ({"layers": 0}, ValueError, "layers 0 must be at least 1"),
            ({"heads": 0}, ValueError, "heads 0 must be at least 1"),
            ({"width": 0}, ValueError, "width 0 must be at least 1"),
            ({"hidden_width": 0}, ValueError, "hidden_width 0 must be at least 1"),
            ({"layers": 2.0}, TypeError, "layers 2.0 must be a whole number"),
            ({"layers": True}, TypeError, "layers True must be a whole number"),
            ({"width": "768"}, TypeError, "width '768' must be a whole number"),
            ({"heads": 5}, ValueError, "heads 5 must divide width 768; try width 320"),
            ({"dropout": 1.0}, ValueError, "dropout 1.0 must be at least 0 and less than 1"),
            ({"dropout": -0.1}, ValueError, "dropout -0.1 must be at least 0"),
            ({"dropout": math.nan}, ValueError, "dropout nan must be at least 0"),
            ({"dropout": "0.1"}, TypeError, "dropout '0.1' must be a number"),
            ({"bias": "false"}, TypeError, "bias 'false' must be True or False"),
            ({"position": "rope"}, ValueError, "position 'rope' must be 'learned', 'sinusoidal'"),
            ({"normalisation": "batch"}, ValueError, "normalisation 'batch' must be 'layer' or"),
            ({"key_value_heads": 5}, ValueError, "key_value_heads 5 must divide heads 12"),
            ({"key_value_heads": 0}, ValueError, "key_value_heads 0 must be at least 1"),
            ({"key_value_heads": 2.0}, TypeError, "key_value_heads 2.0 must be a whole number"),
            ({"vocab_multiple": 0}, ValueError, "vocab_multiple 0 must be at least 1"),
            ({"vocab_multiple": 64.0}, TypeError, "vocab_multiple 64.0 must be a whole number"),
            (
                {"position": "rotary", "width": 9, "heads": 3},
                ValueError,
                "even head width, not 3; try width 18",
            ),
            ({"position": "sinusoidal", "width": 9, "heads": 3}, ValueError, "even width, not 9"),
        ],
    )
    def test_refuses_what_cannot_be(
        self, fields: dict[str, Any], kind: type[Exception], message: str
    ) -> None:
        # Past the type checks of the tests' import hook, which users do not have.
        config = copy.copy(GPTConfig())
        for name, value in fields.items():
            object.__setattr__(config, name, value)
        with pytest.raises(kind, match=message):
            config.__post_init__()

    def test_checks_itself_when_it_is_made(self) -> None:
        with pytest.raises(ValueError, match="layers 0 must be at least 1"):
            GPTConfig(layers=0)

    @pytest.mark.parametrize("heads", [5, 7, 12, 100])
    def test_its_remedy_works(self, heads: int) -> None:
        with pytest.raises(ValueError) as fault:
            GPTConfig(width=heads * 64 + 1, heads=heads)
        assert GPTConfig(width=int(str(fault.value).split()[-1]), heads=heads).head_width == 64

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            TINY.layers = 2  # type: ignore[misc]


class TestForward:
    @pytest.mark.parametrize("position", POSITIONS)
    def test_is_embedding_positions_stack_and_head(self, position: Any) -> None:
        model = build(dataclasses.replace(TINY, position=position))
        ids = some_ids(TINY)
        stream = F.embedding(ids, model.token_embedding.weight)
        if model.positions is not None:
            stream = stream + model.positions(5)
        for block in model.decoder.blocks:
            stream = block(stream)
        hidden = model.decoder.final_norm(stream)
        torch.testing.assert_close(model.hidden(ids), hidden)
        torch.testing.assert_close(model(ids), hidden @ model.token_embedding.weight.T)
        assert model(ids).shape == (2, 5, 17)

    @settings(deadline=None, max_examples=20)
    @given(configs(), st.data())
    def test_never_sees_the_future(self, config: GPTConfig, data: st.DataObject) -> None:
        """What comes after a position changes nothing there, and what stands there does."""
        model, ids = build(config).double(), some_ids(config, time=6)
        position = data.draw(st.integers(0, 5))
        other = ids.clone()
        other[:, position:] = (other[:, position:] + 1) % config.vocab_size
        before, after = model(ids), model(other)
        torch.testing.assert_close(before[:, :position], after[:, :position], rtol=0, atol=1e-12)
        assert not torch.allclose(before[:, position], after[:, position], rtol=1e-6)
        torch.testing.assert_close(model(ids[:, : position + 1]), before[:, : position + 1])

    def test_sequences_of_a_batch_do_not_meet(self) -> None:
        model, ids = build(TINY), some_ids(TINY, batch=3)
        for row in range(3):
            torch.testing.assert_close(model(ids)[row : row + 1], model(ids[row : row + 1]))

    def test_order_matters_with_positions_only(self) -> None:
        """Without them the last prediction depends on which tokens came before, in any order."""
        config = dataclasses.replace(TINY, layers=1)
        ids, swapped = torch.tensor([[3, 7, 11, 2]]), torch.tensor([[11, 3, 7, 2]])
        for position in POSITIONS:
            model = build(dataclasses.replace(config, position=position))
            same = torch.allclose(model(ids)[:, -1], model(swapped)[:, -1], atol=1e-5)
            assert same == (position == "none")

    def test_the_head_is_the_embedding(self) -> None:
        model = GPT(TINY)
        assert [n for n, p in model.named_parameters() if p.shape == (17, 12)] == [
            "token_embedding.weight"
        ]
        model(some_ids(TINY)).sum().backward()
        unused = torch.ones(17, dtype=torch.bool)
        unused[some_ids(TINY).unique()] = False
        assert model.token_embedding.weight.grad is not None
        assert model.token_embedding.weight.grad[unused].any(), "tokens not read are still scored"

    def test_dropout_acts_while_training_only(self) -> None:
        model, ids = build(dataclasses.replace(TINY, dropout=0.5)), some_ids(TINY)
        torch.testing.assert_close(model(ids), build(TINY)(ids))
        model.train()
        assert not torch.allclose(model(ids), model(ids))

    def test_the_whole_context_fits_and_not_one_more(self) -> None:
        model = GPT(TINY)
        assert model(some_ids(TINY, time=8)).shape == (2, 8, 17)
        with pytest.raises(ValueError, match="9 tokens do not fit the context of 8; shorten"):
            model(some_ids(TINY, time=9))

    @pytest.mark.parametrize("unknown", [17, -1])
    def test_refuses_an_unknown_id(self, unknown: int) -> None:
        with pytest.raises(IndexError):
            GPT(TINY)(torch.tensor([[3, unknown]]))

    def test_copies_share_nothing(self) -> None:
        model, ids = build(TINY), some_ids(TINY)
        twin, expected = copy.deepcopy(model), model(ids)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        torch.testing.assert_close(twin(ids), expected)


class GrowingCache:
    """The plainest cache there is: everything so far, joined anew at each step."""

    def __init__(self) -> None:
        self.length = 0
        self.kept: list[tuple[Tensor, Tensor]] = []

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        self.kept.append((key, value))
        self.length += key.shape[2]
        keys, values = zip(*self.kept, strict=True)
        return torch.cat(keys, 2), torch.cat(values, 2)


class TestCaches:
    @pytest.mark.parametrize("position", POSITIONS)
    @pytest.mark.parametrize("pieces", [(1, 1, 1, 1, 1), (2, 3), (3, 1, 1), (1, 4)])
    def test_piece_by_piece_is_the_same_as_at_once(
        self, position: Any, pieces: tuple[int, ...]
    ) -> None:
        model = build(dataclasses.replace(TINY, position=position)).double()
        ids, caches = some_ids(TINY), [GrowingCache() for _ in range(TINY.layers)]
        logits = [model(piece, caches) for piece in ids.split(pieces, dim=1)]
        torch.testing.assert_close(torch.cat(logits, 1), model(ids))

    def test_counts_what_is_cached(self) -> None:
        model, caches = GPT(TINY), [GrowingCache() for _ in range(TINY.layers)]
        model(some_ids(TINY, time=5), caches)
        with pytest.raises(ValueError, match="9 tokens do not fit the context of 8"):
            model(some_ids(TINY, time=4), caches)

    @pytest.mark.parametrize("number", [0, 5, 7])
    def test_every_layer_has_one(self, number: int) -> None:
        with pytest.raises(ValueError, match=f"{number} caches for 6 layers"):
            GPT(TINY)(some_ids(TINY), [GrowingCache() for _ in range(number)])


class TestPadding:
    """A vocabulary padded to a multiple of 64 is seen in the size of the table and nowhere else."""

    PADDED = dataclasses.replace(TINY, vocab_multiple=64)

    def pair(self) -> tuple[GPT, GPT]:
        """A padded model and one without padding, with the same weights; the padding is not 0."""
        padded, plain = build(self.PADDED), GPT(TINY).eval()
        state = dict(padded.state_dict())
        assert state["token_embedding.weight"].shape == (64, 12)
        assert state["token_embedding.weight"][17:].abs().min() > 0
        state["token_embedding.weight"] = state["token_embedding.weight"][:17]
        plain.load_state_dict(state)
        return padded, plain

    @pytest.mark.parametrize(
        ("vocab_size", "multiple", "rows"),
        [(50_257, 64, 50_304), (64, 64, 64), (65, 64, 128), (1, 64, 64), (17, 1, 17)],
    )
    def test_rows_are_rounded_up(self, vocab_size: int, multiple: int, rows: int) -> None:
        config = GPTConfig(vocab_size=vocab_size, vocab_multiple=multiple)
        assert config.padded_vocab_size == rows
        with torch.device("meta"):
            assert GPT(config).token_embedding.weight.shape == (rows, 768)

    def test_logits_are_those_without_padding(self) -> None:
        padded, plain = self.pair()
        ids = some_ids(TINY)
        assert padded(ids).shape == (2, 5, 17)
        torch.testing.assert_close(padded(ids), plain(ids))
        stream = padded.hidden(ids)
        torch.testing.assert_close(padded.token_embedding.logits(stream), plain(ids))

    def test_counts_in_no_loss_and_no_gradient(self) -> None:
        padded, plain = self.pair()
        ids = random_batch(TINY, batch=3, time=6)
        losses = [batch_loss(model, ids) for model in (padded, plain)]
        torch.testing.assert_close(*losses)
        for loss in losses:
            loss.backward()
        mine, other = padded.token_embedding.weight.grad, plain.token_embedding.weight.grad
        assert mine is not None
        assert other is not None
        torch.testing.assert_close(mine[:17], other)
        assert not mine[17:].any()

    def test_is_never_sampled_however_large_its_scores_were(self) -> None:
        from mini_gpt.sampling import SampleConfig, generate_ids

        padded, _ = self.pair()
        with torch.no_grad():
            padded.token_embedding.weight[17:].mul_(1000)
        source = generate_ids(padded, [3], SampleConfig(temperature=100.0, past_context="slide"))
        drawn = [next(source) for _ in range(60)]
        assert max(drawn) < 17
        assert len(set(drawn)) > 8

    def test_starts_at_zero_and_stays_there_in_training(self) -> None:
        torch.manual_seed(0)
        model = GPT(self.PADDED)
        assert not model.token_embedding.weight[17:].any()
        assert model.token_embedding.weight[:17].all()
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(3):
            batch_loss(model, random_batch(TINY, 3, 6)).backward()
            optimiser.step()
        assert not model.token_embedding.weight[17:].any()

    @pytest.mark.parametrize("unknown", [17, 63, 64, -1])
    def test_an_id_in_the_padding_is_unknown(self, unknown: int) -> None:
        with pytest.raises(IndexError):
            GPT(self.PADDED)(torch.tensor([[3, unknown]]))

    def test_learns_one_batch_by_heart(self) -> None:
        torch.manual_seed(0)
        losses = overfit_one_batch(
            GPT(GPTConfig(17, 12, layers=2, heads=2, width=32, vocab_multiple=64))
        )
        assert losses[0] == pytest.approx(math.log(17), rel=0.02)
        assert losses[-1] < 0.1


class TestNormalisation:
    def test_rms_reaches_every_normalisation(self) -> None:
        model = GPT(dataclasses.replace(TINY, normalisation="rms"))
        norms = [module for name, module in model.named_modules() if name.endswith("norm")]
        assert [type(norm) for norm in norms] == [nn.RMSNorm] * 13
        assert {norm.eps for norm in norms} == {1e-5}

    def test_rms_model_equals_its_formula(self) -> None:
        """With centred maps left out, a one-layer model written out by hand."""
        model = build(dataclasses.replace(TINY, layers=1, normalisation="rms")).double()
        ids, block = some_ids(TINY), model.decoder.blocks[0]

        def rms(stream: Tensor, scale: Tensor) -> Tensor:
            return stream / (stream.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale

        assert model.positions is not None
        stream = model.token_embedding(ids) + model.positions(5)
        stream = stream + block.attention(rms(stream, block.attention_norm.weight))
        stream = stream + block.feed_forward(rms(stream, block.feed_forward_norm.weight))
        stream = rms(stream, model.decoder.final_norm.weight)
        torch.testing.assert_close(model.hidden(ids), stream, rtol=0, atol=1e-12)


class TestMask:
    """Packed documents: a mask that parts them gives what each gives alone."""

    @pytest.mark.parametrize("kept", [None, 1])
    def test_documents_side_by_side_do_not_meet(self, kept: int | None) -> None:
        config = dataclasses.replace(TINY, position="none", key_value_heads=kept)
        model, first, second = build(config).double(), some_ids(TINY, 2, 3), some_ids(TINY, 2, 4, 2)
        document = torch.tensor([0, 0, 0, 1, 1, 1, 1])
        mask = (document[:, None] == document[None, :]).expand(2, 7, 7)
        packed = torch.cat([first, second], dim=1)
        alone = torch.cat([model(first), model(second)], dim=1)
        torch.testing.assert_close(model(packed, mask=mask), alone, rtol=0, atol=1e-10)
        torch.testing.assert_close(
            model.hidden(packed, None, mask)[:, 3:], model.hidden(second), rtol=0, atol=1e-10
        )
        assert not torch.allclose(model(packed), alone)

    def test_a_mask_that_allows_all_changes_nothing(self) -> None:
        model, ids = build(TINY).double(), some_ids(TINY)
        allowed = torch.ones(2, 5, 5, dtype=torch.bool)
        torch.testing.assert_close(model(ids, mask=allowed), model(ids))


class TestStart:
    @pytest.mark.parametrize("position", POSITIONS)
    def test_first_loss_is_that_of_an_even_choice(self, position: Any) -> None:
        torch.manual_seed(0)
        config = GPTConfig(
            vocab_size=84, context_length=64, layers=4, heads=4, width=128, position=position
        )
        ids = torch.randint(84, (8, 65), generator=torch.Generator().manual_seed(0))
        loss = F.cross_entropy(GPT(config)(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        assert abs(loss.item() / math.log(84) - 1) < 0.02

    def test_every_weight_starts_as_in_gpt2(self) -> None:
        torch.manual_seed(0)
        model = GPT(GPTConfig(vocab_size=200, context_length=90, layers=5, heads=4, width=64))
        kinds = {"norm": 0, "bias": 0, "residual": 0, "other": 0}
        for name, parameter in model.named_parameters():
            if "norm" in name:
                kinds["norm"] += 1
                assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
            elif name.endswith("bias"):
                kinds["bias"] += 1
                assert not parameter.any(), name
            else:
                residual = name.endswith(("attention.output.weight", "contract.weight"))
                kinds["residual" if residual else "other"] += 1
                expected = 0.02 / math.sqrt(10) if residual else 0.02
                assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
                assert abs(parameter.mean().item()) < 0.05 * expected, name
        assert kinds == {"norm": 22, "bias": 20, "residual": 10, "other": 12}

    def test_a_seed_decides_the_weights(self) -> None:
        first, second = (torch.manual_seed(7), GPT(TINY))[1], (torch.manual_seed(7), GPT(TINY))[1]
        for one, other in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_initialise_draws_anew(self) -> None:
        model = build(TINY)
        model.initialise()
        assert model.decoder.final_norm.bias.abs().max() > 0  # normalisations are left alone
        assert model.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.2)


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
            "normalisation": total(
                *(block.attention_norm for block in blocks),
                *(block.feed_forward_norm for block in blocks),
            ),
            "final normalisation": total(model.decoder.final_norm),
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

    def test_flops_default_to_the_full_context(self) -> None:
        assert flops_per_token(TINY) == flops_per_token(TINY, 8) > flops_per_token(TINY, 7)

    @settings(deadline=None, max_examples=10)
    @given(configs())
    def test_training_bytes_are_those_of_a_step(self, config: GPTConfig) -> None:
        model = GPT(config)
        optimiser = torch.optim.AdamW(model.parameters())
        model(some_ids(config)).sum().backward()
        optimiser.step()
        held = [tensor for p in model.parameters() for tensor in (p, p.grad)]
        held += [t for state in optimiser.state.values() for t in state.values() if t.ndim]
        assert sum(t.nbytes for t in held if t is not None) == training_bytes(config)

    @pytest.mark.parametrize(("dtype", "number_bytes"), [(torch.float32, 4), (torch.bfloat16, 2)])
    @pytest.mark.parametrize("kept", [None, 1])
    def test_decoding_bytes_are_those_of_model_and_caches(
        self, dtype: torch.dtype, number_bytes: int, kept: int | None
    ) -> None:
        shape = dataclasses.replace(TINY, key_value_heads=kept)
        model = GPT(shape).to(dtype).eval()
        caches = [KeyValueCache(TINY.context_length) for _ in range(TINY.layers)]
        with torch.no_grad():
            model(some_ids(TINY, batch=3), caches)
        held = [*model.parameters()]
        for cache in caches:
            assert cache.keys is not None
            assert cache.values is not None
            held += [cache.keys, cache.values]
        assert sum(t.nbytes for t in held) == decoding_bytes(shape, 3, number_bytes)
        assert decoding_bytes(TINY) == decoding_bytes(TINY, 1, 4)


TRACED = """
import copy, json, sys
import torch
from mini_gpt import GPT, GPTConfig

for options in json.loads(sys.argv[1]):
    torch.manual_seed(0)
    sizes = {"vocab_size": 17, "context_length": 8, "layers": 2, "heads": 3, "width": 12}
    model = GPT(GPTConfig(**sizes, **options)).eval()
    ids, other = torch.randint(17, (2, 5)), torch.randint(17, (3, 7))
    batch, time = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("time", max=8)
    shapes = {"ids": {0: batch, 1: time}}
    exported = torch.export.export(model, (ids,), dynamic_shapes=shapes).module()
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)
    for twin in (exported, compiled, copy.deepcopy(model)):
        for batch in (ids, other):
            torch.testing.assert_close(twin(batch), model(batch), msg=str(options))
"""
OPTIONS: list[dict[str, Any]] = [
    *({"position": position} for position in POSITIONS),
    {"bias": False},
    {"dropout": 0.1},
    {"normalisation": "rms"},
    {"vocab_multiple": 64},
    {"hidden_width": 20},
    {"key_value_heads": 1},
]


def test_can_be_copied_exported_and_compiled_as_one_graph_with_every_option() -> None:
    """In a process of its own: the tests' type checks cannot be traced."""
    fields = {field.name for field in dataclasses.fields(GPTConfig)}
    sizes = {"vocab_size", "context_length", "layers", "heads", "width"}
    assert {name for options in OPTIONS for name in options} == fields - sizes
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRACED, json.dumps(OPTIONS)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
        ids = random_batch(TINY, batch=4, time=6)
        assert torch.equal(ids, random_batch(TINY, batch=4, time=6))
        assert ids.shape == (4, 6)
        assert ids[:, 0].tolist() == [0, 1, 2, 3]
        assert random_batch(TINY, batch=20, time=50).shape == (20, 9)
        assert random_batch(TINY, batch=20, time=5).max() < 17

    def test_batch_loss_predicts_each_next_token(self) -> None:
        model, ids = build(TINY), some_ids(TINY)
        probabilities = model(ids).softmax(-1)
        expected = 0.0
        for row in range(2):
            for time in range(4):
                expected -= probabilities[row, time, ids[row, time + 1]].log().item() / 8
        assert batch_loss(model, ids).item() == pytest.approx(expected, rel=1e-5)

    def test_first_loss_of_a_good_start(self) -> None:
        torch.manual_seed(0)
        model = GPT(dataclasses.replace(TINY, vocab_size=500, width=96))
        assert check_initial_loss(model) == pytest.approx(math.log(500), rel=0.02)
        assert model.training, "the mode is left as it was"

    @pytest.mark.parametrize("fault", ["large weights", "not a number"])
    def test_first_loss_of_a_bad_start(self, fault: str) -> None:
        torch.manual_seed(0)
        model = GPT(TINY)
        with torch.no_grad():
            model.token_embedding.weight.mul_(50 if fault == "large weights" else math.nan)
        with pytest.raises(ValueError, match=r"an even choice among 17 tokens has 2\.833"):
            check_initial_loss(model)

    @settings(deadline=None, max_examples=15)
    @given(configs())
    def test_gradients_are_the_slopes_of_the_loss(self, config: GPTConfig) -> None:
        model = build(config)
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

        with pytest.raises(ValueError) as fault:
            check_gradients(build_as(Wrong))
        assert "positions.weight has" in str(fault.value)
        assert "where the loss has the slope" in str(fault.value)
        assert "decoder" not in str(fault.value)


def build_as(kind: type[GPT]) -> GPT:
    torch.manual_seed(0)
    return kind(TINY)


def printed(capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
    check(answer)
    return capsys.readouterr().out


def logits_by_depth(model: GPT, ids: Tensor) -> Tensor:
    assert model.positions is not None
    streams = [model.token_embedding(ids) + model.positions(ids.shape[1])]
    for block in model.decoder.blocks:
        streams.append(block(streams[-1]))
    return torch.stack(
        [model.token_embedding.logits(model.decoder.final_norm(stream)) for stream in streams]
    )


def without_final_norm(model: GPT, ids: Tensor) -> Tensor:
    assert model.positions is not None
    streams = [model.token_embedding(ids) + model.positions(ids.shape[1])]
    for block in model.decoder.blocks:
        streams.append(block(streams[-1]))
    return torch.stack([model.token_embedding.logits(stream) for stream in streams])


def normalised_stream(model: GPT, ids: Tensor) -> Tensor:
    """Feeds the normalised stream on to the next block: right at depth 0 only."""
    assert model.positions is not None
    stream, found = model.token_embedding(ids) + model.positions(ids.shape[1]), []
    for block in [nn.Identity(), *model.decoder.blocks]:
        stream = model.decoder.final_norm(block(stream))
        found.append(model.token_embedding.logits(stream))
    return torch.stack(found)


def sees_future(model: Any, ids: Tensor) -> bool:
    for time in range(1, ids.shape[1]):
        if not torch.allclose(model(ids)[:, :time], model(ids[:, :time]), atol=1e-6):
            return True
    return False


def compares_last_only(model: Any, ids: Tensor) -> bool:
    other = ids.clone()
    other[:, -1] = (other[:, -1] + 1) % 11
    return not torch.allclose(model(ids)[:, :-1], model(other)[:, :-1])


def compares_first_only(model: Any, ids: Tensor) -> bool:
    other = (ids + 1) % 11
    other[:, 0] = ids[:, 0]
    return not torch.allclose(model(ids)[:, 0], model(other)[:, 0])


def compares_changed_position(model: Any, ids: Tensor) -> bool:
    other = ids.clone()
    other[:, 3] = (other[:, 3] + 1) % 11
    return not torch.allclose(model(ids)[:, :4], model(other)[:, :4])


class TestChecks:
    @pytest.mark.parametrize(
        ("check", "wrong"),
        [
            (checks.gpt.block_parameters, lambda width: None),
            (checks.gpt.block_parameters, lambda width: 12 * width**2),
            (checks.gpt.block_parameters, lambda width: 12.0 * width**2 + 13 * width),
            (checks.gpt.block_parameters, lambda width: 25),
            (checks.gpt.block_parameters, lambda width: 1 / 0),
            (checks.gpt.sees_future, lambda model, ids: None),
            (checks.gpt.sees_future, lambda model, ids: True),
            (checks.gpt.sees_future, lambda model, ids: False),
            (checks.gpt.sees_future, compares_last_only),
            (checks.gpt.sees_future, compares_first_only),
            (checks.gpt.sees_future, compares_changed_position),
            (checks.gpt.logits_by_depth, lambda model, ids: None),
            (checks.gpt.logits_by_depth, lambda model, ids: model(ids)),
            (checks.gpt.logits_by_depth, lambda model, ids: model(ids).expand(4, -1, -1, -1)),
            (checks.gpt.logits_by_depth, without_final_norm),
            (checks.gpt.logits_by_depth, normalised_stream),
        ],
    )
    def test_is_not_content_with_a_wrong_answer(
        self, check: Any, wrong: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert printed(capsys, check, wrong).startswith("not yet: ")

    @pytest.mark.parametrize(
        ("check", "right"),
        [
            (checks.gpt.block_parameters, lambda width: 12 * width**2 + 13 * width),
            (checks.gpt.sees_future, sees_future),
            (checks.gpt.logits_by_depth, logits_by_depth),
        ],
    )
    def test_is_content_with_the_right_one(
        self, check: Any, right: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert printed(capsys, check, right).startswith("correct: ")
