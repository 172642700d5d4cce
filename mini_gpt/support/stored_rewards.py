"""What `python -m bench reinforcement` found, in the form that its chapter shows.

The numbers are in `reward_table.py`, which the benchmark writes (`--store`).
"""

from __future__ import annotations

from mini_gpt.support.reward_table import RUNS, SAMPLES

KS = (1, 2, 4, 8, 16, 32, 64)
VERSE = ("ten", "covered", "different", "words", "distance", "surprisal")

Run = dict[str, dict[str, float]]


def _parse(table: str) -> dict[tuple[str, int, str], list[float]]:
    """The numbers by kind of run, seed, and what they are."""
    rows: list[str] = []
    for line in table.strip().splitlines():
        if line.startswith(" "):  # goes on with the line before
            rows[-1] += line
        else:
            rows.append(line)
    found = {}
    for row in rows:
        kind, seed, name, numbers = row.split(";")
        values = [float(number) for number in numbers.split()]
        found[kind, int(seed), name.strip()] = values
    return found


_NUMBERS = _parse(RUNS)
KINDS = tuple(dict.fromkeys(kind for kind, _, _ in _NUMBERS))


def _seeds(kind: str, name: str) -> list[list[float]]:
    """One list for each seed, in order."""
    rows = sorted(_NUMBERS.items())
    return [row for (k, _, n), row in rows if (k, n) == (kind, name)]


def rewards(kind: str) -> list[list[float]]:
    """For each seed the mean reward of a few steps each, from 0 to 1."""
    return [[value / 100 for value in row] for row in _seeds(kind, "rewards")]


def pass_at(kind: str, when: str) -> list[list[float]]:
    """For each seed pass@k at the values of `KS`, "before" or "after"."""
    return [row[: len(KS)] for row in _seeds(kind, when)]


def others(kind: str, when: str) -> list[list[float]]:
    """For each seed the share of right greedy answers, and of majorities of 16."""
    return [row[len(KS) :] for row in _seeds(kind, when)]


def verse(kind: str, when: str) -> list[dict[str, float]]:
    """For each seed what the lines of a model are like, by the names in `VERSE`."""
    return [dict(zip(VERSE, row, strict=True)) for row in _seeds(kind, when)]


def samples(kind: str) -> list[list[str]]:
    """For each seed the first lines that the model wrote after training."""
    return SAMPLES[kind]
