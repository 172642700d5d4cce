"""Training steps, ours and a peer's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.gpu.common import GPT2, ROOT, SMALL, TINY, Bench, Result, memory
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import flops_per_token
from mini_gpt.model import GPT
from mini_gpt.support.device import autocast, device_peak
from mini_gpt.support.settings_file import read_settings
from mini_gpt.trainer import Stepper, TrainConfig


def one_step(bench: Bench, name: str, config: GPTConfig, training: TrainConfig) -> Result:
    """A training step of ours: how long, and what share of the card it makes use of."""
    torch.manual_seed(0)
    tokens = np.random.default_rng(0).integers(config.vocab_size, size=2**20)
    device = bench.device.type
    training = replace(training, device=device, precision=bench.precision)
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    stepper = Stepper(GPT(config), tokens, training)
    start = time.perf_counter()
    stepper.step()
    bench.wait()
    first = time.perf_counter() - start
    seconds = bench.seconds(stepper.step, 2 if bench.tiny else 20, warm_up=1 if bench.tiny else 5)
    tokens_a_step = training.batch_size * config.context_length
    return step_result(bench, name, config, tokens_a_step, seconds, first)


def step_result(
    bench: Bench, name: str, config: GPTConfig, tokens: int, seconds: float, first: float
) -> Result:
    """What is said of a training step, of whoever's."""
    flops = tokens * flops_per_token(config)
    result = {
        "name": name,
        "ms": 1e3 * seconds,
        "tokens_per_second": tokens / seconds,
        "teraflops": flops / seconds / 1e12,
        "first_seconds": first,
        **memory(bench),
    }
    if (peak := device_peak(bench.device, bench.precision)) is not None:
        result["share_of_peak"] = flops / seconds / peak
    return result


def transformers_step(bench: Bench, config: GPTConfig, rows: int) -> Result:
    """The same step by transformers, its loss compiled with it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.padded_vocab_size,
            n_positions=config.context_length,
            n_layer=config.layers,
            n_head=config.heads,
            n_embd=config.width,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    nn.Module.to(theirs, bench.device)  # the annotation of theirs hides its own
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(config.vocab_size, (rows, config.context_length + 1), device=bench.device)

    def loss(ids: Tensor) -> Tensor:
        logits = theirs(ids[:, :-1]).logits
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    run = loss if bench.tiny else torch.compile(loss)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(bench.device, bench.precision):
            found = run(ids)
        found.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()

    start = time.perf_counter()
    step()
    bench.wait()
    first = time.perf_counter() - start
    seconds = bench.seconds(step, 2 if bench.tiny else 20, warm_up=1 if bench.tiny else 5)
    tokens = rows * config.context_length
    return step_result(bench, "transformers, AdamW", config, tokens, seconds, first)


def steps(bench: Bench) -> Iterator[Result]:
    """The step of GPT-2's smallest model, 32 sequences of 1,024 tokens."""
    config, rows = (TINY, 2) if bench.tiny else (GPT2, 32)
    training = TrainConfig(batch_size=rows, compile=not bench.tiny)
    ways: list[tuple[Literal["adamw", "muon"], bool]]
    ways = [("adamw", False), ("muon", False), ("adamw", True)]
    for optimizer, graphs in ways:
        name = f"mini_gpt, {optimizer}{', recorded' * graphs}"
        if bench.has_time(name, 60):
            how = replace(training, optimizer=optimizer, cuda_graphs=graphs)
            yield one_step(bench, name, config, how)
    if bench.has("transformers", "its step") and bench.has_time("transformers' step", 60):
        yield transformers_step(bench, config, rows)


def small_steps(bench: Bench) -> Iterator[Result]:
    """The step of 6 layers of width 384, 64 sequences of 256 characters."""
    config, rows = (TINY, 2) if bench.tiny else (SMALL, 64)
    training = TrainConfig(batch_size=rows, compile=not bench.tiny)
    for optimizer in ("adamw", "muon"):
        for graphs in (False, True):
            name = f"mini_gpt, {optimizer}{', recorded' * graphs}"
            if bench.has_time(name, 30):
                how: Any = {"optimizer": optimizer, "cuda_graphs": graphs}
                yield one_step(bench, name, config, replace(training, **how))


def pretraining(bench: Bench) -> Iterator[Result]:
    """The speed of the recipe of the model that comes with the package."""
    settings = read_settings(ROOT / "tools" / "pretrain.toml")
    shape = TINY if bench.tiny else GPTConfig(**settings["model"])
    how = TrainConfig(**{**settings["training"], "compile": not bench.tiny})
    if bench.has_time("pre-training", 30):
        result = one_step(bench, "tools/pretrain.toml", shape, how)
        yield {**result, "minutes": how.steps * result["ms"] / 60_000}
