"""What each departure from GPT-2 costs that an account which many have read has, over three seeds.

    python -m bench popular_account                         all runs, some 10 minutes on one core
    python -m bench popular_account --only concatenation    these only, into the results there are
    python -m bench popular_account --quick --out FOLDER    minuscule sizes, to see that it runs

GPT-2's machine, the same with one departure each, and with all of them, with and without the mask;
all of equal size, on the same batches of Shakespeare's works, a token a character. Besides: a
machine without a mask that is asked for the next character at the end of each window only, kinder
readings of two departures, and two other kinds of positions to compare with. Each is measured over
whole windows of unseen text and at their last positions, and writes on from the same beginning.

Everything is drawn from seeds, on one thread: the same machine gives the same numbers again.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench import harness
from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.data import train_val_split
from mini_gpt.decoder import DecoderBlock
from mini_gpt.diagnostics import count_parameters
from mini_gpt.model import GPT
from mini_gpt.multi_head import LayerCache
from mini_gpt.popular_account import (
    DEPARTURES,
    account_machine,
    leak,
    same_size,
    train_machine,
)
from mini_gpt.position import SinusoidalPositions
from mini_gpt.support.corpus import load_corpus
from mini_gpt.support.without_cache import write_anew
from mini_gpt.trainer import TrainConfig

SEEDS = (0, 1, 2)
SHAPE: dict[str, Any] = {"context_length": 32, "layers": 2, "heads": 4, "width": 48}
CONFIG = TrainConfig(steps=1000, batch_size=16, learning_rate=6e-3, min_lr=6e-4)
KINDS: dict[str, Collection[str]] = {
    "GPT-2": (),
    **{name: (name,) for name in DEPARTURES},
    "the account": DEPARTURES,
    "the account, masked": DEPARTURES[1:],
    "asked at the end": ("no mask",),
    "feed-forward first, added": (),
    "concatenation, begun as the sum": ("concatenation",),
    "no positions": (),
    "many frequencies": (),
    "one frequency, small": ("one frequency",),
    "many frequencies, small": (),
}
POSITIONS: dict[str, Any] = {
    "no positions": "none",
    "many frequencies": "sinusoidal",
    "many frequencies, small": "sinusoidal",
}
SMALL = 0.02 * 2**0.5  # sines of this height spread by 0.02, as learned positions begin
BEGINNING, WRITTEN = 5_000, 160  # in the validation text; characters


class SwappedBlock(DecoderBlock):
    """A decoder block with the feed-forward network before attention, both added."""

    def forward(
        self, stream: Tensor, cache: LayerCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        stream = stream + self.feed_forward(self.feed_forward_norm(stream))
        return stream + self.attention(self.attention_norm(stream), cache, mask)


def machine(kind: str, vocab_size: int, shape: dict[str, Any]) -> GPT:
    """A fresh machine of a kind, as large as GPT-2's."""
    config = GPTConfig(vocab_size=vocab_size, **shape)
    if kind in POSITIONS:  # these have no table to learn; wider hidden layers make up for it
        config = replace(same_size(config, ["one frequency"]), position=POSITIONS[kind])
        model = GPT(config)
    else:
        model = account_machine(same_size(config, KINDS[kind]), KINDS[kind])
    if kind.endswith("small"):
        assert isinstance(model.positions, SinusoidalPositions)
        model.positions.table *= SMALL
    if kind == "feed-forward first, added":
        model.decoder.blocks = nn.ModuleList(SwappedBlock(config) for _ in range(config.layers))
        model.initialize()
    if kind == "concatenation, begun as the sum":
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("mix.weight"):
                    weight.copy_(torch.eye(config.width).repeat(1, 2))
    return model


def one(kind: str, seed: int, quick: bool = False) -> dict[str, Any]:
    """A run: its size, its losses, and what it writes."""
    text = load_corpus("shakespeare")
    tokenizer = CharTokenizer.train(text)
    training, validation = map(np.array, map(tokenizer.encode, train_val_split(text)))
    shape = {**SHAPE, "layers": 1, "width": 16} if quick else SHAPE
    torch.manual_seed(seed)
    model = machine(kind, tokenizer.vocab_size, shape)
    config = replace(CONFIG, seed=seed, steps=3 if quick else CONFIG.steps)
    config = replace(config, warmup_steps=1) if quick else config
    last = 1 if kind == "asked at the end" else None
    losses = train_machine(model, training, config, last)
    seeming, honest = leak(model, validation, 8 if quick else 4096)
    time = shape["context_length"]
    prompt = tokenizer.decode(validation[BEGINNING : BEGINNING + time].tolist())
    every = max(1, config.steps // 40)
    steps = range(0, config.steps, every)
    return {
        "seed": seed,
        "parameters": count_parameters(model),
        "seeming": round(seeming, 4),
        "honest": round(honest, 4),
        "losses": [round(sum(losses[s : s + every]) / every, 3) for s in steps],
        "prompt": prompt,
        "written": write_anew(model, tokenizer, prompt, WRITTEN, seed),
    }


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each kind of machine."""
    rows = []
    for kind, runs in results.items():
        seeming, honest = (" ".join(f"{run[n]:.2f}" for run in runs) for n in ("seeming", "honest"))
        rows.append([kind, f"{runs[0]['parameters']:,}", seeming, honest])
    return harness.table(["machine", "parameters", "whole windows", "last positions"], rows)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), help="kinds of machine")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="one run of each")
    options = parser.parse_args(arguments)
    harness.prepare(options)
    torch.set_num_threads(options.threads or 1)
    stored = harness.stored_runs("popular_account", options.out)
    for seed in options.seeds:
        for kind in options.only or KINDS:
            run = one(kind, seed, options.quick)
            kept = [other for other in stored.get(kind, []) if other["seed"] != seed]
            stored[kind] = sorted([*kept, run], key=lambda run: run["seed"])
            print(kind, seed, run["seeming"], run["honest"], flush=True)
            ordered = {name: stored[name] for name in KINDS if name in stored}
            harness.save("popular_account", {"runs": ordered}, table(ordered), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
