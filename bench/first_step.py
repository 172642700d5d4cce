"""Seconds until a training run takes its first step: encoding each time, and from the cache.

    python -m bench first_step        writes bench/results/first_step.json and .md
    python -m bench first_step --quick --out FOLDER

The corpus is generated: pieces of Shakespeare of random length, each a document, in one file that
the system has in memory. A run is `mini-gpt train` with characters as tokens and a minuscule model,
from its first line to its first step; to start Python and torch, which takes some seconds more, is
not in it. The four kinds of start take turns in one process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from bench import harness
from bench.preparation import generated
from mini_gpt.commands.cli import main as command
from mini_gpt.support import corpus_cache
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT
from mini_gpt.trainer import Trainer

SIZES = {5.0: 5, 500.0: 1}  # megabytes, and rounds
QUICK_SIZES = {0.2: 1}
MODEL = ["--layers", "1", "--heads", "1", "--width", "8", "--context-length", "16"]
SHORT = ["--batch-size", "2", "--eval-tokens", "64", "--validation-tokens", "64"]
SILENT = ["--sample-every", "0", "--sample-tokens", "0", "--threads", "1", "--device", "cpu"]
ENCODING = "encodes at every start, as it was"
FIRST = "encodes, and keeps the tokens: the first start"
SECOND = "finds them in the cache: a second start"
RESUMED = "finds them in the cache: `--resume`"


def seconds_to_step(words: list[str]) -> float:
    """From the first line of a command to the first step of its run."""
    begun: list[float] = []
    step = Trainer.step

    def noted(trainer: Trainer) -> object:
        begun.append(time.perf_counter())
        return step(trainer)

    start = time.perf_counter()
    with mock.patch.object(Trainer, "step", noted), contextlib.redirect_stdout(io.StringIO()):
        if command(words):
            raise RuntimeError(f"mini-gpt {' '.join(words)} failed")
    return begun[0] - start


def measure(megabytes: float, rounds: int) -> dict[str, list[float]]:
    """Seconds of each kind of start, one figure a round."""
    text = END_OF_TEXT.join(generated(megabytes))
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ):
        folder = Path(name)
        os.environ["MINI_GPT_CACHE"] = str(folder / "cache")
        corpus = folder / "corpus.txt"
        corpus.write_text("to be or not to be " * 99, encoding="utf-8")

        def start(run: str) -> float:
            new = ["train", "--corpus", str(corpus), "--out", str(folder / run), "--overwrite"]
            return seconds_to_step([*new, *MODEL, *SHORT, *SILENT, "--steps", "1"])

        def encoding() -> float:
            with mock.patch.object(corpus_cache, "LEAST", float("inf")):
                return start("encoding")

        def first() -> float:
            shutil.rmtree(folder / "cache", ignore_errors=True)
            return start("first")

        def resumed() -> float:
            steps = json.loads((folder / "steps").read_text()) + 1
            (folder / "steps").write_text(str(steps))
            return seconds_to_step(
                ["train", "--resume", str(folder / "first"), "--steps", str(steps)]
            )

        kinds: dict[str, Callable[[], float]] = {
            ENCODING: encoding,
            FIRST: first,
            SECOND: lambda: start("second"),
            RESUMED: resumed,
        }
        start("warm")  # what is imported when it is needed is there now
        corpus.write_text(text, encoding="utf-8")
        del text
        seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(rounds):  # in this order: each finds what the one before has left
            (folder / "steps").write_text("1")
            for kind, run in kinds.items():
                seconds[kind].append(run())
        return seconds


def rows(measured: dict[float, dict[str, list[float]]]) -> list[list[str]]:
    """The table: a line for each kind of start, a column for each size."""
    return [
        [kind, *(f"{statistics.median(found[kind]):.2f}" for found in measured.values())]
        for kind in (ENCODING, FIRST, SECOND, RESUMED)
    ]


def main(arguments: list[str]) -> int:
    options = harness.parser(__doc__).parse_args(arguments)
    harness.prepare(options)
    machine = harness.environment()
    sizes = QUICK_SIZES if options.quick else SIZES
    measured = {size: measure(size, rounds) for size, rounds in sizes.items()}
    rounds = ", ".join(f"{count} at {size:g} MB" for size, count in sizes.items())
    header = ["start", *(f"{size:g} MB, seconds" for size in measured)]
    markdown = (
        "# Seconds until the first step\n\n"
        f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} cores, one "
        f"thread, torch {machine['torch']}, Python {machine['python']}. Characters as tokens, a "
        f"minuscule model. Medians over the rounds ({rounds}), taken alternately in one process, "
        "on a machine that others used too.\n\n" + harness.table(header, rows(measured))
    )
    results = {
        "environment": machine,
        "seconds": {
            f"{size:g} MB": {kind: [round(s, 3) for s in found] for kind, found in kinds.items()}
            for size, kinds in measured.items()
        },
    }
    harness.save("first_step", results, markdown, options.out)
    print(markdown)
    return 0
