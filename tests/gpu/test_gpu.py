"""What only a GPU can show. `make gpu` runs this; what it measures goes to build/gpu.json."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from mini_gpt import GPT, CharTokenizer, GPTConfig, SampleConfig, TrainConfig, generate, train
from mini_gpt.diagnostics import flops_per_token
from mini_gpt.loss import next_token_loss
from mini_gpt.support.device import autocast

pytestmark = pytest.mark.gpu

REPORT = Path(__file__).resolve().parents[2] / "build" / "gpu.json"
CUDA = torch.device("cuda")
TINY = GPTConfig(vocab_size=17, context_length=11, layers=2, heads=3, width=12)


@pytest.fixture(autouse=True)
def without_shape_checks() -> Iterator[None]:
    """Leave out the checks of tensor shapes: torch.compile cannot trace them."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[str, object]]:
    """What the tests of this file measure; written with the card's name when all have run."""
    results: dict[str, object] = {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }
    yield results
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\n{REPORT}: {json.dumps(results)}")


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


def test_training_learns_and_its_speed_is_measured(measured: dict[str, object]) -> None:
    config = GPTConfig(vocab_size=84, context_length=256, layers=6, heads=6, width=384)
    training = TrainConfig(
        steps=150, batch_size=64, warmup_steps=20, eval_every=50, device="cuda", compile=True
    )
    # Each character is followed by the one three places on in the alphabet: easy to learn.
    tokens = np.arange(200_000) * 3 % config.vocab_size
    tokenizer = CharTokenizer([chr(ord("0") + number) for number in range(config.vocab_size)])
    torch.cuda.reset_peak_memory_stats()
    result = train(GPT(config), tokens, tokens[:20_000], tokenizer, training, progress=False)
    assert result.validation_loss < 1  # it starts at log(84), which is 4.4
    tokens_per_second = result.history[-1]["tokens_per_second"]  # the first entry holds compilation
    measured["training"] = {
        "shape": "6 layers, 6 heads, width 384, context 256, batch 64, bfloat16, compiled",
        "tokens_per_second": round(tokens_per_second),
        "teraflops": round(tokens_per_second * flops_per_token(config) / 1e12, 1),
        "peak_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20),
    }
