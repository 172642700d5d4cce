"""How many threads of the processor: by the size of the work, and by what is free.

PyTorch takes one for each core, and at the end of every operation all wait for the last
of them. Where another program keeps a core busy, one is always late, and a small model,
with its thousands of short operations, becomes many times slower than with one thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from mini_gpt.model import GPT
from mini_gpt.support.modes import without_training
from mini_gpt.support.sharding import is_sharded

# A pass with fewer operations than this is over before several threads have begun.
_SMALL = 2**24
_LARGE = 2**29  # of a pass that is tried; more tokens would tell no more
_TURN, _TURNS = 0.02, 3  # seconds of one number of threads, and how often it is tried
_WORTH_IT = 0.85  # what more threads must get the time down to
# Whether somebody further out has chosen the number of threads, or was asked for one.
_decided: ContextVar[str | None] = ContextVar("_decided", default=None)


@contextmanager
def fitting_threads(model: GPT, tokens: int, count: int | None = None) -> Iterator[int]:
    """As many threads inside as a model can use; before and after, those there were.

    Who has asked PyTorch for fewer threads than there are cores gets no more of them.
    Inside another `fitting_threads`, that one has decided.

    Args:
        model: A model on its device; on any but the CPU, nothing is changed.
        tokens: How many tokens it is given at once, over all rows.
        count: Take so many, whatever seems best, as a run that goes on to the last bit
            must: a sum over more threads is made in another order. None: choose.

    Yields:
        How many there are.
    """
    if _decided.get() is not None:
        yield torch.get_num_threads()
        return
    before = torch.get_num_threads()
    decided = _decided.set("chosen" if count is None else "asked for")
    try:
        torch.set_num_threads(count or choose_threads(model, tokens))
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
        _decided.reset(decided)


def keep_threads(count: int) -> None:
    """Take so many inside `fitting_threads`, unless somebody has asked for a number."""
    if _decided.get() == "chosen":
        torch.set_num_threads(count)


@contextmanager
def one_if_small(parameters: int, tokens: int) -> Iterator[None]:
    """One thread inside, if a pass is too small for several; nothing is tried.

    Args:
        parameters: Of the model.
        tokens: How many tokens it is given at once, over all rows.
    """
    before = torch.get_num_threads()
    if before == 1 or 2 * parameters * tokens >= _SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_threads(model: GPT, tokens: int) -> int:
    """How many threads are fastest for passes of so many tokens, as things are now.

    One for small passes, always. For others the model itself is tried, which takes some
    tenths of a second and changes nothing.
    """
    most = torch.get_num_threads()
    device = next(model.parameters()).device
    # A sharded model computes only when all processes ask it to, equally often.
    if most == 1 or device.type != "cpu" or is_sharded(model):
        return most
    per_token = 2 * sum(weights.numel() for weights in model.parameters())
    if per_token * tokens < _SMALL:
        return 1
    tokens = min(tokens, max(1, _LARGE // per_token))
    time_ = min(tokens, model.config.context_length)
    ids = torch.zeros(tokens // time_, time_, dtype=torch.long)
    with without_training(model.modules()), torch.no_grad():
        return fastest(candidates(most), lambda: model(ids))


def candidates(most: int) -> list[int]:
    """The numbers of threads that are tried: powers of two, one less than all, all."""
    powers = [2**power for power in range(most.bit_length())]
    return sorted({*powers, most - 1, most} - {0})


def fastest(counts: list[int], work: Callable[[], object]) -> int:
    """The number of threads with which some work takes the least time.

    They take turns, so that what else happens on the machine meets all alike; who is
    far behind takes no further turn. Of two that take about as long, the smaller number
    wins: it leaves more to others.
    """
    before = torch.get_num_threads()

    def seconds(count: int, at_most: float) -> float:
        torch.set_num_threads(count)
        start = time.perf_counter()
        work()  # the threads have to be woken; so slow, they need not be tried again
        if (first := time.perf_counter() - start) > at_most:
            return first
        times, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < _TURN:
            work()
            times += 1
        return passed / times

    try:
        taken: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(_TURNS if len(counts) > 1 else 0):
            least = math.inf
            for count in taken:
                taken[count].append(seconds(count, 3 * least + _TURN))
                least = min(least, taken[count][-1])
            least = min(map(sum, taken.values()))
            taken = {n: each for n, each in taken.items() if sum(each) < 1.5 * least}
    finally:
        torch.set_num_threads(before)
    best, *others = taken
    for count in others:
        if sum(taken[count]) < _WORTH_IT * sum(taken[best]):
            best = count
    return best
