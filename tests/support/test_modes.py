"""Evaluation mode for a while: every part is put back as it was, even after an error."""

from __future__ import annotations

import pytest
import torch

from mini_gpt.support.modes import evaluating
from tiny import tiny_gpt


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_even_after_an_error(training: bool) -> None:
    model, inside = tiny_gpt(dropout=0.5).train(training), []

    def fail() -> None:
        with evaluating(model):
            inside.append((model.training, torch.is_grad_enabled()))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [(False, False)]
    assert model.training is training
    assert torch.is_grad_enabled()


def test_each_part_gets_back_its_own_mode() -> None:
    model = tiny_gpt(dropout=0.5).train()
    model.decoder.blocks[1].eval()
    before = [module.training for module in model.modules()]
    assert len(set(before)) == 2
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before
