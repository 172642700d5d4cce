"""What `python -m bench reinforcement` found, in the form that its chapter shows."""

from __future__ import annotations

from typing import Any

from mini_gpt.support.stored_results import stored_result

KS = (1, 2, 4, 8, 16, 32, 64)
VERSE = ("ten", "covered", "different", "words", "distance", "surprisal")
_SHOWN = 3  # lines of a model


def kinds() -> list[str]:
    """The kinds of run, in the order in which they are made."""
    return list(stored_result("reinforcement")["runs"])


def _seeds(kind: str) -> list[dict[str, Any]]:
    """The runs of a kind, one for each seed, in order."""
    runs: list[dict[str, Any]] = stored_result("reinforcement")["runs"][kind]
    return runs


def rewards(kind: str) -> list[list[float]]:
    """For each seed the mean reward of a few steps each, from 0 to 1."""
    return [run["rewards"] for run in _seeds(kind)]


def pass_at(kind: str, when: str) -> list[list[float]]:
    """For each seed pass@k at the values of `KS`, "before" or "after"."""
    return [run[when]["pass@k"] for run in _seeds(kind)]


def others(kind: str, when: str) -> list[list[float]]:
    """For each seed the share of right greedy answers, and of majorities of 16."""
    names = ("greedy", "majority of 16")
    return [[run[when][name] for name in names] for run in _seeds(kind)]


def verse(kind: str, when: str) -> list[dict[str, float]]:
    """For each seed what the lines of a model are like, by the names in `VERSE`."""
    return [{name: run[when][name] for name in VERSE} for run in _seeds(kind)]


def samples(kind: str) -> list[list[str]]:
    """For each seed the first lines that the model wrote after training."""
    return [run["after"]["samples"][:_SHOWN] for run in _seeds(kind)]
