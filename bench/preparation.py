"""`mini-gpt prepare`: a corpus to token shards, against tiktoken alone on one core.

    python -m bench preparation       writes bench/results/preparation.json and .md
    python -m bench preparation --quick --out FOLDER

The corpus is generated: pieces of Shakespeare of random length, each a document. tiktoken has the
documents in memory and keeps nothing; what is prepared is read from a file, cut, given to training
or validation, encoded, counted, digested and written to disk. Processes start before the clock
does; their start is reported apart. Wall-clock seconds suffer from whatever else runs on a machine,
seconds of the processor hardly, so both are given.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tiktoken

from bench import harness
from mini_gpt.support.corpus import load_documents
from mini_gpt.support.gpt2_vocabulary import END_OF_TEXT
from mini_gpt.support.prepare import encode_part
from mini_gpt.support.prepare_plan import Source, make_plan
from mini_gpt.support.prepare_pool import Tell, Workers, started
from mini_gpt.support.prepare_split import Split, Standing
from mini_gpt.support.prepare_work import Task
from mini_gpt.support.token_manifest import UNFINISHED
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE, fingerprint
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer

MEGABYTES, QUICK_MEGABYTES = 16.0, 0.2
SHARD_BYTES = 8_000_000
TARGET = 0.8  # of the processes times tiktoken on one core


class Turn(NamedTuple):
    """Seconds that one run took: on the clock, and of processors."""

    seconds: float
    processor_seconds: float


def generated(megabytes: float, seed: int = 0) -> list[str]:
    """Documents of 500 to 8,000 characters: pieces of Shakespeare's works."""
    works, chance = load_documents(), random.Random(seed)
    documents, size = [], 0
    while size < megabytes * 1e6:
        work = chance.choice(works)
        start = chance.randrange(len(work))
        text = work[start : start + chance.randint(500, 8000)].strip()
        documents.append(text or "-")
        size += len(documents[-1])
    return documents


def with_tiktoken(engine: tiktoken.Encoding, documents: Sequence[str]) -> Turn:
    """One run of tiktoken on one core."""
    begun, used = time.perf_counter(), time.process_time()
    for document in documents:
        engine.encode_ordinary(document)
    return Turn(time.perf_counter() - begun, time.process_time() - used)


_at_hand: dict[float, tuple[tiktoken.Encoding, list[str]]] = {}  # in each process


def alone(megabytes: float, tell: Tell) -> float:
    """Seconds of the processor that tiktoken takes in one of several processes."""
    if megabytes not in _at_hand:
        _at_hand[megabytes] = (gpt2_engine(BPETokenizer.gpt2()), generated(megabytes))
    return with_tiktoken(*_at_hand[megabytes]).processor_seconds


def side_by_side(megabytes: float, processes: int, workers: Workers) -> Turn:
    """One run of tiktoken in several processes, each with its share of the text."""
    begun = time.perf_counter()
    used = workers.map(alone, [megabytes / processes] * processes, what="", shown=False)
    return Turn(time.perf_counter() - begun, sum(used))


def gpt2_engine(tokenizer: BPETokenizer) -> tiktoken.Encoding:
    """tiktoken with GPT-2's vocabulary."""
    return tiktoken.Encoding(
        "gpt2",
        pat_str=GPT2_PATTERN,
        mergeable_ranks={token: id for id, token in enumerate(tokenizer.tokens)},
        special_tokens={},
    )


def timed(task: Task, tell: Tell) -> float:
    """Seconds of the processor that a part takes."""
    used = time.process_time()
    encode_part(task, tell)
    return time.process_time() - used


def prepared(corpus: Path, workers: Workers, tokenizer: BPETokenizer) -> Turn:
    """One run of what `mini-gpt prepare` does once its processes stand."""
    plan = make_plan(Source(str(corpus)), SHARD_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        (out / UNFINISHED).mkdir()
        tokenizer.save(out / TOKENIZER_FILE)
        made_by = fingerprint(tokenizer)
        tasks = [
            Task(out, made_by, number, part, Split(0.01), Standing(), SHARD_BYTES)
            for number, part in enumerate(plan.parts)
        ]
        begun = time.perf_counter()
        used = workers.map(timed, tasks, what="", shown=False)
        return Turn(time.perf_counter() - begun, sum(used))


def measure(megabytes: float, processes: int, rounds: int) -> tuple[dict[str, list[Turn]], float]:
    """Turns of each contestant, taken alternately; and the seconds that starting takes."""
    tokenizer = BPETokenizer.gpt2()
    engine = gpt2_engine(tokenizer)
    documents = generated(megabytes)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text(END_OF_TEXT.join(documents), encoding="utf-8")
        begun = time.perf_counter()
        with started(1) as alone, started(processes) as several:
            runs: dict[str, Callable[[], Turn]] = {
                "tiktoken, one core": lambda: with_tiktoken(engine, documents),
                f"tiktoken, {processes} processes": lambda: side_by_side(
                    megabytes, processes, several
                ),
                "prepare, 1 process": lambda: prepared(corpus, alone, tokenizer),
                f"prepare, {processes} processes": lambda: prepared(corpus, several, tokenizer),
            }
            several.map(_ready, [0.2] * processes, what="", shown=False)
            start = time.perf_counter() - begun
            for run in runs.values():
                run()  # a warm-up: engines are built at their first text
            turns: dict[str, list[Turn]] = {name: [] for name in runs}
            for _ in range(rounds):
                for name, run in runs.items():
                    turns[name].append(run())
    return turns, start


def _ready(seconds: float, tell: Tell) -> None:
    """Keep a process busy until the others have started."""
    time.sleep(seconds)


def rows_of(turns: dict[str, list[Turn]], megabytes: float) -> list[list[str]]:
    """For each contestant: MB/s, times tiktoken on one core, and the same of processors."""
    first = next(iter(turns.values()))
    rows = []
    for name, own in turns.items():
        pairs = [*zip(first, own, strict=True)]
        wall = statistics.median(a.seconds / b.seconds for a, b in pairs)
        used = statistics.median(a.processor_seconds / b.processor_seconds for a, b in pairs)
        speed = megabytes / statistics.median(turn.seconds for turn in own)
        each = megabytes / statistics.median(turn.processor_seconds for turn in own)
        rows.append([name, f"{speed:.1f}", f"{wall:.2f}", f"{each:.1f}", f"{used:.2f}"])
    return rows


def main(arguments: list[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    effort = harness.prepare(options)
    megabytes = QUICK_MEGABYTES if options.quick else MEGABYTES
    processes = max(2, options.processes)
    turns, start = measure(megabytes, processes, effort.rounds)
    machine = harness.environment() | {"tiktoken": tiktoken.__version__}
    markdown = (
        "# Preparing a corpus\n\n"
        + harness.said_of(machine, effort)
        + f"tiktoken {machine['tiktoken']}; {megabytes:g} MB of generated documents with GPT-2's "
        f"tokenizer. The target is {TARGET} of the processes times tiktoken on one core: "
        f"{TARGET * processes:.1f} in the third column on a quiet machine of at least {processes} "
        f"cores, or {TARGET} in the last one, which other work hardly changes. Two cores may be "
        "two threads of one core: what tiktoken itself gains from them is in the second row.\n\n"
        + harness.table(
            [
                "contestant",
                "MB/s",
                "times tiktoken",
                "MB per second of a processor",
                "times tiktoken's",
            ],
            rows_of(turns, megabytes),
        )
        + f"\nStarting {processes} processes took {start:.1f} s, once.\n"
    )
    results = {
        "environment": machine,
        "megabytes": megabytes,
        "processes": processes,
        "start_seconds": round(start, 2),
        "turns": {
            name: [[float(f"{value:.4g}") for value in turn] for turn in own]
            for name, own in turns.items()
        },
    }
    kept: dict[str, Any] = json.loads(json.dumps(results))
    harness.save("preparation", kept, markdown, options.out)
    print(markdown)
    return 0
