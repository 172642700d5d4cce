"""Training steps per second: mini_gpt against other implementations of GPT-2's architecture.

    python -m bench training_step            writes bench/results/training_step.json and .md
    python -m bench training_step --shape 2    only the third shape, into the results there are
    python -m bench training_step --compiled   all of them compiled: training_step_compiled.*
    python -m bench training_step --quick --out FOLDER

A step is forward, cross-entropy, backward and an AdamW update, in float32, without dropout, with
the same batch, the same optimizer and the same number of threads for all. The peers are used as
they come, through their public classes. One that is not installed is left out, and named. On a
processor with bfloat16 instructions, mini_gpt also has a row with matrix products in bfloat16;
weights, gradients and optimizer stay in float32. One more row of its own is through
`torch.compile`, as `compile=True` does it in training. With `--compiled`, every model, the peers'
too, is compiled. The first step, which includes the compiling, is timed apart.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import harness
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import count_parameters, flops_per_token
from mini_gpt.model import GPT
from mini_gpt.optimizer import OptimizerConfig, make_adamw
from mini_gpt.support.device import autocast

# Layers, heads, width, context, batch, vocabulary.
SHAPES = ((4, 4, 128, 64, 12, 65), (6, 6, 384, 256, 4, 65), (12, 12, 768, 256, 1, 50_257))
# A step of a model this wide takes over a second; five rounds must do.
WIDE = 768
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
    layers: int, heads: int, width: int, context: int, vocabulary: int, *, fast: bool = False
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


def llms_from_scratch_fast(
    layers: int, heads: int, width: int, context: int, vocabulary: int
) -> nn.Module:
    return llms_from_scratch(layers, heads, width, context, vocabulary, fast=True)


CONTESTANTS: dict[str, tuple[str, Callable[..., nn.Module]]] = {
    "mini_gpt": ("mini-gpt", mini_gpt),
    "transformers GPT2LMHeadModel": ("transformers", transformers),
    "llms-from-scratch GPTModel": ("llms-from-scratch", llms_from_scratch),
    "llms-from-scratch GPTModelFast": ("llms-from-scratch", llms_from_scratch_fast),
}


# Contestants that are copies of another: with matrix products in bfloat16, or compiled.
BFLOAT16, COMPILED = " in bfloat16", ", compiled"


def origin(name: str) -> str:
    """The key in `CONTESTANTS` of a contestant that may be a copy."""
    return name.removesuffix(BFLOAT16).removesuffix(COMPILED)


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware, as far as Linux tells."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


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


def training_step(
    model: nn.Module, inputs: Tensor, targets: Tensor, precision: str = "float32"
) -> Callable[[], float]:
    """One optimizer step on always the same batch; returns its loss, which also waits for it."""
    model.train()
    # Its own settings for every contestant would compare settings; so all get ours.
    optimizer = make_adamw(model, OptimizerConfig(learning_rate=1e-3))

    def step() -> float:
        with autocast(inputs.device, precision):
            output = model(inputs)
            logits = output if isinstance(output, Tensor) else output.logits
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(
    shape: tuple[int, ...], names: list[str], effort: harness.Effort, compiled: bool = False
) -> dict[str, Any]:
    """Time one step of each contestant at one shape.

    Args:
        shape: Layers, heads, width, context, batch, vocabulary.
        names: Keys of `CONTESTANTS`, perhaps with `BFLOAT16` or `COMPILED` after them.
        effort: How thoroughly.
        compiled: Whether all models are compiled first.

    Raises:
        RuntimeError: if a contestant does not learn its batch: it would not be doing the same work.
    """
    layers, heads, width, context, batch, vocabulary = shape
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (batch, context + 1), generator=generator)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    steps, parameters, losses, first = {}, {}, {}, {}
    for name in names:
        torch.manual_seed(0)
        build = CONTESTANTS[origin(name)][1]
        model = build(layers, heads, width, context, vocabulary)
        parameters[name] = count_parameters(model)
        if compiled or name.endswith(COMPILED):
            model.compile()
        precision = "bfloat16" if name.endswith(BFLOAT16) else "float32"
        steps[name] = training_step(model, inputs, targets, precision)
        start = time.perf_counter()
        losses[name] = [round(steps[name](), 4)]
        first[name] = round(time.perf_counter() - start, 2)
        losses[name] += [round(steps[name](), 4) for _ in range(2)]
        if not losses[name][0] > losses[name][-1]:
            raise RuntimeError(f"{name} does not learn: losses {losses[name]}")
    timings = harness.contest(steps, effort)
    flops = flops_per_token(GPTConfig(vocabulary, context, layers, heads, width))
    return {
        "shape": dict(zip(FIELDS, shape, strict=True)),
        "parameters": parameters,
        "first_losses": losses,
        "first_step_seconds": first,
        "tokens_per_step": batch * context,
        "flops_per_token": flops,
        "timings": harness.timings_as_json(timings),
        "rows": harness.speed_rows(timings, batch * context),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--shape",
        type=int,
        choices=range(len(SHAPES)),
        help="only this one, beside the others' results",
    )
    parser.add_argument("--compiled", action="store_true", help="all models compiled")
    options = parser.parse_args(arguments)
    effort = harness.prepare(options)
    file = "training_step_compiled" if options.compiled else "training_step"
    versions, missing = installed()
    names = list(versions)
    if has_bfloat16():
        names.insert(1, "mini_gpt" + BFLOAT16)
    if not options.compiled and not options.quick:  # compiling takes longer than all that is quick
        names.insert(1, "mini_gpt" + COMPILED)
    machine = harness.environment()
    results: list[dict[str, Any]] = []
    shapes = QUICK_SHAPES if options.quick else SHAPES
    if options.shape is not None and not options.quick:
        shapes = (shapes[options.shape],)
        if (path := options.out / f"{file}.json").exists():
            results = json.loads(path.read_text(encoding="utf-8"))["results"]
    for shape in shapes:
        said = dict(zip(FIELDS, shape, strict=True))
        few = replace(effort, rounds=5) if said["width"] >= WIDE else effort
        result = measure(shape, names, few, options.compiled)
        results = [other for other in results if other["shape"] != said] + [result]
        print(report(result, versions), flush=True)
    results.sort(key=lambda result: result["shape"]["width"])
    text = ["# Training steps" + (", compiled" if options.compiled else "") + "\n"]
    text.append(harness.said_of(machine, effort))
    text.append(
        "A step is forward, loss, backward and AdamW update, in float32 where not said otherwise, "
        "without dropout. The ratio is that of the speeds, ours in the first row over theirs: "
        "above 1, the first row is faster. The first step includes what is done only once, above "
        f"all compiling, and is not counted. Widths from {WIDE} on have five turns.\n"
    )
    text += [report(result, versions) for result in results]
    if missing:
        text.append(f"Not installed, so not measured: {', '.join(missing)}. See README.md.\n")
        print(text[-1], file=sys.stderr)
    record = {"environment": machine, "versions": versions, "missing": missing, "results": results}
    harness.save(file, record, "\n".join(text), options.out)
    return 0


def report(result: dict[str, Any], versions: dict[str, str]) -> str:
    """The heading and the table of one shape."""
    words = ", ".join(f"{field} {size}" for field, size in result["shape"].items())
    header = ["contestant", "version", "tokens/s", "spread", "mini_gpt is … times as fast"]
    header.append("first step")
    rows = [
        [row[0], versions[origin(row[0])], *row[1:], f"{seconds:.1f} s"]
        for row, seconds in zip(result["rows"], result["first_step_seconds"].values(), strict=True)
    ]
    return f"## {words[0].upper()}{words[1:]}\n\n{harness.table(header, rows)}"


if __name__ == "__main__":
    sys.exit(main())
