"""Checks for the exercises of the chapter on learning from rewards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mini_gpt.checks.report import NotYet, call, expect, run_check


def leave_one_out(answer: Callable[[Tensor], Tensor]) -> None:
    """Check advantages whose baseline is the mean of the other answers.

    Args:
        answer: Takes rewards, a row for each prompt, and returns as many advantages.
    """

    def cases() -> Iterator[None]:
        hint = "the others are all of the group but the answer itself"
        for case, rows, expected in (
            ("rewards [1, 0, 0]", [[1.0, 0.0, 0.0]], [[1.0, -0.5, -0.5]]),
            ("rewards [1, 1, 1]", [[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]),
            ("rewards [3, 1]", [[3.0, 1.0]], [[2.0, -2.0]]),
            (
                "two groups, [4, 0, 2, 0] and [0, 0, 0, 3]",
                [[4.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 3.0]],
                [[10 / 3, -2.0, 2 / 3, -2.0], [-1.0, -1.0, -1.0, 3.0]],
            ),
        ):
            found = call(answer, torch.tensor(rows))
            expect(case, found, torch.tensor(expected), hint)
            yield

    run_check(cases, "each answer is compared with the others to its question")


def _lenient(line: str, known: dict[str, int]) -> int:
    """The syllables of a line by a verifier that skips what it does not know."""
    return sum(known.get(word, 0) for word in line.split())


def exploit(answer: Callable[[dict[str, int]], str]) -> None:
    """Check a line that fools a verifier which skips unknown words.

    Args:
        answer: Takes words with their numbers of syllables, and returns a line.
    """

    def cases() -> Iterator[None]:
        for known in (
            {"day": 1, "responsibilities": 6},
            {"seven": 2, "and": 1, "never": 2},
            {"imagination": 5, "beautiful": 3},
        ):
            line = call(answer, known)
            case = f"the dictionary {known}"
            if not isinstance(line, str):
                raise NotYet(
                    f"for {case} expected a line of text, got {line!r}. "
                    "Hint: words with spaces between them"
                )
            found = sorted(set(line.split()) & known.keys())
            if len(line.split()) < 4 or len(set(line.split())) < 4 or len(found) != 1:
                raise NotYet(
                    f"for {case} your line {line!r} has {len(set(line.split()))} "
                    f"different words, of which {len(found)} are known. Hint: at least "
                    "4 different words, and all but one of them must be unknown"
                )
            hint = "the one known word may stand in the line several times"
            expect(f"{case}, syllables of {line!r}", _lenient(line, known), 10, hint)
            yield

    run_check(cases, "a reward that skips what it does not know pays for nonsense")


def _grpo(
    new: Tensor, old: Tensor, mask: Tensor, rewards: Tensor, size: int, clip: float
) -> Tensor:
    """The loss in loops: slow, and written independently of the package."""
    total = torch.zeros(())
    for row in range(len(new)):
        first = row - row % size
        group = rewards[first : first + size]
        spread = group.std() + 1e-4
        advantage = (rewards[row] - group.mean()) / spread
        gains = []
        for place in range(new.shape[1]):
            if mask[row, place]:
                ratio = (new[row, place] - old[row, place]).exp()
                low, high = 1 - clip, 1 + clip
                limited = ratio.clamp(low, high)
                gains.append(torch.minimum(ratio * advantage, limited * advantage))
        total = total + torch.stack(gains).mean()
    return -total / len(new)


def whole_grpo(answer: Callable[..., Tensor]) -> None:
    """Check a GRPO loss without KL, from rewards to the number, and its gradient.

    Args:
        answer: Takes log-probabilities now and before, the mask, rewards, the size of a
            group and the clip.
    """

    def cases() -> Iterator[None]:
        generator = torch.Generator().manual_seed(0)
        new, old = torch.randn(2, 6, 5, generator=generator) * 0.3 - 1
        mask = torch.ones(6, 5)
        mask[1, 3:], mask[4, :2] = 0, 0
        rewards = torch.tensor([1.0, 0.0, 0.0, 0.5, 1.0, 0.2])
        even = torch.ones(6, 5)
        for case, arguments, hint in (
            (
                "nothing moved, equal lengths",
                (old, old, even, rewards, 3, 0.2),
                "every ratio is 1, and the advantages of a group sum to 0",
            ),
            (
                "nothing moved, answers of different lengths",
                (old, old, mask, rewards, 3, 0.2),
                "first the mean over the tokens of each answer, then over answers",
            ),
            (
                "moved, with a clip that is never reached",
                (new, old, mask, rewards, 3, 50.0),
                "the ratio is e to the difference of the log-probabilities",
            ),
            (
                "moved, clip 0.1",
                (new, old, mask, rewards, 3, 0.1),
                "the smaller of ratio times advantage and clipped ratio "
                "times advantage",
            ),
            (
                "groups of two",
                (new, old, mask, rewards, 2, 0.1),
                "rows of one question stand together; group_size says how many",
            ),
        ):
            expect(case, call(answer, *arguments), _grpo(*arguments), hint)
            yield
        leaf = new.clone().requires_grad_()
        answer(leaf, old, mask, rewards, 3, 0.1).backward()
        other = new.clone().requires_grad_()
        _grpo(other, old, mask, rewards, 3, 0.1).backward()
        expect(
            "the gradient, clip 0.1",
            leaf.grad,
            other.grad,
            "no gradient flows through rewards and old log-probabilities; a clipped "
            "token has none",
        )
        yield
        alike = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        found = answer(new, old, mask, alike, 3, 0.2)
        expect(
            "groups that are all right or all wrong",
            found,
            torch.zeros(()),
            "without spread the advantage is 0, not 0 divided by 0",
        )
        yield

    run_check(cases, "that is GRPO, from the rewards to the number")


def best_policy(answer: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Check the best distribution where leaving a reference has a price.

    Args:
        answer: Takes the reference's probabilities, rewards and the price beta.
    """

    def cases() -> Iterator[None]:
        reference = torch.tensor([0.5, 0.25, 0.15, 0.1])
        rewards = torch.tensor([0.0, 1.0, 0.0, 1.0])

        def value(policy: Tensor, beta: float) -> Tensor:
            kl = (policy * (policy.clamp(min=1e-12) / reference).log()).sum(-1)
            return (policy * rewards).sum(-1) - beta * kl

        generator = torch.Generator().manual_seed(0)
        others = torch.rand(5000, 4, generator=generator).pow(2)
        others = others / others.sum(-1, keepdim=True)
        for beta in (2.0, 0.5, 0.1):
            found = call(answer, reference, rewards, beta)
            total = found.sum() if isinstance(found, Tensor) else found
            expect(
                f"beta {beta}, sum", total, torch.tensor(1.0), "probabilities sum to 1"
            )
            best = value(others, beta).max()
            if value(found, beta) < best - 1e-6:
                raise NotYet(
                    f"for beta {beta} your distribution is worth "
                    f"{value(found, beta):.4f}, and another one {best:.4f}. Hint: "
                    "weigh the reference by how much each answer earns at this price"
                )
            yield
        expect(
            "beta 1000",
            call(answer, reference, rewards, 1000.0),
            reference,
            "where leaving costs much, one stays",
            tolerance=1e-2,
        )
        yield
        expect(
            "beta 0.01",
            call(answer, reference, rewards, 0.01),
            torch.tensor([0.0, 0.25, 0.0, 0.1]) / 0.35,
            "among the best, the proportions of the reference stay",
        )
        yield

    run_check(cases, "no other distribution is worth more at this price")
