"""What every part of the measurement is given."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from mini_gpt.config import GPTConfig

ROOT = Path(__file__).resolve().parents[2]
GPT2 = GPTConfig(pad_vocab_to_multiple=128)
SMALL = GPTConfig(65, 256, 6, 6, 384, position="rotary", dropout=0.25)
TINY = GPTConfig(17, 16, 2, 2, 8, pad_vocab_to_multiple=8)
Result = dict[str, Any]


@dataclass
class Bench:
    """What every part is given.

    Attributes:
        tiny: Whether all sizes are minuscule, on the CPU if there is no card.
        corpus: A text file, or None.
        deadline: When to stop, by the clock of `time.monotonic`.
        left_out: What was not measured, and why.
    """

    device: torch.device
    tiny: bool
    corpus: Path | None
    deadline: float
    left_out: list[str] = field(default_factory=list)

    @property
    def precision(self) -> Literal["bfloat16"]:
        return "bfloat16"

    def wait(self) -> None:
        """Until the card has done all that was asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], repeats: int, warm_up: int = 2) -> float:
        """Seconds that one run takes, of several in a row."""
        for _ in range(warm_up):
            run()
        self.wait()
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        self.wait()
        return (time.perf_counter() - start) / repeats

    def has_time(self, what: str, seconds: float) -> bool:
        """Whether something that takes about so long can still be done; else it is named."""
        if time.monotonic() + (0 if self.tiny else seconds) < self.deadline:
            return True
        self.left_out.append(f"{what}: no time left")
        return False

    def has(self, package: str, what: str) -> bool:
        """Whether a peer is installed; else it is named."""
        if importlib.util.find_spec(package) is not None:
            return True
        self.left_out.append(f"{what}: {package} is not installed")
        return False


def memory(bench: Bench) -> Result:
    """The most memory that was taken since it was last asked to begin."""
    if bench.device.type != "cuda":
        return {}
    return {"peak_gigabytes": torch.cuda.max_memory_allocated() / 2**30}
