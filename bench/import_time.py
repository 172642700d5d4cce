"""How long `import mini_gpt` takes, beside `import torch`, which it cannot do without.

    python bench/import_time.py

Each import runs in a fresh interpreter, the two alternating; medians are reported.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 5
MODULES = "torch", "mini_gpt"


def seconds_to_import(module: str) -> float:
    """Seconds that a fresh interpreter takes to import a module."""
    code = (
        "import time; start = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - start)"
    )
    return float(subprocess.check_output([sys.executable, "-c", code], text=True))


def main() -> None:
    for module in MODULES:
        seconds_to_import(module)  # once for the disk's cache and the compiled files
    times: dict[str, list[float]] = {module: [] for module in MODULES}
    for _ in range(ROUNDS):
        for module in MODULES:
            times[module].append(seconds_to_import(module))
    medians = {module: statistics.median(values) for module, values in times.items()}
    for module, median in medians.items():
        spread = f"{min(times[module]):.2f} to {max(times[module]):.2f}"
        print(f"import {module:<10}{median:6.2f} s   ({spread}, median of {ROUNDS})")
    print(f"ratio            {medians['mini_gpt'] / medians['torch']:6.2f}")


if __name__ == "__main__":
    main()
