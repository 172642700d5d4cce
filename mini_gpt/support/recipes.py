"""Published ways to train, in our words."""

from __future__ import annotations

import os

from mini_gpt.trainer import TrainConfig

# Sequences that a card takes at once, by preset. The result does not depend on it, but
# for rounding. GPT-2's then keep some 10 GB for the backward pass, as `mini-gpt plan`
# counts, so that a card of 24 GB takes the smallest.
MICRO_BATCH = {
    "gpt2": 16,
    "gpt2-medium": 8,
    "gpt2-large": 4,
    "gpt2-xl": 2,
    "shakespeare-small": 12,
    "shakespeare-large": 64,
}

# Of build-nanogpt (github.com/karpathy/build-nanogpt, train_gpt2.py of 2024-06-17, at
# commit 6104ab1), which trains GPT-2's smallest model on ten billion tokens of
# FineWeb-Edu: 2^19 tokens a step, AdamW, a cosine to a tenth of the highest rate, the
# loss on 20 batches of 64 sequences at every 250th step. nanoGPT's own recipe, for
# OpenWebText (config/train_gpt2.py), takes 12 x 40 = 480 sequences, 491,520 tokens, in
# each of 600,000 steps, and warms up for 2,000.
GPT2_TRAINING = TrainConfig(
    steps=19_073,
    batch_size=512,
    accumulation_steps=512 // MICRO_BATCH["gpt2"],
    optimizer="adamw",
    learning_rate=6e-4,
    min_lr=6e-5,
    schedule="cosine",
    warmup_steps=715,
    weight_decay=0.1,
    beta1=0.9,
    beta2=0.95,
    max_grad_norm=1.0,
    order="epochs",
    eval_every=250,
    eval_tokens=20 * 64 * 1024,
)


def accumulation_for(training: TrainConfig, processes: int | None = None) -> int:
    """In how many parts each process takes its share, so that a part stays as large.

    Args:
        processes: How many there are; None: as many as `torchrun` says.
    """
    if processes is None:
        said = os.environ.get("WORLD_SIZE", "1")
        processes = int(said) if said.isdecimal() and int(said) else 1
    return max(1, training.accumulation_steps // processes)
