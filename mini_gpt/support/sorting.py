"""A task with a right answer: six digits in, the same six in order out."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.generation import generate
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig

DIGITS = 6
TOKENIZER = CharTokenizer("0123456789>")


def draw_prompts(count: int, generator: torch.Generator) -> list[str]:
    """Questions such as `407133>`, drawn at random."""
    rows = torch.randint(10, (count, DIGITS), generator=generator).tolist()
    return ["".join(map(str, row)) + ">" for row in rows]


def solution(prompt: str) -> str:
    """The right answer to a question: `407133>` has `013347`."""
    return "".join(sorted(prompt.removesuffix(">")))


def is_right(prompt: str, answer: str) -> float:
    """The reward: 1 for the right answer, else 0."""
    return float(answer == solution(prompt))


def untrained(seed: int) -> GPT:
    """A small model for the task, with the weights that it starts from."""
    torch.manual_seed(seed)
    shape = GPTConfig(
        TOKENIZER.vocab_size,
        context_length=2 * DIGITS + 1,
        layers=2,
        heads=4,
        width=48,
    )
    return GPT(shape)


def supervise(model: GPT, steps: int, generator: torch.Generator) -> GPT:
    """Train a model on right answers, 32 a step; the loss is on the answers only."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-3, betas=(0.9, 0.99), weight_decay=0.0
    )
    for _ in range(steps):
        prompts = draw_prompts(32, generator)
        texts = [prompt + solution(prompt) for prompt in prompts]
        ids = torch.tensor([TOKENIZER.encode(text) for text in texts])
        logits = model(ids[:, :-1])[:, DIGITS:]
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, DIGITS + 1 :].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def half_trained(seed: int, steps: int = 60) -> GPT:
    """A model that has seen so few answers that it is right about one time in six."""
    generator = torch.Generator().manual_seed(seed)
    return supervise(untrained(seed), steps, generator)


def greedy_score(model: GPT, prompts: list[str]) -> float:
    """The share of questions whose likeliest answer, token by token, is right."""
    config = SampleConfig(temperature=0.0, max_new_tokens=DIGITS)
    answers = [answer.text for answer in generate(model, TOKENIZER, prompts, config)]
    return sum(map(is_right, prompts, answers)) / len(prompts)
