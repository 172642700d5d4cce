"""The ladder of the chapter on attention: the same in five ways, against the context length.

    python -m bench attention               writes bench/results/attention.json and .md
    python -m bench attention --quick --out FOLDER

The slow rungs are the chapter's own: their cells are read from its notebook and executed. The last
rung is `mini_gpt.attention.causal_attention`, once with as many queries as keys and once with a
single query, as in writing with a cache. Times are of the forward pass, in float32; memory is what
autograd keeps for the backward pass. Slopes are fitted in a log-log plot, to the three longest
contexts: 1 means that twice the context costs twice as much, 2 that it costs four times as much.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from einops import einsum
from torch import Tensor

from bench import harness
from mini_gpt.attention import causal_attention, causal_mask
from tools.chapters import chapter

CHAPTER = chapter("attention").notebook
HEADS, HEAD_WIDTH = 4, 32
LENGTHS, QUICK_LENGTHS = (128, 256, 512, 1024, 2048), (4, 8, 16)
LOOP_LENGTHS, KERNEL_LENGTHS = (16, 32, 64, 128), (*LENGTHS, 4096, 8192)
FITTED = 3  # lengths that a slope is fitted to
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def chapter_rungs(notebook: Path = CHAPTER) -> dict[str, Attend]:
    """The three ways in which the chapter writes attention before it comes to the kernel.

    Raises:
        RuntimeError: if the chapter has no such function any more.
    """
    names = ("attention_by_loops", "attention_by_products", "attention_by_names")
    namespace: dict[str, Any] = {
        "torch": torch,
        "math": math,
        "einsum": einsum,
        "causal_mask": causal_mask,
    }
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and any(source.startswith(f"def {name}(") for name in names):
            exec(compile(source, notebook.name, "exec"), namespace)
    missing = [name for name in names if name not in namespace]
    if missing:
        raise RuntimeError(f"{notebook.name} defines no {', '.join(missing)}")
    return {name: namespace[name] for name in names}


def inputs(length: int, queries: int | None = None, grad: bool = False) -> list[Tensor]:
    """Random query, key and value for one sequence."""
    generator = torch.Generator().manual_seed(0)
    sizes = (queries or length, length, length)
    drawn = [torch.randn(1, HEADS, n, HEAD_WIDTH, generator=generator) for n in sizes]
    return [tensor.requires_grad_(grad) for tensor in drawn]


def require_equal(rungs: Mapping[str, Attend], length: int = 9) -> None:
    """Make sure that all ways do the same work.

    Raises:
        RuntimeError: if one of them gives other numbers than the exported function.
    """
    for queries in (length, 1):
        given = inputs(length, queries)
        for name, rung in rungs.items():
            if not torch.allclose(rung(*given), causal_attention(*given), atol=1e-5):
                raise RuntimeError(f"{name} gives other numbers than causal_attention")


def bytes_kept(function: Attend, length: int, queries: int | None = None) -> int:
    """Bytes that autograd keeps until the backward pass, each storage once."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = function(*inputs(length, queries, grad=True))
    del result
    return sum(sizes.values())


def slope(lengths: Sequence[int], amounts: Sequence[float]) -> float:
    """The exponent of growth: least squares in a log-log plot, over the longest contexts."""
    points = list(zip(map(math.log, lengths), map(math.log, amounts), strict=True))[-FITTED:]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return above / sum((x - mean_x) ** 2 for x, _ in points)


def measure(quick: bool, effort: harness.Effort) -> dict[str, dict[str, Any]]:
    """Seconds and bytes of each rung at each length, with the slopes of both."""
    rungs = {**chapter_rungs(), "causal_attention": causal_attention}
    require_equal(rungs)
    lengths_of: dict[str, tuple[int, ...]] = dict.fromkeys(
        rungs, QUICK_LENGTHS if quick else LENGTHS
    )
    if not quick:
        lengths_of["attention_by_loops"] = LOOP_LENGTHS
        lengths_of["causal_attention"] = KERNEL_LENGTHS
    lengths_of["one query, cached"] = lengths_of["causal_attention"]
    found: dict[str, dict[str, Any]] = {
        name: {"lengths": [], "seconds": [], "spread": [], "bytes_kept": []} for name in lengths_of
    }
    for length in sorted({n for lengths in lengths_of.values() for n in lengths}):
        with torch.no_grad():
            runs = {
                name: partial(rung, *inputs(length))
                for name, rung in rungs.items()
                if length in lengths_of[name]
            }
            if length in lengths_of["one query, cached"]:
                runs["one query, cached"] = partial(causal_attention, *inputs(length, 1))
            timings = harness.contest(runs, effort)
        for name, timing in timings.items():
            queries = 1 if name not in rungs else None
            row = found[name]
            row["lengths"].append(length)
            row["seconds"].append(float(f"{timing.median:.4g}"))
            row["spread"].append([float(f"{f(timing.seconds):.4g}") for f in (min, max)])
            row["bytes_kept"].append(bytes_kept(rungs.get(name, causal_attention), length, queries))
    for row in found.values():
        for kind in ("seconds", "bytes_kept"):
            row[f"slope_of_{kind}"] = round(slope(row["lengths"], row[kind]), 2)
    return found


def chapter_table(rungs: Mapping[str, Mapping[str, Any]]) -> str:
    """The table that the chapter shows: the longest context of each rung, and the slopes."""
    rows = [
        [
            f"`{name}`" if name.isidentifier() else name,
            f"{row['lengths'][-1]:,}",
            f"{1000 * row['seconds'][-1]:,.3g}",
            f"{row['slope_of_seconds']:.2f}",
            f"{row['bytes_kept'][-1] / 2**20:,.3g}",
            f"{row['slope_of_bytes_kept']:.2f}",
        ]
        for name, row in rungs.items()
    ]
    return harness.table(["way", "positions", "ms", "slope", "MiB kept", "slope of memory"], rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = harness.parser(__doc__).parse_args(arguments)
    effort = harness.prepare(options)
    if not options.quick:
        effort = harness.Effort(rounds=options.rounds, turn_seconds=0.1, warm_up=2)
    machine = harness.environment()
    rungs = measure(options.quick, effort)
    every = sorted({n for row in rungs.values() for n in row["lengths"]})
    times = [
        [
            name,
            *(
                f"{1000 * row['seconds'][row['lengths'].index(n)]:,.3g}"
                if n in row["lengths"]
                else ""
                for n in every
            ),
        ]
        for name, row in rungs.items()
    ]
    markdown = (
        f"# Attention\n\n{harness.said_of(machine, effort)}\n"
        f"One sequence, {HEADS} heads of width {HEAD_WIDTH}, float32, forward pass. The longest "
        f"context of each way, and the slopes fitted to its {FITTED} longest:\n\n"
        f"{chapter_table(rungs)}\nMilliseconds at each context length:\n\n"
        f"{harness.table(['way', *map(str, every)], times)}"
    )
    shape = {"batch": 1, "heads": HEADS, "head_width": HEAD_WIDTH}
    results = {"environment": machine, "shape": shape, "rungs": rungs}
    harness.save("attention", results, markdown, options.out)
    print(markdown, end="")
    return 0
