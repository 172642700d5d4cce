"""Checks for the exercises of the chapter on choosing a token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mini_gpt.checks.report import NotYet, call, expect, run_check


def reheat(answer: Callable[[Tensor, float], Tensor]) -> None:
    """Check a change of temperature that is given probabilities, not logits.

    Args:
        answer: Takes the probabilities at temperature 1 and another temperature.
    """

    def cases() -> Iterator[None]:
        hint = "the logits are ln p; what does dividing them do to p itself?"
        half = torch.tensor([0.5, 0.25, 0.25])
        two_thirds = torch.tensor([4 / 6, 1 / 6, 1 / 6])
        expect("temperature 1", call(answer, half, 1.0), half, hint)
        yield
        expect(
            "[0.5, 0.25, 0.25] at temperature 0.5",
            call(answer, half, 0.5),
            two_thirds,
            hint,
        )
        yield
        found = call(answer, torch.tensor([0.64, 0.36, 0.0]), 2.0)
        expect(
            "[0.64, 0.36, 0] at temperature 2",
            found,
            torch.tensor([8 / 14, 6 / 14, 0.0]),
            "what has probability 0 keeps it",
        )
        yield
        logits = torch.tensor([2.0, -1.0, 0.0, -3.0, 0.5])
        for degree in (0.3, 1.7):
            expect(
                f"five tokens at temperature {degree}",
                call(answer, logits.softmax(-1), degree),
                (logits / degree).softmax(-1),
                hint,
            )
            yield

    run_check(cases, "a temperature is a power of the probabilities")


def penalize(answer: Callable[[Tensor, Sequence[int], float], Tensor]) -> None:
    """Check a penalty on tokens that were seen.

    Args:
        answer: Takes the logits of one row, the ids that were seen and the penalty.
    """

    def cases() -> Iterator[None]:
        logits = torch.tensor([2.0, -1.0, 0.0, -3.0])
        weights = logits.exp()
        for case, seen, factors in (
            ("nothing seen", [], [1, 1, 1, 1]),
            ("a token with a positive logit seen", [0], [0.5, 1, 1, 1]),
            ("a token with a negative logit seen", [1], [1, 0.5, 1, 1]),
            (
                "two tokens seen, one of them three times",
                [3, 2, 3, 3],
                [1, 1, 0.5, 0.5],
            ),
        ):
            expected = weights * torch.tensor(factors)
            before = logits.clone()
            found = answer(before, seen, 2.0)
            if not torch.equal(before, logits):
                raise NotYet(
                    f"for {case} your function changed the logits that it was given. "
                    "Hint: work on a copy"
                )
            probabilities = found.softmax(-1) if isinstance(found, Tensor) else found
            expect(
                f"penalty 2 and {case}, probabilities",
                probabilities,
                expected / expected.sum(),
                "what must be added to a logit so that its exponential is halved?",
            )
            yield
        shifted = answer(logits + 5, [0, 1], 3.0)
        expect(
            "the same logits, all raised by 5, probabilities",
            shifted.softmax(-1),
            answer(logits.clone(), [0, 1], 3.0).softmax(-1),
            "softmax ignores what is added to all logits; so must the penalty",
        )
        yield

    run_check(cases, "a seen token becomes less likely, whatever the sign of its logit")


def choose_word(answer: Callable[[dict[str, float], float, float, float], str]) -> None:
    """Check a whole choice: temperature, nucleus and dart, in plain Python.

    Args:
        answer: Takes words with their probabilities, a temperature, the share p of the
            nucleus and a dart, and returns a word.
    """

    def cases() -> Iterator[None]:
        sent = {"do": 0.24, "be": 0.4, "go": 0.36}
        ruler = "sort from the likeliest on, then lay the pieces end to end"
        hot = "a temperature is a power: which one?"
        kept = "the nucleus ends with the word that reaches p, and it is all there is"
        even = {"left": 0.25, "right": 0.25, "on": 0.5}
        for case, shares, degree, p, dart, word, hint in (
            ("all kept, dart 0.39", sent, 1.0, 1.0, 0.39, "be", ruler),
            ("all kept, dart 0.41", sent, 1.0, 1.0, 0.41, "go", ruler),
            ("all kept, dart 0.99", sent, 1.0, 1.0, 0.99, "do", ruler),
            ("equal words, dart 0.6", even, 1.0, 1.0, 0.6, "left", "first sent, first"),
            ("temperature 0.5, dart 0.45", sent, 0.5, 1.0, 0.45, "be", hot),
            ("temperature 2, dart 0.38", sent, 2.0, 1.0, 0.38, "go", hot),
            ("p 0.5, dart 0.99", sent, 1.0, 0.5, 0.99, "go", kept),
            ("p 0.5, dart 0.5", sent, 1.0, 0.5, 0.5, "be", kept),
            ("p 0.3, dart 0.99", sent, 1.0, 0.3, 0.99, "be", kept),
            (
                "temperature 3 and p 0.75, dart 0.99",
                sent,
                3.0,
                0.75,
                0.99,
                "do",
                "temperature comes first: a hot nucleus holds more words",
            ),
        ):
            expect(case, call(answer, shares, degree, p, dart), word, hint)
            yield

    run_check(cases, "temperature, nucleus and dart choose as they should")


def race(answer: Callable[[Tensor, Tensor], int]) -> None:
    """Check a draw by who arrives first.

    Args:
        answer: Takes the probabilities and one dart for each token.
    """

    def cases() -> Iterator[None]:
        early = "token i arrives after the time -ln(dart) / probability"
        even = torch.tensor([0.25, 0.25, 0.5])
        for case, darts, winner in (
            ("equal darts", [0.5, 0.5, 0.5], 2),
            (
                "probabilities [1/4, 1/4, 1/2] and darts [0.2, 0.9, 0.6]",
                [0.2, 0.9, 0.6],
                1,
            ),
            (
                "probabilities [1/4, 1/4, 1/2] and darts [0.7, 0.2, 0.6]",
                [0.7, 0.2, 0.6],
                2,
            ),
        ):
            expect(case, call(answer, even, torch.tensor(darts)), winner, early)
            yield
        probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
        expect(
            "a token of probability 0 whose dart is nearly 1",
            call(answer, probabilities, torch.tensor([0.2, 0.999, 0.5, 0.1])),
            2,
            "what has no probability never arrives",
        )
        yield
        generator = torch.Generator().manual_seed(0)
        thrown = torch.rand(6000, 4, generator=generator)
        winners = torch.tensor([int(answer(probabilities, four)) for four in thrown])
        expect(
            "6000 races, shares of the winners",
            torch.bincount(winners, minlength=4) / 6000,
            probabilities,
            early,
            tolerance=0.03,
        )
        yield

    run_check(cases, "the winners of the race are draws from the probabilities")
