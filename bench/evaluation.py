"""The noise of a training run: the demo's recipe with several seeds, on the chapter's exam.

    python -m bench evaluation                 three seeds, a minute or two each
    python -m bench evaluation --quick --out FOLDER

Trains what `mini-gpt train` trains on a CPU, each time with another seed, and measures every model
on the text that the chapter on evaluation uses: its bits in blocks of 1,000 bytes. The chapter
reads them from there (`mini_gpt/support/stored/`).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import harness
from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.train_options import CPU_MODEL, CPU_TRAINING
from mini_gpt.data import train_val_split
from mini_gpt.model import GPT
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.ladder import bits_in_blocks, exam_of
from mini_gpt.trainer import Stepper

SEEDS = (1, 2, 3)


def train(tokens: np.ndarray, vocab_size: int, seed: int, steps: int) -> GPT:
    """The demo's model, trained with a seed for its weights and its batches."""
    torch.manual_seed(seed)
    model = GPT(CPU_MODEL.closed(vocab_size))
    config = replace(CPU_TRAINING, seed=seed, device="cpu", precision="float32")
    stepper = Stepper(model, tokens, config)
    for _ in range(steps):
        stepper.step()
    return model


def measured(model: GPT, tokenizer: CharTokenizer, exam: str) -> dict[str, Any]:
    """Bits per byte, and the bits of each block."""
    bits, sizes = bits_in_blocks(model, tokenizer, exam)
    return {
        "bits_per_byte": round(float(bits.sum() / sizes.sum()), 4),
        "bits_in_blocks": [round(float(value)) for value in bits],
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench evaluation")
    parser.add_argument("--quick", action="store_true", help="five steps, two seeds")
    parser.add_argument("--out", type=Path, default=harness.RESULTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    corpus = load_corpus()
    training, unseen = train_val_split(corpus)
    tokenizer = CharTokenizer.train(corpus)
    tokens = np.array(tokenizer.encode(training))
    exam = exam_of(unseen)[:4_000] if options.quick else exam_of(unseen)
    steps = 5 if options.quick else CPU_TRAINING.steps
    runs = []
    for seed in SEEDS[:2] if options.quick else SEEDS:
        start = time.process_time()
        model = train(tokens, tokenizer.vocab_size, seed, steps)
        seconds = round(time.process_time() - start, 1)
        runs.append({"seed": seed, "seconds": seconds, **measured(model, tokenizer, exam)})
        print(f"seed {seed}: {runs[-1]['bits_per_byte']} bits per byte, {seconds} s", flush=True)
    content = {"steps": steps, "runs": runs}
    path = harness.json_path("evaluation", options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0
