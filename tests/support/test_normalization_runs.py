"""The models trained side by side are the parts that the decoder's chapter builds."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mini_gpt.config import GPTConfig
from mini_gpt.decoder import FeedForward
from mini_gpt.multi_head import MultiHeadAttention
from mini_gpt.support.normalization_runs import backwards, fresh_weights, scores_of, train


def norm(stream: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(stream, stream.shape[-1:])


@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("model", [0, 2])
def test_the_modules_with_one_models_weights_give_its_scores(place: str, model: int) -> None:
    weights = fresh_weights(layers=2)
    ids = backwards(5, torch.Generator().manual_seed(0))[:, :-1]
    config = GPTConfig(width=16, heads=2, bias=False)
    stream = weights["tokens"][model, ids] + weights["positions"][model]
    for layer in range(2):
        for part in (MultiHeadAttention(config), FeedForward(config)):
            for name, module in part.named_children():
                if f"{name} {layer}" in weights:
                    assert isinstance(module, torch.nn.Linear)
                    module.weight.data = weights[f"{name} {layer}"][model].T
            pre, post = stream + part(norm(stream)), norm(stream + part(stream))
            stream = pre if place == "pre" else post
    found = scores_of(weights, ids, 2, place)[model].view(5, 8, 10)
    torch.testing.assert_close(found, norm(stream) @ weights["head"][model])


def test_a_factor_is_a_larger_step_for_sgd_and_nothing_for_adam() -> None:
    sgd, _ = train("pre", 1, 0, torch.optim.SGD, 0.1, (1.0, 3.0), steps=3)
    larger, _ = train("pre", 1, 0, torch.optim.SGD, 0.3, steps=3)
    torch.testing.assert_close(sgd[:, 1:], larger)
    assert (sgd[:, 0] - sgd[:, 1]).abs().min() > 1e-3
    adam, _ = train("pre", 1, 0, torch.optim.Adam, 0.01, (1.0, 3.0), steps=3)
    torch.testing.assert_close(adam[:, 0], adam[:, 1], rtol=1e-4, atol=1e-4)


def test_each_model_learns_as_it_would_alone() -> None:
    alone, share = train("post", 2, 0, torch.optim.SGD, 0.1, steps=22)
    together, shares = train("post", 2, 0, torch.optim.SGD, 0.1, (0.5, 1.0), steps=22)
    torch.testing.assert_close(together[:, 1:], alone)
    torch.testing.assert_close(shares[:, 1:], share)
    assert (share > 0).all()


def test_warm_up_begins_with_small_steps() -> None:
    cold, _ = train("pre", 1, 0, torch.optim.SGD, 0.3, steps=2)
    warm, _ = train("pre", 1, 1000, torch.optim.SGD, 0.3, steps=2)
    still, _ = train("pre", 1, 0, torch.optim.SGD, 0.0, steps=2)
    assert (warm - still).abs().max() < 0.01 * (cold - still).abs().max()
