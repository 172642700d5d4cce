"""Training steps per second: mini_gpt against other implementations of GPT-2's architecture.

    python -m bench training_step            writes bench/results/training_step.json and .md
    python -m bench training_step --quick --out FOLDER

A step is forward, cross-entropy, backward and an AdamW update, in float32, without dropout, with
the same batch, the same optimiser and the same number of threads for all. The peers are used as
they come, through their public classes. One that is not installed is left out, and named.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import harness
from mini_gpt.model import GPT, GPTConfig, count_parameters, flops_per_token
from mini_gpt.training import TrainConfig, make_optimiser

# Layers, heads, width, context, batch, vocabulary.
SHAPES = ((4, 4, 128, 64, 12, 65), (6, 6, 384, 256, 4, 65))
QUICK_SHAPES = ((1, 2, 8, 5, 3, 7),)
# What a shape holds, in words, for tables and JSON.
FIELDS = ("layers", "heads", "width", "context", "batch", "vocabulary")


def mini_gpt(layers: int, heads: int, width: int, context: int, vocabulary: int) -> nn.Module:
    return GPT(GPTConfig(vocabulary, context, layers, heads, width))


def transformers(layers: int, heads: int, width: int, context: int, vocabulary: int) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_layer=layers,
        n_head=heads,
        n_embd=width,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def llms_from_scratch(
    layers: int, heads: int, width: int, context: int, vocabulary: int, fast: bool = False
) -> nn.Module:
    from llms_from_scratch import ch04

    config = {
        "vocab_size": vocabulary,
        "context_length": context,
        "emb_dim": width,
        "n_heads": heads,
        "n_layers": layers,
        "drop_rate": 0.0,
        "qkv_bias": True,
    }
    return (ch04.GPTModelFast if fast else ch04.GPTModel)(config)


def llms_from_scratch_fast(*shape: int) -> nn.Module:
    return llms_from_scratch(*shape, fast=True)


CONTESTANTS: dict[str, tuple[str, Callable[..., nn.Module]]] = {
    "mini_gpt": ("mini-gpt", mini_gpt),
    "transformers GPT2LMHeadModel": ("transformers", transformers),
    "llms-from-scratch GPTModel": ("llms-from-scratch", llms_from_scratch),
    "llms-from-scratch GPTModelFast": ("llms-from-scratch", llms_from_scratch_fast),
}


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed() -> tuple[dict[str, str], list[str]]:
    """The versions of the contestants that are here, and the names of those that are not."""
    found = {name: version_of(distribution) for name, (distribution, _) in CONTESTANTS.items()}
    found["mini_gpt"] = found["mini_gpt"] or "working tree"
    versions = {name: version for name, version in found.items() if version is not None}
    return versions, [name for name in found if name not in versions]


def training_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], float]:
    """One optimiser step on always the same batch; returns its loss, which also waits for it."""
    model.train()
    # Its own settings for every contestant would compare settings; so all get ours.
    optimiser = make_optimiser(model, TrainConfig(learning_rate=1e-3))

    def step() -> float:
        output = model(inputs)
        logits = output if isinstance(output, Tensor) else output.logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def measure(shape: tuple[int, ...], names: list[str], effort: harness.Effort) -> dict[str, Any]:
    """Time one step of each contestant at one shape.

    Raises:
        RuntimeError: if a contestant does not learn its batch: it would not be doing the same work.
    """
    layers, heads, width, context, batch, vocabulary = shape
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (batch, context + 1), generator=generator)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    steps, parameters, losses = {}, {}, {}
    for name in names:
        torch.manual_seed(0)
        model = CONTESTANTS[name][1](layers, heads, width, context, vocabulary)
        parameters[name] = count_parameters(model)
        steps[name] = training_step(model, inputs, targets)
        losses[name] = [round(steps[name](), 4) for _ in range(3)]
        if not losses[name][0] > losses[name][-1]:
            raise RuntimeError(f"{name} does not learn: losses {losses[name]}")
    timings = harness.contest(steps, effort)
    flops = flops_per_token(GPTConfig(vocabulary, context, layers, heads, width))
    return {
        "shape": dict(zip(FIELDS, shape, strict=True)),
        "parameters": parameters,
        "first_losses": losses,
        "tokens_per_step": batch * context,
        "flops_per_token": flops,
        "timings": harness.timings_as_json(timings),
        "rows": harness.speed_rows(timings, batch * context),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = harness.parser(__doc__).parse_args(arguments)
    effort = harness.prepare(options)
    versions, missing = installed()
    machine = harness.environment()
    results = []
    text = ["# Training steps\n", harness.said_of(machine, effort)]
    text.append(
        "A step is forward, loss, backward and AdamW update, in float32, without dropout. "
        "The ratio is that of the speeds, ours over theirs: above 1, mini_gpt is faster.\n"
    )
    for shape in QUICK_SHAPES if options.quick else SHAPES:
        result = measure(shape, list(versions), effort)
        results.append(result)
        words = ", ".join(f"{field} {size}" for field, size in zip(FIELDS, shape, strict=True))
        text.append(f"## {words[0].upper()}{words[1:]}\n")
        header = ["contestant", "version", "tokens/s", "spread", "mini_gpt is … times as fast"]
        rows = [[row[0], versions[row[0]], *row[1:]] for row in result.pop("rows")]
        text.append(harness.table(header, rows))
        print(text[-2], text[-1], sep="\n", flush=True)
    if missing:
        text.append(f"Not installed, so not measured: {', '.join(missing)}. See README.md.\n")
        print(text[-1], file=sys.stderr)
    record = {"environment": machine, "versions": versions, "missing": missing, "results": results}
    harness.save("training_step", record, "\n".join(text), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
