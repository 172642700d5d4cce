"""Byte-pair encoding: mini_gpt's trainer and encoder against `tokenizers` and `tiktoken`.

    python -m bench tokenizer         writes bench/results/tokenizer.json and .md
    python -m bench tokenizer --quick --out FOLDER

Training learns 4,096 tokens from the book's corpus. Encoding turns a megabyte of it into the ids
of GPT-2's vocabulary, each contestant with nothing remembered from the run before. The ids of all
contestants must be equal, or the run fails.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import tiktoken
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from bench import harness
from mini_gpt.characters import CharTokenizer, Tokenizer
from mini_gpt.support.downloads import gpt2_vocabulary_files, shakespeare_documents
from mini_gpt.tokenizer import GPT2_PATTERN, BPETokenizer

VOCABULARY = 4_096
QUICK_VOCABULARY = 300
SIZES = (512, 1_024, 2_048, VOCABULARY)
HELD_OUT = "hamlet"


def train_with_tokenizers(text: str, size: int) -> tokenizers.Tokenizer:
    """The Rust trainer of `tokenizers`, with GPT-2's pattern and all single bytes."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def training(text: str, size: int) -> dict[str, Callable[[], object]]:
    """One run of each trainer."""
    return {
        "mini_gpt": lambda: BPETokenizer.train(text, size, special_tokens=()),
        "tokenizers": lambda: train_with_tokenizers(text, size),
    }


def same_quality(text: str, size: int, held_out: str) -> dict[str, float]:
    """Bytes per token of a text that neither trainer has seen; they break ties differently."""
    ours = BPETokenizer.train(text, size, special_tokens=())
    theirs = train_with_tokenizers(text, size)
    length = len(held_out.encode())
    found = {
        "mini_gpt": length / len(ours.encode(held_out)),
        "tokenizers": length / len(theirs.encode(held_out).ids),
    }
    if abs(found["mini_gpt"] / found["tokenizers"] - 1) > 0.02:
        raise RuntimeError(f"the two trainers learned different things: bytes per token {found}")
    return found


def encoding(text: str) -> dict[str, Callable[[], object]]:
    """One run of each encoder with GPT-2's vocabulary; refuses contestants whose ids differ."""
    tokens = BPETokenizer.gpt2().tokens
    slow, fast = BPETokenizer(tokens, fast=False), BPETokenizer(tokens, fast=True)
    engine = tiktoken.Encoding(
        "gpt2",
        pat_str=GPT2_PATTERN,
        mergeable_ranks={token: id for id, token in enumerate(tokens)},
        special_tokens={},
    )
    vocabulary, merges = gpt2_vocabulary_files()
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        for path, content in zip(paths, (vocabulary, merges), strict=True):
            path.write_text(content, encoding="utf-8")
        model = models.BPE.from_file(*map(str, paths))
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def in_python() -> list[int]:
        slow._memory.clear()
        return slow.encode(text)

    def in_rust() -> list[int]:
        theirs.model._clear_cache()
        return theirs.encode(text).ids

    runs: dict[str, Callable[[], list[int]]] = {
        "mini_gpt": in_python,
        "mini_gpt, fast=True": lambda: fast.encode(text),
        "tiktoken": lambda: engine.encode_ordinary(text),
        "tokenizers": in_rust,
    }
    expected = engine.encode_ordinary(text)
    for name, run in runs.items():
        if run() != expected:
            raise RuntimeError(f"{name} gives other ids than tiktoken")
    return dict(runs)


def sizes_and_speeds(
    text: str, held_out: str, sizes: tuple[int, ...], effort: harness.Effort
) -> list[dict[str, object]]:
    """Bytes per token and encoding speed in pure Python of several tokenizers, on one text."""
    largest = BPETokenizer.train(text, sizes[-1])
    contestants: dict[str, Tokenizer] = {
        "characters": CharTokenizer.train(text + held_out),
        **{
            f"BPE, {size:,} tokens": BPETokenizer(largest.tokens[: size - 1], fast=False)
            for size in sizes
        },
        "GPT-2's, 50,257 tokens": BPETokenizer(BPETokenizer.gpt2().tokens, fast=False),
    }

    def run_of(tokenizer: Tokenizer) -> Callable[[], object]:
        def run() -> object:
            if isinstance(tokenizer, BPETokenizer):
                tokenizer._memory.clear()
            return tokenizer.encode(held_out)

        return run

    runs = {name: run_of(tokenizer) for name, tokenizer in contestants.items()}
    timings = harness.contest(runs, effort)
    length = len(held_out.encode())
    return [
        {
            "tokenizer": name,
            "vocab_size": tokenizer.vocab_size,
            "bytes_per_token": round(length / len(tokenizer.encode(held_out)), 3),
            "megabytes_per_second": float(f"{length / 1e6 / timings[name].median:.3g}"),
            "timing": harness.timings_as_json({name: timings[name]})[name],
        }
        for name, tokenizer in contestants.items()
    ]


def chapter_table(rows: list[dict[str, object]]) -> str:
    """The table that the chapter shows."""
    return harness.table(
        ["tokenizer", "bytes per token", "MB/s in Python"],
        [
            [
                str(row["tokenizer"]),
                f"{row['bytes_per_token']:.2f}",
                f"{row['megabytes_per_second']:.1f}",
            ]
            for row in rows
        ],
    )


def main(arguments: list[str]) -> int:
    options = harness.parser(__doc__).parse_args(arguments)
    effort = harness.prepare(options)
    documents = {name: data.decode() for name, data in shakespeare_documents().items()}
    held_out = documents.pop(HELD_OUT)
    text = "\n\n".join(documents.values())
    size, sample = VOCABULARY, text[:1_000_000]
    sizes: tuple[int, ...] = SIZES
    if options.quick:
        text, sample, held_out = text[:20_000], text[:5_000], held_out[:9_000]
        size, sizes = QUICK_VOCABULARY, (QUICK_VOCABULARY,)
    quality = same_quality(text, size, held_out)
    trained = harness.contest(training(text, size), effort)
    encoded = harness.contest(encoding(sample), effort)
    rows = sizes_and_speeds(text, held_out, sizes, effort)
    machine = harness.environment()
    machine |= {"tokenizers": tokenizers.__version__, "tiktoken": tiktoken.__version__}
    megabytes, sample_megabytes = len(text.encode()) / 1e6, len(sample.encode()) / 1e6
    markdown = (
        "# Tokenizers\n\n"
        + harness.said_of(machine, effort)
        + f"tokenizers {machine['tokenizers']}, tiktoken {machine['tiktoken']}. A ratio above 1 "
        "means that mini_gpt (pure Python, without an engine) is faster.\n\n"
        + f"## Learn {size:,} tokens from {megabytes:.1f} MB\n\n"
        + harness.table(
            [
                "contestant",
                "seconds",
                "mini_gpt is … times as fast",
                "bytes per token, unseen play",
            ],
            [
                [name, f"{timing.median:.2f}", row[3], f"{quality[name]:.3f}"]
                for (name, timing), row in zip(
                    trained.items(), harness.speed_rows(trained, megabytes), strict=True
                )
            ],
        )
        + f"\n## Encode {sample_megabytes:.1f} MB with GPT-2's vocabulary\n\n"
        + harness.table(
            ["contestant", "MB/s", "mini_gpt is … times as fast"],
            [
                [name, f"{sample_megabytes / timing.median:.1f}", row[3]]
                for (name, timing), row in zip(
                    encoded.items(), harness.speed_rows(encoded, sample_megabytes), strict=True
                )
            ],
        )
        + "\n## Bytes per token and speed on a play that was not trained on\n\n"
        + chapter_table(rows)
    )
    results = {
        "environment": machine,
        "training": {
            "megabytes": megabytes,
            "tokens": size,
            "bytes_per_token": quality,
            "timings": harness.timings_as_json(trained),
        },
        "encoding": {"megabytes": sample_megabytes, "timings": harness.timings_as_json(encoded)},
        "sizes": rows,
    }
    harness.save("tokenizer", json.loads(json.dumps(results)), markdown, options.out)
    print(markdown)
    return 0
