"""Checks for the exercises of the chapter on evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mini_gpt.checks.report import call, expect, run_check


def questions_needed(function: Callable[[float, float], int]) -> None:
    """Check `questions_needed(p, half_width)`: how many for so narrow an interval."""

    def cases() -> None:
        for p, half, expected, hint in (
            (0.5, 0.1, 97, "solve 1.96 times the standard error = half_width for n"),
            (0.5, 0.05, 385, "half the width takes four times as many"),
            (0.9, 0.05, 139, "p (1 - p) is smaller far from one half"),
            (0.6, 0.01, 9220, "round up: with one less the interval is too wide"),
        ):
            case = f"p = {p} and a half-width of {half}"
            expect(case, call(function, p, half), expected, hint)

    run_check(cases, "ten times as exact costs a hundred times the questions.")


def pick(
    function: Callable[[Sequence[Sequence[float]], Sequence[int], str], int],
) -> None:
    """Check `pick(log_probs, characters, way)`: a harness's choice."""

    def cases() -> None:
        clear = [[-1.0, -2.0], [-4.0, -5.0]]
        short = [[-2.0, -2.0, -2.0], [-5.0]]
        long = [[-3.0, -3.0], [-1.0] * 7]
        letters = [[-4.0], [-2.5, -2.5]]
        for case, log_probs, characters, way, expected, hint in (
            ("a clear case, by the sum", clear, [4, 4], "sum", 0, "the highest wins"),
            ("a short one, by the sum", short, [9, 3], "sum", 1, "−5 is above −6"),
            ("a short one, by token", short, [9, 3], "token", 0, "−2 is above −5"),
            ("a long one, by token", long, [5, 20], "token", 1, "the mean over tokens"),
            (
                "one token of many letters, by character",
                letters,
                [10, 5],
                "character",
                0,
                "divide the sum by the characters, not by the tokens",
            ),
            ("the same by token", letters, [10, 5], "token", 1, "−2.5 is above −4"),
            ("two equal ones", [[-1.0], [-1.0]], [1, 1], "sum", 0, "the first of them"),
            (
                "a third option",
                [[-3.0], [-2.0], [-1.0]],
                [1, 1, 1],
                "sum",
                2,
                "there may be any number of continuations",
            ),
        ):
            expect(case, call(function, log_probs, characters, way), expected, hint)

    run_check(cases, "that is how multiple choice is scored, in all three ways.")


def best_temperature(
    function: Callable[[Tensor, Tensor, Sequence[float]], float],
) -> None:
    """Check `best_temperature(logits, targets, degrees)`: by the loss."""

    def cases() -> None:
        generator = torch.Generator().manual_seed(0)
        honest = 1.5 * torch.randn(4000, 7, generator=generator)
        chances = honest.softmax(-1)
        targets = torch.multinomial(chances, 1, generator=generator)[:, 0]
        degrees = [0.5, 1.0, 2.0, 4.0]
        for case, logits, expected, hint in (
            ("a model that is calibrated", honest, 1.0, "its loss is lowest as it is"),
            ("one that is twice too sure", 2 * honest, 2.0, "divide the logits"),
            ("one that is too timid", honest / 2, 0.5, "below 1 it becomes surer"),
        ):
            found = call(function, logits, targets, degrees)
            expect(case, found, expected, hint)
        always = torch.tensor([[3.0, 0.0]]).expand(10, 2)
        sevens = torch.tensor([0] * 7 + [1] * 3)
        right = call(function, always, sevens, [1.0, 3.0, 3.5406, 5.0])
        hint = "the lowest mean of −log p over the targets"
        expect("a coin that says 95% and is right in 70%", right, 3.5406, hint)

    run_check(cases, "one number, learned after all the others, makes it honest.")


def luck(
    function: Callable[
        [Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, "rows n"]],
        float,
    ],
) -> None:
    """Check `luck(first, second, flips)`: a test by exchanging answers."""

    def cases() -> None:
        signs = np.array([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)])
        ones, zeros = np.ones(3), np.zeros(3)
        for case, first, second, expected, hint in (
            (
                "three questions that only the first answered",
                ones,
                zeros,
                0.25,
                "all three one way, or all three the other way: 2 of 8 rows",
            ),
            ("the same the other way round", zeros, ones, 0.25, "the absolute sum"),
            (
                "two of three",
                np.array([1.0, 1.0, 0.0]),
                np.array([0.0, 0.0, 1.0]),
                1.0,
                "at least: rows that reach the same sum count",
            ),
            (
                "questions that both answered",
                np.array([1.0, 1.0, 1.0]),
                np.array([1.0, 1.0, 0.0]),
                1.0,
                "a difference of 0 stays 0 whatever its sign",
            ),
            ("two equal models", ones, ones, 1.0, "no row is below a sum of 0"),
        ):
            expect(case, call(function, first, second, signs), expected, hint)
        many = np.random.default_rng(0).choice([-1, 1], size=(20_000, 30))
        first = np.array([1.0] * 20 + [0.0] * 10)
        expected = sum(math.comb(30, k) for k in range(31) if abs(2 * k - 30) >= 10)
        share = expected / 2**30
        hint = "compare absolute sums of flips times differences"
        found = call(function, first, 1 - first, many)
        expect("20 against 10 questions", found, share, hint, tolerance=0.01)

    run_check(cases, "no formula for the noise was needed.")
