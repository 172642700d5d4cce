# %%
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from mini_gpt.data import BatchSource, evaluation_batches
from mini_gpt.gpt2 import save_pretrained
from mini_gpt.model import GPT
from mini_gpt.runtime import (
    append_line,
    compiled,
    progress_bar,
    resolve_device,
    start_metrics,
    to_device,
)
from mini_gpt.tokenizer import Tokenizer


# %%
def next_token_loss(
    logits: Float[Tensor, "batch time vocab_size"],
    targets: Int[Tensor, "batch time"],
    reduction: str = "mean",
) -> Float[Tensor, ""]:
    """Cross-entropy of the true next tokens: how surprised the model is, in nats.

    Args:
        logits: Scores of the next token at every position.
        targets: The tokens that came next.
        reduction: "mean" over all positions, or "sum".
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


# %%
def bits_per_byte(nats_per_token: float, tokens: int, utf8_bytes: int) -> float:
    """A loss that can be compared between tokenizers: the bits needed for each byte of the text.

    Args:
        nats_per_token: Mean cross-entropy of the tokens.
        tokens: How many tokens the text has.
        utf8_bytes: How many bytes the same text has in UTF-8.

    Raises:
        ValueError: if there is no byte to divide by.
    """
    if utf8_bytes < 1:
        raise ValueError(f"utf8_bytes {utf8_bytes} must be at least 1; there is no text to measure")
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
        evaluation_tokens: Validation tokens that such a look uses; the final one uses all.
        seed: Seed of the batches and of dropout.
        device: "cpu", "cuda", "mps", or "auto" for the best one there is.
        precision: Number format of matrix products; "auto" is bfloat16 where CUDA has it,
            else float32.
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
        def require(names: str, holds: Callable[[float], bool], rule: str) -> None:
            for name in names.split():
                if not holds(getattr(self, name)):
                    raise ValueError(f"{name} {getattr(self, name)} must be {rule}")

        require("steps batch evaluate_every evaluation_tokens", lambda n: n >= 1, "at least 1")
        require("learning_rate clip", lambda x: x > 0, "above 0")
        require("final_learning_rate warmup_steps weight_decay", lambda x: x >= 0, "at least 0")
        require("beta1 beta2", lambda x: 0 <= x < 1, "at least 0 and less than 1")
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

    Biases and normalisation gains are vectors: pulling them towards 0 would not make the model
    simpler.

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
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,  # one kernel for all parameters
    )


# %%
def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context in which matrix products run in the chosen number format.

    Args:
        device: Where the model is.
        precision: As in `TrainConfig`.
    """
    if precision == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bfloat16" if has_bfloat16 else "float32"
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


# %%
@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; the mode found is restored after.

    Args:
        model: The model.
    """
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
    device = torch.device(device)
    sums = []
    with evaluating(model), autocast(device, precision):
        for inputs, targets in evaluation_batches(
            tokens, batch=batch, context_length=context_length
        ):
            logits = model(inputs.to(device)).float()
            sums.append(next_token_loss(logits, targets.to(device), reduction="sum"))
    return torch.stack(sums).cpu().double().sum().item() / (len(tokens) - 1)


# %%
class Meter:
    """The mean loss and the speed of the steps since it was restarted.

    Losses are summed where they are, so that adding one does not wait for the device.

    Args:
        device: Where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.restart()

    def restart(self) -> None:
        """Forget the steps so far, and start the clock."""
        self.sum = torch.zeros((), device=self.device)
        self.steps = 0
        self.start = time.perf_counter()

    def add(self, loss: Float[Tensor, ""]) -> None:
        """Count a step with this loss."""
        self.sum += loss
        self.steps += 1

    def read(self) -> tuple[float, float]:
        """Mean loss and seconds so far. Waits for the device: the time is that of finished work."""
        mean = self.sum.item() / max(1, self.steps)
        return mean, time.perf_counter() - self.start


# %%
class Trainer:
    """Trains a model to predict the next token.

    `step` is one optimiser step, `look` measures how far we are, and `run` alternates them. The
    model itself is trained, on the configured device, and left there in training mode.

    Args:
        model: The model.
        training_tokens: Token ids to learn from.
        validation_tokens: Token ids to measure on.
        config: How to train; the defaults of `TrainConfig` if None.

    Attributes:
        steps_done: Optimiser steps so far.
        seconds: Time spent in them.
        history: What each look found: step, losses, learning rate, tokens per second.

    Raises:
        ValueError: if a split is too short for one window, or the device is not there.
    """

    def __init__(
        self,
        model: GPT,
        training_tokens: Integer[np.ndarray, " training"],
        validation_tokens: Integer[np.ndarray, " validation"],
        config: TrainConfig | None = None,
    ) -> None:
        self.config = config = config or TrainConfig()
        self.device = resolve_device(config.device)
        if len(validation_tokens) < 2:
            raise ValueError(
                f"{len(validation_tokens)} tokens are too few to validate on; give more text"
            )
        self.glance = validation_tokens[: config.evaluation_tokens + 1]
        self.batches = BatchSource(
            training_tokens,
            batch=config.batch,
            context_length=model.config.context_length,
            seed=config.seed,
        )
        torch.manual_seed(config.seed)  # for dropout
        self.model = model.to(self.device).train()
        self.predict = compiled(model, self.device, config.compile)
        self.optimiser = make_optimiser(model, config)
        self.meter = Meter(self.device)
        self.steps_done, self.seconds = 0, 0.0
        self.history: list[dict[str, int | float]] = []

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one step predicts ($B T$)."""
        return self.config.batch * self.batches.context_length

    def step(self) -> Float[Tensor, ""]:
        """Improve the model on one batch; returns the batch's loss before that, in nats per token.

        Nothing in here waits for the device, and the loss stays on it.
        """
        inputs, targets = (to_device(ids, self.device) for ids in next(self.batches))
        with autocast(self.device, self.config.precision):
            loss = next_token_loss(self.predict(inputs), targets)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(self.steps_done, self.config)
        self.optimiser.step()
        self.steps_done += 1
        self.meter.add(loss.detach())
        return loss.detach()

    def evaluate(self, tokens: Integer[np.ndarray, " tokens"]) -> float:
        """Mean loss of the model as it is now, over all these tokens, in nats per token."""
        return evaluate(
            self.model,
            tokens,
            context_length=self.batches.context_length,
            device=self.device,
            precision=self.config.precision,
        )

    def look(self) -> dict[str, int | float]:
        """Measure, and add what was found to the history.

        Raises:
            FloatingPointError: if a loss is no longer a number.
        """
        mean, seconds = self.meter.read()
        entry: dict[str, int | float] = {
            "step": self.steps_done,
            "training_loss": self.finite(mean),
            "validation_loss": self.finite(self.evaluate(self.glance)),
            "learning_rate": learning_rate_at(max(0, self.steps_done - 1), self.config),
            "tokens_per_second": self.meter.steps * self.tokens_per_step / seconds,
        }
        self.seconds += seconds
        self.history.append(entry)
        self.meter.restart()
        return entry

    def finite(self, loss: float) -> float:
        """The loss, if it is a number; else raises FloatingPointError."""
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at step {self.steps_done}: training has gone astray. Try a "
                f"learning_rate below {self.config.learning_rate}, or a longer warm-up than "
                f"{self.config.warmup_steps} steps"
            )
        return loss

    def run(
        self,
        *,
        progress: bool = True,
        on_look: Callable[[dict[str, int | float]], None] | None = None,
    ) -> None:
        """Take all steps that are left, and look every so often and at the end.

        Args:
            progress: Whether to show a progress bar on stderr.
            on_look: Called with each new entry of the history.

        Raises:
            FloatingPointError: if a loss is no longer a number.
        """
        steps, every = self.config.steps, self.config.evaluate_every
        with progress_bar(self.steps_done, steps, progress) as bar:
            self.meter.restart()
            while self.steps_done < steps:
                self.step()
                if bar.update():  # it has just been drawn: a few times a second at most
                    mean, seconds = self.meter.read()
                    speed = self.meter.steps * self.tokens_per_step / seconds
                    bar.set_postfix_str(f"loss {self.finite(mean):.3f}, {speed:,.0f} tokens/s")
                if self.steps_done % every == 0 or self.steps_done == steps:
                    entry = self.look()
                    if on_look is not None:
                        on_look(entry)
                    self.meter.restart()


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
    history: list[dict[str, int | float]]


def train(
    model: GPT,
    training_tokens: Integer[np.ndarray, " training"],
    validation_tokens: Integer[np.ndarray, " validation"],
    tokenizer: Tokenizer,
    config: TrainConfig | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_evaluation: Callable[[dict[str, int | float]], None] | None = None,
) -> TrainResult:
    """Train a model, measure it on the whole validation split, and keep what came of it.

    Args:
        model: The model; it is trained itself, and moved to the configured device.
        training_tokens: Token ids to learn from.
        validation_tokens: Token ids to measure on.
        tokenizer: Where the ids come from; saved with the model.
        config: How to train; the defaults of `TrainConfig` if None.
        out: Folder for the checkpoint (`checkpoint/`) and the metrics (`metrics.jsonl`); None
            writes nothing.
        progress: Whether to show a progress bar on stderr.
        on_evaluation: Called with each new entry of the history.

    Raises:
        ValueError: if a split is too short for one window, or the device is not there.
        FloatingPointError: if a loss is no longer a number.
    """
    trainer = Trainer(model, training_tokens, validation_tokens, config)
    metrics = start_metrics(out) if out is not None else None

    def keep(entry: dict[str, int | float]) -> None:
        if metrics is not None:
            append_line(metrics, entry)
            save_pretrained(model, tokenizer, metrics.parent / "checkpoint")
        if on_evaluation is not None:
            on_evaluation(entry)

    trainer.run(progress=progress, on_look=keep)
    loss = trainer.finite(trainer.evaluate(validation_tokens))
    text = tokenizer.decode(validation_tokens[1:])
    result = TrainResult(
        training_loss=trainer.history[-1]["training_loss"],
        validation_loss=loss,
        bits_per_byte=bits_per_byte(loss, len(validation_tokens) - 1, len(text.encode())),
        seconds=trainer.seconds,
        tokens_per_second=trainer.steps_done * trainer.tokens_per_step / trainer.seconds,
        history=trainer.history,
    )
    if metrics is not None:
        append_line(metrics, {"final": True, **asdict(result), "history": None})
    return result
