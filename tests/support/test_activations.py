"""What blocks compute again: the same gradients to the last bit, from less memory."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from learning import QUICK, TRAINING, small
from mini_gpt.diagnostics import activation_bytes, random_batch
from mini_gpt.model import GPT
from mini_gpt.support.activations import recompute_activations
from mini_gpt.trainer import Stepper
from tiny import tiny_gpt


def gradients(model: GPT) -> list[torch.Tensor]:
    ids = random_batch(model.config, 3, 7)
    torch.manual_seed(4)  # of dropout
    model(ids[:, :-1], targets=ids[:, 1:]).backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_the_same_with_dropout_too(dropout: float) -> None:
    model, again = (tiny_gpt(dropout=dropout).train() for _ in range(2))
    recompute_activations(again)
    pairs = list(zip(gradients(model), gradients(again), strict=True))
    assert len(pairs) == len(list(model.parameters()))
    assert all(torch.equal(*pair) for pair in pairs)


def test_only_the_input_of_each_block_is_kept() -> None:
    model = tiny_gpt(layers=6)
    before = activation_bytes(model, 5, 8)
    recompute_activations(model)
    after = activation_bytes(model, 5, 8)
    stream = 4 * 5 * 8 * model.config.width
    assert before > after + 6 * 5 * stream  # several times the stream, in each of six blocks
    model.decoder.blocks = model.decoder.blocks[:3]
    fewer = activation_bytes(model, 5, 8)
    assert after - fewer == 3 * stream  # a block costs its input


def test_a_copy_computes_with_its_own_weights() -> None:
    model = tiny_gpt()
    recompute_activations(model)
    recompute_activations(model)  # once more changes nothing
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for weight in twin.decoder.parameters():
            weight.zero_()
    ids = random_batch(model.config, 2, 5)
    assert not torch.allclose(model(ids), twin(ids))
    assert model.state_dict().keys() == tiny_gpt().state_dict().keys()


def test_without_gradients_nothing_is_computed_twice() -> None:
    model, passes = tiny_gpt(), []
    model.decoder.blocks[0].attention.register_forward_hook(lambda *_: passes.append(1))
    recompute_activations(model)
    ids = random_batch(model.config, 2, 5)
    with torch.no_grad():
        model(ids)
    assert len(passes) == 1
    model(ids[:, :-1], targets=ids[:, 1:]).backward()
    assert len(passes) == 3


@pytest.mark.parametrize("changes", [{}, {"precision": "bfloat16"}])
def test_training_takes_the_same_steps(changes: dict[str, Any]) -> None:
    """`test_sharding.py` has the same for compiled steps."""
    config = replace(QUICK, **changes)
    losses = []
    for changed in (config, replace(config, checkpoint_activations=True)):
        stepper = Stepper(small(dropout=0.1), TRAINING, changed)  # sets the seed of dropout
        losses.append([stepper.step().item() for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert len(set(losses[0])) == 3
