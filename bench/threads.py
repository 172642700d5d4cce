"""One thread, all of them, or as many as fit: alone, and with a busy program beside.

    python -m bench threads

The busy program is a loop in a process of its own that is never done, one for each `--busy`. The
choice is made anew before each contest, as `mini-gpt` makes it, and its time is not counted.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from bench import harness
from mini_gpt.config import GPTConfig
from mini_gpt.generation import InferenceSession
from mini_gpt.model import GPT
from mini_gpt.support.threads import choose_threads
from mini_gpt.trainer import Stepper, TrainConfig

README = GPTConfig(84, 64, 2, 2, 64)  # the example of the README, and what the demo trains
DEMO = GPTConfig(84, 64, 4, 4, 128, position="rotary")
SHIPPED = GPTConfig(84, 256, 6, 6, 192)
TINY = GPTConfig(17, 8, 1, 2, 8)


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """So many processes beside us that are never done."""
    words = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(words) for _ in range(programs)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def training(shape: GPTConfig, rows: int) -> tuple[GPT, int, Callable[[], object]]:
    """A model, how many tokens it gets at once, and a step of its training."""
    tokens = np.random.default_rng(0).integers(shape.vocab_size, size=10_000)
    stepper = Stepper(GPT(shape), tokens, TrainConfig(batch_size=rows, device="cpu"))
    return stepper.model, rows * shape.context_length, stepper.step


def writing(shape: GPTConfig, tokens: int) -> tuple[GPT, int, Callable[[], object]]:
    """A model, and a text that it writes token by token."""
    model = GPT(shape).eval()

    def write() -> None:
        session = InferenceSession(model)
        for _ in range(tokens):
            session.feed([[1]])

    return model, 1, write


def works(tiny: bool) -> dict[str, tuple[GPT, int, Callable[[], object]]]:
    """What is timed, by its name."""
    torch.manual_seed(0)
    return {
        "step of the README's example": training(TINY if tiny else README, 3 if tiny else 16),
        "step of the demo": training(TINY if tiny else DEMO, 3 if tiny else 12),
        "20 tokens, 6 layers of width 192": writing(TINY if tiny else SHIPPED, 2 if tiny else 20),
    }


def with_threads(count: int, work: Callable[[], object]) -> Callable[[], None]:
    """The same work with so many threads."""

    def run() -> None:
        torch.set_num_threads(count)
        work()

    return run


def main(arguments: list[str]) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--busy", type=int, default=1, help="programs beside us, the second time")
    options = parser.parse_args(arguments)
    effort, machine = harness.prepare(options), harness.environment()
    most, rows, found = torch.get_num_threads(), [], []
    for programs in (0, options.busy):
        with busy(programs):
            for name, (model, tokens, work) in works(options.quick).items():
                torch.set_num_threads(most)
                chosen = choose_threads(model, tokens)
                contest = {str(n): with_threads(n, work) for n in sorted({1, most, chosen})}
                timings = harness.contest(contest, effort)
                torch.set_num_threads(most)
                ms = {count: 1e3 * timing.median for count, timing in timings.items()}
                times = [f"{ms['1']:.1f}", f"{ms[str(most)]:.1f}"]
                rows.append([name, str(programs), *times, str(chosen)])
                found.append({"work": name, "busy": programs, "chosen": chosen, "ms": ms})
                print(*rows[-1], sep=", ", flush=True)
    header = ["work", "busy programs", "one thread, ms", f"{most} threads, ms", "chosen"]
    words = harness.said_of(machine, effort)
    markdown = f"# Threads\n\n{words}\n{harness.table(header, rows)}"
    harness.save("threads", {"environment": machine, "results": found}, markdown, options.out)
    print(f"\n{markdown}")
    return 0
