"""Batches: what they cost beside a training step, and whether memory stays flat on a large file.

    python -m bench batching          writes bench/results/batching.json and .md
    python -m bench batching --quick --out FOLDER

Part one times a batch of the demo's size, from memory and from a mapped file, in both orders, in
turn with a training step on such a batch. Part two draws 10,000 batches from a token file of 2 GB
that it makes for the purpose and removes again, and notes the resident memory of the process.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np

from bench import harness
from bench.training_step import training_step
from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.data import BatchLoader
from mini_gpt.model import GPT
from mini_gpt.support.token_file import TOKEN_FILE_HEADER, VERSION, open_token_file
from mini_gpt.support.tokenizer_file import fingerprint

# The demo: layers, heads, width, context, batch.
DEMO = (4, 4, 128, 64, 12)
QUICK_DEMO = (1, 2, 8, 5, 3)
TOKENIZER = CharTokenizer("abcdefghijklmnopqrstuvwxyz\n")


def write_large_file(path: Path, tokens: int) -> None:
    """A token file of random ids, a part at a time: its content does not matter here."""
    random, digest = np.random.default_rng(0), sha256()
    with path.open("wb") as file:
        file.seek(TOKEN_FILE_HEADER.size)
        for start in range(0, tokens, 2**24):
            some = min(2**24, tokens - start)
            part = random.integers(TOKENIZER.vocab_size, size=some, dtype="<u2").tobytes()
            file.write(part)
            digest.update(part)
        file.seek(0)
        made_by = bytes.fromhex(fingerprint(TOKENIZER))
        file.write(
            TOKEN_FILE_HEADER.pack(b"mini_gpt", VERSION, 2, tokens, made_by, digest.digest())
        )


def resident_megabytes() -> float:
    """This process's resident memory, mapped files included; Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory_over_batches(
    path: Path, order: str, batch_size: int, context: int, batches: int
) -> list[float]:
    """Resident megabytes before the first batch, and after each tenth of them."""
    loader = BatchLoader(
        open_token_file(path, TOKENIZER),
        batch_size=batch_size,
        context_length=context,
        order="epochs" if order == "epochs" else "random",
    )
    next(loader)
    seen = [resident_megabytes()]
    for _ in range(10):
        for _ in range(batches // 10):
            next(loader)
        seen.append(resident_megabytes())
    return seen


def contestants(
    shape: tuple[int, ...], tokens: np.ndarray, path: Path
) -> dict[str, Callable[[], object]]:
    """A training step, and a batch in each of four ways."""
    layers, heads, width, context, batch_size = shape
    model = GPT(GPTConfig(TOKENIZER.vocab_size, context, layers, heads, width))
    inputs, targets = next(BatchLoader(tokens, batch_size=batch_size, context_length=context))
    runs: dict[str, Callable[[], object]] = {"training step": training_step(model, inputs, targets)}
    mapped = open_token_file(path, TOKENIZER)
    for place, some in (("memory", tokens), ("file", mapped)):
        random = BatchLoader(some, batch_size=batch_size, context_length=context)
        epochs = BatchLoader(some, batch_size=batch_size, context_length=context, order="epochs")
        runs[f"batch from {place}, random"] = random.__next__
        runs[f"batch from {place}, epochs"] = epochs.__next__
    return runs


def main(arguments: list[str]) -> int:
    options = harness.parser(__doc__).parse_args(arguments)
    effort = harness.prepare(options)
    shape = QUICK_DEMO if options.quick else DEMO
    layers, heads, width, context, batch_size = shape
    tokens = np.random.default_rng(1).integers(
        TOKENIZER.vocab_size, size=5_000_000, dtype=np.uint16
    )
    large, batches = (300_000, 100) if options.quick else (10**9, 10_000)
    machine = harness.environment()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.tokens"
        write_large_file(path, large)
        timings = harness.contest(contestants(shape, tokens, path), effort)
        memory = {
            order: memory_over_batches(path, order, batch_size, context, batches)
            for order in ("random", "epochs")
        }
        size = path.stat().st_size
    step = timings["training step"]
    rows = []
    for name, timing in timings.items():
        pairs = zip(timing.seconds, step.seconds, strict=True)
        share = statistics.median(mine / whole for mine, whole in pairs)
        rows.append([name, f"{timing.median * 1e6:,.0f}", f"{share:.2%}"])
    markdown = (
        "# Batches\n\n"
        + harness.said_of(machine, effort)
        + f"\n## Beside a training step: layers {layers}, heads {heads}, width {width}, context "
        f"{context}, batch size {batch_size}\n\n"
        + harness.table(["work", "microseconds", "share of a step"], rows)
        + f"\n## Resident memory over {batches:,} batches from a file of {size / 1e9:.1f} GB\n\n"
        + harness.table(
            ["order", "MB before", "largest", "MB after"],
            [
                [order, f"{seen[0]:,.0f}", f"{max(seen):,.0f}", f"{seen[-1]:,.0f}"]
                for order, seen in memory.items()
            ],
        )
    )
    results = {
        "environment": machine,
        "shape": dict(
            zip(("layers", "heads", "width", "context", "batch_size"), shape, strict=True)
        ),
        "timings": harness.timings_as_json(timings),
        "file_bytes": size,
        "batches": batches,
        "resident_megabytes": {
            order: [round(value, 1) for value in seen] for order, seen in memory.items()
        },
    }
    harness.save("batching", results, markdown, options.out)
    print(markdown)
    return 0
