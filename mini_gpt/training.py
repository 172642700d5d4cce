# %%
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from mini_gpt.data import BatchSource, evaluation_batches
from mini_gpt.gpt2 import save_pretrained
from mini_gpt.model import GPT
from mini_gpt.tokenizer import Tokenizer


# %%
def next_token_loss(
    logits: Float[Tensor, "batch time vocab_size"],
    targets: Int[Tensor, "batch time"],
    reduction: str = "mean",
) -> Float[Tensor, ""]:
    """Cross-entropy of the true next tokens, in nats.

    Args:
        logits: Scores of the next token at every position.
        targets: The tokens that came next.
        reduction: "mean" over all positions, or "sum".
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


def bits_per_byte(nats_per_token: float, tokens: int, utf8_bytes: int) -> float:
    """A loss that can be compared between tokenizers: the bits needed for each byte of the text.

    Args:
        nats_per_token: Mean cross-entropy of the tokens.
        tokens: How many tokens the text has.
        utf8_bytes: How many bytes the same text has in UTF-8.
    """
    return nats_per_token * tokens / (math.log(2) * utf8_bytes)


# %%
@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        steps: Optimiser steps.
        batch: Sequences in each step ($B$).
        learning_rate: Highest learning rate, reached after the warm-up.
        final_learning_rate: Learning rate of the last step.
        warmup_steps: Steps over which the learning rate rises from 0.
        weight_decay: Decay of the matrices in AdamW; vectors do not decay.
        beta1: AdamW's memory for the mean of the gradient.
        beta2: AdamW's memory for its square.
        clip: Longest gradient (Euclidean norm over all parameters); a longer one is scaled down.
        evaluate_every: Steps between two looks at the validation loss.
        evaluation_tokens: Tokens of the validation split that such a look uses; the final one uses all.
        seed: Seed of initial weights, batches and dropout.
        device: "cpu", "cuda", "mps", or "auto" for the best one there is.
        precision: Number format of matrix products; "auto" is bfloat16 where CUDA has it, else float32.
        compile: Whether to use torch.compile; None means on CUDA only.
    """

    steps: int = 1000
    batch: int = 32
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-4
    warmup_steps: int = 100
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    clip: float = 1.0
    evaluate_every: int = 250
    evaluation_tokens: int = 32_768
    seed: int = 1337
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "evaluate_every", "evaluation_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)} must be above 0")
        for name in ("final_learning_rate", "warmup_steps", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} {getattr(self, name)} must not be negative")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 0 and less than 1")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(
                f"precision {self.precision!r} must be 'auto', 'float32' or 'bfloat16'"
            )


# %%
def learning_rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of a step: a straight rise, then half a cosine down to the final rate.

    Args:
        step: The step, counted from 0.
        config: Rates, warm-up and number of steps.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps)
    height = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_learning_rate + height * (config.learning_rate - config.final_learning_rate)


# %%
def make_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with weight decay on matrices only.

    Biases and normalisation gains are vectors: pulling them towards 0 would not make the model simpler.

    Args:
        model: The model whose parameters to train.
        config: Rates, decay and betas.
    """
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True
    )


# %%
def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name, or the best there is for "auto": CUDA, then Apple's MPS, then the CPU.

    Raises:
        ValueError: if the name is unknown or the device is not there.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(f"device {name!r} is not available here; use 'auto' or 'cpu'") from None
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context in which matrix products run in the chosen number format.

    Args:
        device: Where the model is.
        precision: As in `TrainConfig`.
    """
    if precision == "auto":
        precision = (
            "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
        )
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; the mode found is restored after."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def evaluate(
    model: nn.Module,
    tokens: Integer[np.ndarray, " tokens"],
    *,
    context_length: int,
    batch: int = 64,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> float:
    """Mean loss in nats over a whole split, every token but the first predicted exactly once.

    Args:
        model: Maps ids to logits. Its training mode is left as it is found.
        tokens: The split.
        context_length: Length of the windows in which it is read.
        batch: Windows at a time.
        device: Where the model is.
        precision: As in `TrainConfig`.

    Raises:
        ValueError: if the split has fewer than two tokens.
    """
    total = torch.zeros((), dtype=torch.float64)
    with evaluating(model), autocast(torch.device(device), precision):
        for inputs, targets in evaluation_batches(
            tokens, batch=batch, context_length=context_length
        ):
            loss = next_token_loss(model(inputs.to(device)), targets.to(device), reduction="sum")
            total += loss.double().cpu()
    return total.item() / (len(tokens) - 1)


# %%
@dataclass(frozen=True)
class TrainResult:
    """What came of a training run.

    Attributes:
        training_loss: Mean loss of the batches since the last look but one, in nats per token.
        validation_loss: Loss on the whole validation split, in nats per token.
        bits_per_byte: The same in bits per byte of text.
        seconds: Time spent in training steps.
        tokens_per_second: Tokens trained on, per second.
        history: One entry for each look: step, losses, learning rate, tokens per second.
    """

    training_loss: float
    validation_loss: float
    bits_per_byte: float
    seconds: float
    tokens_per_second: float
    history: list[dict[str, float]]


def train(
    model: GPT,
    training_tokens: Integer[np.ndarray, " training"],
    validation_tokens: Integer[np.ndarray, " validation"],
    tokenizer: Tokenizer,
    config: TrainConfig | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_evaluation: Callable[[dict[str, float]], None] | None = None,
) -> TrainResult:
    """Train a model to predict the next token.

    The model itself is trained, on the device that the configuration names, and left in training mode there.

    Args:
        model: The model.
        training_tokens: Token ids to learn from.
        validation_tokens: Token ids to measure on.
        tokenizer: Where the ids come from; saved with the model.
        config: How to train; the defaults of `TrainConfig` if None.
        out: Folder for the checkpoint (`checkpoint/`) and the metrics (`metrics.jsonl`); None writes nothing.
        progress: Whether to show a progress bar.
        on_evaluation: Called with each new entry of the history.

    Raises:
        ValueError: if a split is too short for one window, or the device is not there.
        FloatingPointError: if the loss is no longer a number.
    """
    config = config or TrainConfig()
    device = resolve_device(config.device)
    context_length = model.config.context_length
    torch.manual_seed(config.seed)
    batches = BatchSource(
        training_tokens, batch=config.batch, context_length=context_length, seed=config.seed
    )
    if len(validation_tokens) < 2:
        raise ValueError(
            f"{len(validation_tokens)} tokens are too few to validate on; give more text"
        )
    glance = validation_tokens[: config.evaluation_tokens + 1]

    model.to(device).train()
    optimiser = make_optimiser(model, config)
    use_compile = device.type == "cuda" if config.compile is None else config.compile
    stepper = torch.compile(model) if use_compile else model

    def measure(tokens: Integer[np.ndarray, " tokens"]) -> float:
        return evaluate(
            model, tokens, context_length=context_length, device=device, precision=config.precision
        )

    history: list[dict[str, float]] = []
    metrics = Path(out) / "metrics.jsonl" if out is not None else None
    if metrics is not None:
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.write_text("", encoding="utf-8")

    seconds, since_look, losses = 0.0, time.perf_counter(), torch.zeros((), device=device)
    steps_since_look, entry = 0, {}
    bar = tqdm(total=config.steps, unit="step", disable=not progress, dynamic_ncols=True)
    for step in range(config.steps):
        rate = learning_rate_at(step, config)
        for group in optimiser.param_groups:
            group["lr"] = rate
        inputs, targets = next(batches)
        inputs, targets = (
            inputs.to(device, non_blocking=True),
            targets.to(device, non_blocking=True),
        )
        with autocast(device, config.precision):
            loss = next_token_loss(stepper(inputs), targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimiser.step()
        losses += loss.detach()
        steps_since_look += 1
        bar.update()

        done = step + 1
        if done % config.evaluate_every and done != config.steps:
            continue
        mean = losses.item() / steps_since_look  # waits for the device, so that the clock is honest
        elapsed = time.perf_counter() - since_look
        seconds += elapsed
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"the loss is {mean} before step {done}; a lower learning_rate than {config.learning_rate} may help"
            )
        entry = {
            "step": done,
            "training_loss": mean,
            "validation_loss": measure(glance),
            "learning_rate": rate,
            "tokens_per_second": steps_since_look * config.batch * context_length / elapsed,
        }
        history.append(entry)
        bar.set_postfix_str(
            f"loss {mean:.3f}, validation {entry['validation_loss']:.3f}, {entry['tokens_per_second']:,.0f} tokens/s"
        )
        if metrics is not None:
            with metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            save_pretrained(model, tokenizer, Path(out or "") / "checkpoint")
        if on_evaluation is not None:
            on_evaluation(entry)
        since_look, losses, steps_since_look = (
            time.perf_counter(),
            torch.zeros((), device=device),
            0,
        )
    bar.close()

    validation_loss = measure(validation_tokens)
    targets_text = tokenizer.decode(validation_tokens[1:])
    result = TrainResult(
        training_loss=mean,
        validation_loss=validation_loss,
        bits_per_byte=bits_per_byte(
            validation_loss, len(validation_tokens) - 1, len(targets_text.encode())
        ),
        seconds=seconds,
        tokens_per_second=config.steps * config.batch * context_length / seconds,
        history=history,
    )
    if metrics is not None:
        final = {"final": True, **{k: v for k, v in asdict(result).items() if k != "history"}}
        with metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(final) + "\n")
    return result
