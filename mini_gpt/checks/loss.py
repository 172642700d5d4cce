"""Checks for the exercises of the chapter on counting and the loss."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mini_gpt.checks.report import call, expect, run_check


def cross_entropy(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check `cross_entropy(logits, targets)`: of rows, without PyTorch's function."""

    def cases() -> None:
        logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]])
        large = 1000 * logits
        for case, scores, targets, hint in (
            ("one row", logits[:1], [1], "minus log of the true token's softmax"),
            ("two rows", logits, [0, 2], "the mean over the rows"),
            (
                "logits of 2,000",
                large,
                [1, 2],
                "exp overflows; softmax stays the same if every logit of a row is "
                "lowered by as much, for instance by the largest",
            ),
            (
                "logits of 2,000 and an unlikely token",
                large,
                [0, 1],
                "its softmax is 0 in float32, and log of 0 is no number: log p is the "
                "logit minus the log of the sum of exponentials",
            ),
            (
                "a target of -100",
                logits,
                [-100, 2],
                "rows that do not count are in neither the sum nor the number",
            ),
        ):
            right = torch.tensor(targets)
            expected = F.cross_entropy(scores, right).item()
            expect(case, call(function, scores, right), expected, hint)

    run_check(cases, "that is the loss of every model in this book.")


def word_perplexity(function: Callable[[float, int, int], float]) -> None:
    """Check `word_perplexity(nats_per_token, tokens, words)`."""

    def cases() -> None:
        for nats, tokens, words, hint in (
            (1.5, 7, 7, "a token that is a word: the exponential of the loss"),
            (1.0, 12, 4, "first the nats of the whole text, then those of a word"),
            (1.67, 55_000, 10_000, "exp comes last; exp(a) times b is not exp(a b)"),
        ):
            case = f"{nats} nats per token, {tokens:,} tokens, {words:,} words"
            expected = math.exp(nats * tokens / words)
            expect(case, call(function, nats, tokens, words), expected, hint)

    run_check(cases, "uncertain among so many words.")


def draw(function: Callable[[Tensor, float], int]) -> None:
    """Check `draw(probabilities, point)`: the piece of a ruler that a point hits."""

    def cases() -> None:
        even = torch.full((4,), 0.25, dtype=torch.float64)
        gaps = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0], dtype=torch.float64)
        for case, probabilities, point, expected, hint in (
            (
                "the point 0.3 on four equal pieces",
                even,
                0.3,
                1,
                "where does each end?",
            ),
            (
                "the point 0.9 on four equal pieces",
                even,
                0.9,
                3,
                "where does each end?",
            ),
            (
                "the point 0.25 on four equal pieces",
                even,
                0.25,
                1,
                "a piece begins at its left end and stops just before its right one",
            ),
            (
                "the point 0 where id 0 has probability 0",
                gaps,
                0.0,
                1,
                "a piece of no length cannot be hit, not even at its end",
            ),
            (
                "the point 0.5 where id 2 has probability 0",
                gaps,
                0.5,
                3,
                "a piece of no length cannot be hit, not even at its end",
            ),
        ):
            expect(case, call(function, probabilities, point), expected, hint)

    run_check(cases, "that is how every text of this book is drawn.")


def discount_model(answer: type[Any]) -> None:
    """Check an n-gram model with absolute discounting, written by the reader.

    Args:
        answer: A class, `answer(text, alphabet, n)`, with `chance(context, letter)`.
    """
    text, alphabet = "to be or not to be", " benort"

    def right(n: int, context: str, letter: str) -> float:
        if n == 0:
            return 1 / len(alphabet)
        begin = context[len(context) - n + 1 :]
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for end in range(n - 1, len(text)):
            counts[text[end - n + 1 : end]][text[end]] += 1
        after, shorter = counts[begin], right(n - 1, context, letter)
        if not after:
            return shorter
        left = max(after[letter] - 0.75, 0) + 0.75 * len(after) * shorter
        return left / after.total()

    def cases() -> None:
        for n, context, letter, hint in (
            (
                1,
                "",
                "o",
                "what is left of its own count, and its part of what all gave",
            ),
            (1, "t", "b", "n = 1 looks at no context"),
            (2, "o", "t", "the shorter context is the model with n = 1"),
            (2, "o", "b", "a letter that never came gets what the others gave"),
            (2, "xo", "t", "only the last n - 1 characters of the context count"),
            (2, "q", "t", "a context that was never seen passes everything on"),
            (3, "to", " ", "three lengths and the alphabet are blended"),
            (3, "o", "r", "a context that is too short uses the length that it has"),
        ):
            case = f"n = {n}, {letter!r} after {context!r}"
            expected = right(min(n, len(context) + 1), context, letter)
            found = answer(text, alphabet, n).chance(context, letter)
            expect(case, found, expected, hint)
        model = answer(text, alphabet, 3)
        total = sum(model.chance("no", letter) for letter in alphabet)
        expect("the sum after 'no'", total, 1.0, "what was taken is given, no more")

    run_check(cases, "a language model, written by you.")
