"""What a card can do by itself, and whether its tests pass."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import torch

from bench.gpu.common import ROOT, Bench, Result


def measured_card(bench: Bench) -> Iterator[Result]:
    """How fast it multiplies, and how fast it copies: what bounds all that follows."""
    size = 64 if bench.tiny else 8192
    left, right = torch.randn(2, size, size, device=bench.device, dtype=torch.bfloat16)
    seconds = bench.seconds(lambda: left @ right, 3 if bench.tiny else 30)
    yield {"name": "product", "teraflops": 2 * size**3 / seconds / 1e12}
    numbers = torch.ones(2**14 if bench.tiny else 2**28, device=bench.device)
    copy = torch.empty_like(numbers)
    seconds = bench.seconds(lambda: copy.copy_(numbers), 3 if bench.tiny else 20)
    yield {"name": "memory", "gigabytes_per_second": 2 * 4 * len(numbers) / seconds / 1e9}


def gpu_tests(bench: Bench) -> Iterator[Result]:
    """The tests that need a card."""
    if bench.tiny or not bench.has("pytest", "the tests"):
        return
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]
    start = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    last = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()[-1]
    yield {
        "name": "pytest tests/gpu",
        "passed": done.returncode == 0,
        "said": last,
        "seconds": time.perf_counter() - start,
    }
