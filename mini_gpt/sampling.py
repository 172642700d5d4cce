# %%
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mini_gpt.model import GPT, GPTConfig
from mini_gpt.tokenizer import Tokenizer


# %%
class KeyValueCache:
    """The keys and values of one layer, kept while text is generated (a `LayerCache` of chapter 5).

    Memory for the whole context is taken at once, so that appending copies only what is new.

    Args:
        config: The model's shape.
        batch: Sequences generated side by side ($B$).
        device: Where the model is.
        dtype: The model's number format.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch: int = 1,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = (2, batch, config.heads, config.context_length, config.head_width)
        self.memory = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def append(
        self,
        key: Float[Tensor, "batch heads new head_width"],
        value: Float[Tensor, "batch heads new head_width"],
    ) -> tuple[
        Float[Tensor, "batch heads keys head_width"], Float[Tensor, "batch heads keys head_width"]
    ]:
        """Keep the new keys and values, and return all of them in order.

        Raises:
            ValueError: if they do not fit the context.
        """
        end = self.length + key.shape[2]
        if end > self.memory.shape[3]:
            raise ValueError(
                f"{end} positions do not fit the cache of {self.memory.shape[3]}; shorten the text"
            )
        self.memory[0, :, :, self.length : end] = key
        self.memory[1, :, :, self.length : end] = value
        self.length = end
        return self.memory[0, :, :, :end], self.memory[1, :, :, :end]


# %%
def temperature(
    logits: Float[Tensor, "... vocab_size"], degree: float
) -> Float[Tensor, "... vocab_size"]:
    """Divide the logits: below 1 favours likely tokens more, above 1 less.

    Args:
        logits: Scores of the next token.
        degree: What to divide by, above 0.

    Raises:
        ValueError: if the degree is not above 0.
    """
    if not degree > 0:
        raise ValueError(
            f"temperature {degree} must be above 0; for the likeliest token always, use greedy choice"
        )
    return logits / degree


def top_k(logits: Float[Tensor, "... vocab_size"], k: int) -> Float[Tensor, "... vocab_size"]:
    """Keep the k highest logits (exactly k, also where some are equal) and set the rest to minus infinity.

    Args:
        logits: Scores of the next token.
        k: How many to keep, at least 1; more than there are means all.

    Raises:
        ValueError: if k is below 1.
    """
    if k < 1:
        raise ValueError(f"top_k {k} must be at least 1")
    kept = logits.topk(min(k, logits.shape[-1]))
    return torch.full_like(logits, -math.inf).scatter(-1, kept.indices, kept.values)


def top_p(logits: Float[Tensor, "... vocab_size"], p: float) -> Float[Tensor, "... vocab_size"]:
    """Keep the likeliest tokens whose probabilities together first reach p (Holtzman et al. 2020), at least one.

    Args:
        logits: Scores of the next token.
        p: Probability to reach, above 0 and at most 1.

    Raises:
        ValueError: if p is not above 0 and at most 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p {p} must be above 0 and at most 1")
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(-1)
    reached_before = probabilities.cumsum(-1) - probabilities
    outside = reached_before >= p
    outside[..., 0] = False  # the likeliest stays, whatever rounding says
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(outside, -math.inf))


# %%
@dataclass(frozen=True)
class SampleConfig:
    """How to choose tokens, and how many.

    Attributes:
        max_new_tokens: Most tokens to generate.
        temperature: Divides the logits; 0 always takes the likeliest token.
        top_k: Choose among this many of the likeliest tokens; None means all.
        top_p: Choose among the likeliest tokens that together have this probability; None means all.
        seed: Seed of the choice; the same seed gives the same text on the same machine.
    """

    max_new_tokens: int = 200
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 0:
            raise ValueError(f"max_new_tokens {self.max_new_tokens} must not be negative")
        if not self.temperature >= 0:
            raise ValueError(
                f"temperature {self.temperature} must be 0 (always the likeliest) or above"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} must be above 0 and at most 1")


def choose(
    logits: Float[Tensor, " vocab_size"], config: SampleConfig, generator: torch.Generator
) -> int:
    """Draw one token.

    Args:
        logits: Scores of the next token.
        config: How to choose.
        generator: Source of randomness, on the CPU.

    Raises:
        ValueError: if a logit is not a number.
    """
    logits = (
        logits.float().cpu()
    )  # drawn on the CPU, so that a seed means the same with and without a GPU
    if logits.isnan().any() or logits.max() == math.inf:
        raise ValueError(
            "the model's scores are not finite; it was trained too hard, or its weights are damaged"
        )
    if config.temperature == 0:
        return int(logits.argmax())
    logits = temperature(logits, config.temperature)
    if config.top_k is not None:
        logits = top_k(logits, config.top_k)
    if config.top_p is not None:
        logits = top_p(logits, config.top_p)
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))


# %%
@torch.no_grad()
def generate_ids(
    model: GPT, prompt: Sequence[int], config: SampleConfig | None = None
) -> Iterator[int]:
    """Generate token ids one by one after a prompt, without end; the caller stops.

    Each new token costs one step of the model, thanks to the cache, until the context is full. From then on the
    window slides: the oldest half of the context is dropped and the rest read again.

    Args:
        model: Any GPT. Its training mode is left as it is found.
        prompt: Token ids to go on from, at least one. Only the last `context_length` of them count.
        config: How to choose; `max_new_tokens` is left to the caller.

    Yields:
        The next token id.

    Raises:
        ValueError: if the prompt is empty or has an id that the model does not know.
    """
    config = config or SampleConfig()
    size, context = model.config.vocab_size, model.config.context_length
    if not prompt:
        raise ValueError("the prompt is empty; give at least one token to go on from")
    if outside := [id for id in prompt if not 0 <= id < size]:
        raise ValueError(
            f"id {outside[0]} in the prompt is outside the model's vocabulary (0 to {size - 1})"
        )
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(config.seed)
    ids, caches, fresh = list(prompt)[-context:], None, []
    while True:
        if caches is None or caches[0].length + len(fresh) > context:
            fresh = ids[-context:] if caches is None else ids[-(context // 2 or 1) :]
            ids = list(fresh)
            caches = [
                KeyValueCache(model.config, 1, parameter.device, parameter.dtype)
                for _ in range(model.config.layers)
            ]
        training = model.training
        model.eval()
        try:
            hidden = model.hidden(torch.tensor([fresh], device=parameter.device), caches)
            logits = model.token_embedding.logits(hidden[:, -1:])[0, -1]
        finally:
            model.train(training)
        id = choose(logits, config, generator)
        ids.append(id)
        fresh = [id]
        yield id


# %%
@dataclass(frozen=True)
class Generation:
    """What came of one prompt.

    Attributes:
        ids: The new tokens, without the prompt.
        text: The new text, without the prompt.
        stopped: Why it ends: "end of text" or "length".
    """

    ids: list[int]
    text: str
    stopped: Literal["end of text", "length"]


def start_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The ids of a prompt; an empty one starts from the end-of-text token, as a new document does.

    Raises:
        ValueError: if the prompt is empty and the tokenizer has no end-of-text token.
    """
    ids = tokenizer.encode(prompt)
    if not ids:
        if tokenizer.end_of_text is None:
            raise ValueError(
                "the prompt is empty and this tokenizer has no end-of-text token; give a prompt, for instance a line break"
            )
        ids = [tokenizer.end_of_text]
    return ids


def generate(
    model: GPT, tokenizer: Tokenizer, prompts: Sequence[str], config: SampleConfig | None = None
) -> list[Generation]:
    """Go on from each of several prompts until the end-of-text token or the length limit.

    Args:
        model: Any GPT.
        tokenizer: The tokenizer that it was trained with.
        prompts: Texts to go on from.
        config: How to choose and how many; the defaults of `SampleConfig` if None.

    Returns:
        One `Generation` for each prompt, in order. Each has its own random numbers: a prompt gives the same text
        alone and among others.

    Raises:
        TypeError: if `prompts` is one string.
        ValueError: as for `stream`.
    """
    if isinstance(prompts, str):
        raise TypeError("prompts is one string; give a list of prompts, for instance [prompt]")
    config = config or SampleConfig()
    results = []
    for prompt in prompts:
        ids: list[int] = []
        stopped: Literal["end of text", "length"] = "length"
        for id in generate_up_to(model, start_ids(tokenizer, prompt), config):
            if id == tokenizer.end_of_text:
                stopped = "end of text"
                break
            ids.append(id)
        results.append(Generation(ids, tokenizer.decode(ids), stopped))
    return results


def generate_up_to(model: GPT, prompt: Sequence[int], config: SampleConfig) -> Iterator[int]:
    """The first `max_new_tokens` ids of `generate_ids`, computing none in vain."""
    source = generate_ids(model, prompt, config)
    for _ in range(config.max_new_tokens):
        yield next(source)


def stream(
    model: GPT, tokenizer: Tokenizer, prompt: str, config: SampleConfig | None = None
) -> Iterator[str]:
    """Generate text piece by piece, as it comes.

    Only whole characters are yielded: where a token ends in the middle of one, its text waits for the next token.

    Args:
        model: Any GPT.
        tokenizer: The tokenizer that it was trained with.
        prompt: The text to go on from; an empty one starts a new document.
        config: How to choose and how many; the defaults of `SampleConfig` if None.

    Yields:
        Pieces of the new text; together they are what `generate` returns.

    Raises:
        ValueError: if the prompt is empty and there is no end-of-text token, or has a character that the
            tokenizer does not know.
    """
    config = config or SampleConfig()
    waiting: list[int] = []
    for id in generate_up_to(model, start_ids(tokenizer, prompt), config):
        if id == tokenizer.end_of_text:
            break
        waiting.append(id)
        text = tokenizer.decode(waiting)
        if not text.endswith("\ufffd") or len(waiting) > 8:  # no character has more than four bytes
            yield text
            waiting = []
    if waiting:
        yield tokenizer.decode(waiting)
