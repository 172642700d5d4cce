"""The whole model: what it computes, how it starts, what it may see, with and without caches."""

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

from joining import JoiningCache
from mini_gpt import checks
from mini_gpt.config import GPTConfig
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT
from shapes import configs, shaken
from tiny import tiny_config, tiny_gpt

ROOT = Path(__file__).resolve().parent.parent
TINY = tiny_config()
POSITIONS = ("learned", "sinusoidal", "rotary", "none")


def some_ids(config: GPTConfig = TINY, batch_size: int = 2, time: int = 5, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(config.vocab_size, (batch_size, time), generator=generator)


class TestForward:
    @pytest.mark.parametrize("position", POSITIONS)
    def test_is_embedding_positions_stack_and_head(self, position: Any) -> None:
        model, ids = shaken(tiny_gpt(position=position)), some_ids()
        stream = F.embedding(ids, model.token_embedding.weight)
        if model.positions is not None:
            stream = stream + model.positions(5)
        for block in model.decoder.blocks:
            stream = block(stream)
        hidden = model.decoder.final_norm(stream)
        torch.testing.assert_close(model.hidden(ids), hidden)
        torch.testing.assert_close(model(ids), hidden @ model.token_embedding.weight.T)
        assert model(ids).shape == (2, 5, 17)

    @pytest.mark.parametrize("multiple", [1, 64])
    @pytest.mark.parametrize("last", [1, 2, 5])
    def test_scores_only_the_last_positions_where_asked(self, last: int, multiple: int) -> None:
        model, ids = shaken(tiny_gpt(pad_vocab_to_multiple=multiple)), some_ids()
        assert model(ids, last=last).shape == (2, last, 17)
        torch.testing.assert_close(model(ids, last=last), model(ids)[:, -last:])

    @pytest.mark.parametrize("last", [0, -1])
    def test_scores_one_position_at_least(self, last: int) -> None:
        with pytest.raises(ValueError, match=f"last {last} must be at least 1"):
            tiny_gpt()(some_ids(), last=last)

    def test_scores_predict_each_next_token(self) -> None:
        model, ids = shaken(tiny_gpt()), some_ids()
        probabilities = model(ids).softmax(-1)
        expected = 0.0
        for row in range(2):
            for time in range(4):
                expected -= probabilities[row, time, ids[row, time + 1]].log().item() / 8
        loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
        assert loss.item() == pytest.approx(expected, rel=1e-5)

    @settings(deadline=None, max_examples=15)
    @given(configs(), st.data())
    def test_never_sees_the_future(self, config: GPTConfig, data: st.DataObject) -> None:
        """What comes after a position changes nothing there, and what stands there does."""
        check_future(config, data.draw(st.integers(0, 5)))

    @pytest.mark.slow
    @settings(deadline=None, max_examples=150)
    @given(configs(), st.integers(0, 5))
    def test_never_sees_the_future_in_many_shapes(self, config: GPTConfig, place: int) -> None:
        check_future(config, place)

    def test_sequences_of_a_batch_do_not_meet(self) -> None:
        model, ids = shaken(tiny_gpt()), some_ids(batch_size=3)
        for row in range(3):
            torch.testing.assert_close(model(ids)[row : row + 1], model(ids[row : row + 1]))

    def test_order_matters_with_positions_only(self) -> None:
        """Without them the last prediction depends on which tokens came before, in any order."""
        ids, swapped = torch.tensor([[3, 7, 11, 2]]), torch.tensor([[11, 3, 7, 2]])
        for position in POSITIONS:
            model = shaken(tiny_gpt(layers=1, position=position))
            same = torch.allclose(model(ids)[:, -1], model(swapped)[:, -1], atol=1e-5)
            assert same == (position == "none")

    def test_the_head_is_the_embedding(self) -> None:
        model = tiny_gpt()
        assert [n for n, p in model.named_parameters() if p.shape == (17, 12)] == [
            "token_embedding.weight"
        ]
        model(some_ids()).sum().backward()
        unused = torch.ones(17, dtype=torch.bool)
        unused[some_ids().unique()] = False
        assert model.token_embedding.weight.grad is not None
        assert model.token_embedding.weight.grad[unused].any(), "tokens not read are still scored"

    def test_dropout_acts_while_training_only(self) -> None:
        model, ids = shaken(tiny_gpt(dropout=0.5)), some_ids()
        torch.testing.assert_close(model(ids), shaken(tiny_gpt())(ids))
        model.train()
        assert not torch.allclose(model(ids), model(ids))

    def test_the_whole_context_fits_and_not_one_more(self) -> None:
        model = tiny_gpt()
        assert model(some_ids(time=8)).shape == (2, 8, 17)
        with pytest.raises(ValueError, match="9 tokens do not fit the context of 8; shorten"):
            model(some_ids(time=9))

    @pytest.mark.parametrize("unknown", [17, -1])
    def test_refuses_an_unknown_id(self, unknown: int) -> None:
        with pytest.raises(IndexError):
            tiny_gpt()(torch.tensor([[3, unknown]]))

    def test_copies_share_nothing(self) -> None:
        model, ids = shaken(tiny_gpt()), some_ids()
        twin, expected = copy.deepcopy(model), model(ids)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        torch.testing.assert_close(twin(ids), expected)


def check_future(config: GPTConfig, place: int) -> None:
    torch.manual_seed(0)
    model, ids = shaken(GPT(config)).double(), some_ids(config, time=6)
    other = ids.clone()
    other[:, place:] = (other[:, place:] + 1) % config.vocab_size
    before, after = model(ids), model(other)
    torch.testing.assert_close(before[:, :place], after[:, :place], rtol=0, atol=1e-12)
    assert not torch.allclose(before[:, place], after[:, place], rtol=1e-6)
    torch.testing.assert_close(model(ids[:, : place + 1]), before[:, : place + 1])


class TestCaches:
    @pytest.mark.parametrize("position", POSITIONS)
    @pytest.mark.parametrize("parts", [(1, 1, 1, 1, 1), (2, 3), (3, 1, 1), (1, 4)])
    def test_in_parts_it_is_the_same_as_at_once(
        self, position: Any, parts: tuple[int, ...]
    ) -> None:
        model = shaken(tiny_gpt(position=position)).double()
        ids, caches = some_ids(), [JoiningCache() for _ in range(TINY.layers)]
        logits = [model(part, caches) for part in ids.split(parts, dim=1)]
        torch.testing.assert_close(torch.cat(logits, 1), model(ids))

    def test_counts_what_is_cached(self) -> None:
        model, caches = tiny_gpt(), [JoiningCache() for _ in range(TINY.layers)]
        model(some_ids(time=5), caches)
        with pytest.raises(ValueError, match="9 tokens do not fit the context of 8"):
            model(some_ids(time=4), caches)

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_every_layer_has_one(self, number: int) -> None:
        with pytest.raises(ValueError, match=f"{number} caches for 2 layers"):
            tiny_gpt()(some_ids(), [JoiningCache() for _ in range(number)])


class TestNormalization:
    def test_rms_reaches_every_normalization(self) -> None:
        model = tiny_gpt(normalization="rms")
        norms = [module for name, module in model.named_modules() if name.endswith("norm")]
        assert [type(norm) for norm in norms] == [nn.RMSNorm] * 5
        assert {norm.eps for norm in norms} == {1e-5}

    def test_rms_model_equals_its_formula(self) -> None:
        """With centered maps left out, a one-layer model written out by hand."""
        model = shaken(tiny_gpt(layers=1, normalization="rms")).double()
        ids, block = some_ids(), model.decoder.blocks[0]

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
        model = shaken(tiny_gpt(position="none", key_value_heads=kept)).double()
        first, second = some_ids(time=3), some_ids(time=4, seed=2)
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
        model, ids = shaken(tiny_gpt()).double(), some_ids()
        allowed = torch.ones(2, 5, 5, dtype=torch.bool)
        torch.testing.assert_close(model(ids, mask=allowed), model(ids))


class TestStart:
    @pytest.mark.parametrize("position", POSITIONS)
    def test_first_loss_is_that_of_an_even_choice(self, position: Any) -> None:
        torch.manual_seed(0)
        config = GPTConfig(84, 64, layers=4, heads=4, width=128, position=position)
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
        for one, other in zip(tiny_gpt(7).parameters(), tiny_gpt(7).parameters(), strict=True):
            assert torch.equal(one, other)

    def test_initialize_draws_anew(self) -> None:
        model = shaken(tiny_gpt())
        model.initialize()
        assert model.decoder.final_norm.bias.abs().max() > 0  # normalizations are left alone
        assert model.token_embedding.weight.std().item() == pytest.approx(0.02, rel=0.2)


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
    torch.testing.assert_close(compiled(ids, last=2), model(ids)[:, -2:], msg=str(options))
"""
OPTIONS: list[dict[str, Any]] = [
    *({"position": position} for position in POSITIONS),
    {"bias": False},
    {"dropout": 0.1, "embedding_dropout": 0.2, "attention_dropout": 0.0},
    {"normalization": "rms"},
    {"pad_vocab_to_multiple": 64},
    {"hidden_width": 20},
    {"key_value_heads": 1},
    {"activation": "gelu"},
    {"norm_epsilon": 1e-3},
]


def test_every_option_is_traced() -> None:
    fields = {field.name for field in dataclasses.fields(GPTConfig)}
    sizes = {"vocab_size", "context_length", "layers", "heads", "width"}
    assert {name for options in OPTIONS for name in options} == fields - sizes


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_can_be_copied_exported_and_compiled_as_one_graph_with_every_option(half: int) -> None:
    """In a process of its own: the tests' type checks cannot be traced."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRACED, json.dumps(OPTIONS[half::2])]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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


def normalized_stream(model: GPT, ids: Tensor) -> Tensor:
    """Feeds the normalized stream on to the next block: right at depth 0 only."""
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
            (checks.model.sees_future, lambda model, ids: None),
            (checks.model.sees_future, lambda model, ids: True),
            (checks.model.sees_future, lambda model, ids: False),
            (checks.model.sees_future, compares_last_only),
            (checks.model.sees_future, compares_first_only),
            (checks.model.sees_future, compares_changed_position),
            (checks.model.logits_by_depth, lambda model, ids: None),
            (checks.model.logits_by_depth, lambda model, ids: model(ids)),
            (checks.model.logits_by_depth, lambda model, ids: model(ids).expand(4, -1, -1, -1)),
            (checks.model.logits_by_depth, without_final_norm),
            (checks.model.logits_by_depth, normalized_stream),
        ],
    )
    def test_is_not_content_with_a_wrong_answer(
        self, check: Any, wrong: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert printed(capsys, check, wrong).startswith("not yet: ")

    @pytest.mark.parametrize(
        ("check", "right"),
        [
            (checks.model.sees_future, sees_future),
            (checks.model.logits_by_depth, logits_by_depth),
        ],
    )
    def test_is_content_with_the_right_one(
        self, check: Any, right: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert printed(capsys, check, right).startswith("correct: ")


def run_model(weights: dict[str, Tensor], ids: Tensor, config: GPTConfig) -> Tensor:
    model = GPT(config)
    model.load_state_dict(weights)
    return model(ids)


def one_head(weights: dict[str, Tensor], ids: Tensor, config: GPTConfig) -> Tensor:
    return run_model(weights, ids, dataclasses.replace(config, heads=1))


def exact_gelu(weights: dict[str, Tensor], ids: Tensor, config: GPTConfig) -> Tensor:
    return run_model(weights, ids, dataclasses.replace(config, activation="gelu"))


def without_positions(weights: dict[str, Tensor], ids: Tensor, config: GPTConfig) -> Tensor:
    blank = torch.zeros_like(weights["positions.weight"])
    return run_model({**weights, "positions.weight": blank}, ids, config)


@pytest.mark.parametrize(
    ("wrong", "case"),
    [
        (lambda weights, ids, config: None, "without what the blocks write nothing comes back"),
        (without_positions, "without what the blocks write expected"),
        (one_head, "with attention only expected"),
        (exact_gelu, "with feed-forward networks only expected"),
    ],
)
def test_a_wrong_model_is_told_where(
    wrong: Any, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = printed(capsys, checks.model.run_model, wrong)
    assert said.startswith(f"not yet: for a model {case}")


def test_a_right_model_is_praised(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, checks.model.run_model, run_model).startswith("correct: ")
