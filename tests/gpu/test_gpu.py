"""What only a GPU can show. `make gpu` runs this; `python -m bench gpu` measures speed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch

from mini_gpt import GPT, CharTokenizer, GPTConfig, SampleConfig, TrainConfig, generate, train
from mini_gpt.generation import generate_rows
from mini_gpt.loss import linear_cross_entropy, next_token_loss
from mini_gpt.support.device import autocast
from mini_gpt.trainer import Stepper

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
TINY = GPTConfig(vocab_size=17, context_length=11, layers=2, heads=3, width=12)


@pytest.fixture(autouse=True)
def without_shape_checks() -> Iterator[None]:
    """Leave out the checks of tensor shapes: torch.compile cannot trace them."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def tiny_model() -> GPT:
    torch.manual_seed(0)
    return GPT(TINY)


def tiny_ids() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(TINY.vocab_size, (5, 7), generator=generator)


def test_logits_are_those_of_the_cpu() -> None:
    model, ids = tiny_model(), tiny_ids()
    expected = model(ids)
    torch.testing.assert_close(model.to(CUDA)(ids.to(CUDA)).cpu(), expected, rtol=1e-4, atol=1e-5)


def test_greedy_text_is_that_of_the_cpu() -> None:
    model, tokenizer = tiny_model(), CharTokenizer("abcdefghijklmnopq")
    greedy = SampleConfig(max_new_tokens=30, temperature=0, past_context="slide")
    expected = generate(model, tokenizer, ["abc"], greedy)
    assert generate(model.to(CUDA), tokenizer, ["abc"], greedy) == expected


def test_a_bfloat16_step_is_close_to_a_float32_step() -> None:
    ids = tiny_ids().to(CUDA)
    gradients = {}
    for precision in ("float32", "bfloat16"):
        model = tiny_model().to(CUDA)
        with autocast(CUDA, precision):
            loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        gradients[precision] = torch.cat([p.grad.flatten() for p in model.parameters()])
        assert loss.item() == pytest.approx(math.log(TINY.vocab_size), rel=0.1)
    assert gradients["bfloat16"].isfinite().all()
    similarity = torch.cosine_similarity(*gradients.values(), dim=0)
    assert similarity > 0.99


def test_compiled_model_is_the_eager_model() -> None:
    model, ids = tiny_model().to(CUDA), tiny_ids().to(CUDA)
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(ids), model(ids), rtol=1e-4, atol=1e-5)


TOKENS = np.arange(20_000) * 3 % TINY.vocab_size  # each follows from the one before
QUICK = TrainConfig(steps=40, batch_size=16, warmup_steps=4, learning_rate=0.02, device="cuda")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("graphs", [False, True])
def test_training_learns(optimizer: str, graphs: bool) -> None:
    training = replace(QUICK, optimizer=optimizer, cuda_graphs=graphs, eval_every=20)
    tokenizer = CharTokenizer("abcdefghijklmnopq")
    result = train(tiny_model(), TOKENS, TOKENS[:2000], tokenizer, training, progress=False)
    assert result.validation_loss < 1  # it starts at log(17), which is 2.8


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_does_not_wait_for_the_card(optimizer: str, compiled: bool) -> None:
    stepper = Stepper(tiny_model(), TOKENS, replace(QUICK, optimizer=optimizer, compile=compiled))
    for _ in range(3):
        stepper.step()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            stepper.step()
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert stepper.steps_done == 6


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    stepper = Stepper(tiny_model(), TOKENS, replace(QUICK, optimizer="muon"))
    stepper.step()
    before = [p.detach().clone() for p in stepper.model.parameters()]
    weight = stepper.model.decoder.final_norm.weight
    handle = weight.register_hook(lambda gradient: gradient * math.nan)
    stepper.step()
    handle.remove()
    assert all(map(torch.equal, before, stepper.model.parameters()))
    assert int(stepper.skipped) == 1


def test_a_loss_in_parts_is_the_plain_one() -> None:
    ids = torch.randint(500, (4, 65), device=CUDA)
    found = []
    for at_once in (10**9, 20_000):
        stream = torch.ones(4, 64, 32, device=CUDA).cumsum(1).sin().requires_grad_()
        table = torch.ones(512, 32, device=CUDA).cumsum(0).cos().requires_grad_()
        loss = linear_cross_entropy(stream, table, ids[:, 1:], 500, at_once=at_once)
        found.append([loss, *torch.autograd.grad(loss / 256, (stream, table))])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rules", [{"temperature": 0.0}, {"temperature": 1.0, "top_p": 0.9}])
def test_recorded_text_is_that_of_the_plain_loop(rules: dict[str, float]) -> None:
    model, tokenizer = tiny_model().double().to(CUDA), CharTokenizer("abcdefghijklmnopq")
    config = SampleConfig(max_new_tokens=9, repetition_penalty=1.2, **rules)
    texts = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a step that cannot be recorded says so
        for recorded in (False, True):
            prompts = [[1, 2], [3], [4, 5, 6]]
            found, growing = generate_rows(model, tokenizer, prompts, config, recorded=recorded)
            list(growing)
            texts.append([text.text for text in found])
    assert texts[0] == texts[1]
