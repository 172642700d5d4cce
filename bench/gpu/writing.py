"""Tokens a second, written one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bench.gpu.common import GPT2, TINY, Bench, Result
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import count_parameters
from mini_gpt.generation import InferenceSession
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig, choose_tokens
from mini_gpt.support.recording import Recorder, compiled_step, write_ahead
from mini_gpt.support.step_writer import StepWriter


def writing(bench: Bench) -> Iterator[Result]:
    """Tokens a second of GPT-2's size in bfloat16, for 1 and 16 texts, drawn one by one."""
    config = TINY if bench.tiny else GPT2
    torch.manual_seed(0)
    model = GPT(config).eval().to(bench.device, torch.bfloat16)
    prompt, new = (2, 12) if bench.tiny else (8, 256)
    for rows in (1, 16):
        for way in ("plain", "recorded", "compiled and recorded"):
            if bench.has_time(f"writing {rows}, {way}", 40):
                yield written(bench, model, way, rows, prompt, new)
        name = f"transformers' writing {rows}"
        if bench.has("transformers", name) and bench.has_time(name, 60):
            yield transformers_writing(bench, config, rows, prompt, new)


def written(bench: Bench, model: GPT, way: str, rows: int, prompt: int, new: int) -> Result:
    """One way to write: the second time counts, what the first one took more is compiling."""
    size, given = model.config.vocab_size, list(range(prompt))
    settings = SampleConfig(temperature=1.0)

    def start() -> tuple[InferenceSession, Tensor]:
        session = InferenceSession(model)
        return session, session.feed([given] * rows)[:, 0].clone()

    def plain() -> None:
        session, logits = start()
        generators = [torch.Generator().manual_seed(row) for row in range(rows)]
        for _ in range(new - 1):
            ids = choose_tokens(logits, settings, generators)
            logits = session.feed([[id] for id in ids])[:, 0]
        choose_tokens(logits, settings, generators)

    def recorded() -> None:
        session, logits = start()
        fed = [
            (cache.keys[:, :, :prompt], cache.values[:, :, :prompt])  # type: ignore[index]
            for cache in session.caches
        ]
        last = prompt + new - 1
        writer = StepWriter(model, fed, [given] * rows, settings, range(rows), size, last)
        writer.choose(logits)
        step: Callable[[], None] = writer.step
        if way.startswith("compiled") and not bench.tiny:
            step = compiled_step(writer)
        for _ in write_ahead(writer, Recorder(step, bench.device)):
            pass

    run = plain if way == "plain" else recorded
    begin = time.perf_counter()
    run()
    bench.wait()
    first = time.perf_counter() - begin
    seconds = bench.seconds(run, 1, warm_up=0)
    return {
        "name": f"mini_gpt, {way}",
        "rows": rows,
        "tokens_per_second": rows * new / seconds,
        "first_seconds": first,
        "bytes_a_step": 2 * count_parameters(model),
    }


def transformers_writing(
    bench: Bench, config: GPTConfig, rows: int, prompt: int, new: int
) -> Result:
    """The same by transformers with its static cache."""
    from transformers import GPT2Config, GPT2LMHeadModel

    settings = GPT2Config(
        vocab_size=config.vocab_size,
        n_positions=config.context_length,
        n_layer=config.layers,
        n_head=config.heads,
        n_embd=config.width,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = GPT2LMHeadModel(settings).eval().to(bench.device, torch.bfloat16)
    ids = torch.arange(prompt, device=bench.device).expand(rows, -1).contiguous()

    def run() -> None:
        theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            do_sample=True,
            top_k=0,
            pad_token_id=0,
            cache_implementation="static",
        )

    begin = time.perf_counter()
    run()
    bench.wait()
    first = time.perf_counter() - begin
    seconds = bench.seconds(run, 1, warm_up=0)
    speed = rows * new / seconds
    return {
        "name": "transformers, static cache",
        "rows": rows,
        "tokens_per_second": speed,
        "first_seconds": first,
    }
