"""How long `import mini_gpt` and `mini-gpt --help` take, beside `import torch`.

    python bench/import_time.py

Neither can do without torch. Each runs in a fresh interpreter, all in turns; medians are reported.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 5
# What is run, by its name. Help is printed too, but not to us.
HELP = """
import contextlib, io
from mini_gpt.commands.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main([{words}])
"""
RUNS = {
    "import torch": "import torch",
    "import mini_gpt": "import mini_gpt",
    "mini-gpt --help": HELP.format(words='"--help"'),
    "mini-gpt train --help": HELP.format(words='"train", "--help"'),
}


def seconds_of(source: str) -> float:
    """Seconds that a fresh interpreter takes for some lines."""
    code = f"import time\nstart = time.perf_counter()\n{source}\nprint(time.perf_counter() - start)"
    return float(subprocess.check_output([sys.executable, "-c", code], text=True))


def main() -> None:
    for source in RUNS.values():
        seconds_of(source)  # once for the disk's cache and the compiled files
    times: dict[str, list[float]] = {name: [] for name in RUNS}
    for _ in range(ROUNDS):
        for name, source in RUNS.items():
            times[name].append(seconds_of(source))
    for name, found in times.items():
        pairs = zip(found, times["import torch"], strict=True)
        ratio = statistics.median(mine / torchs for mine, torchs in pairs)
        spread = f"{min(found):.2f} to {max(found):.2f}, median of {ROUNDS}"
        print(f"{name:<24}{statistics.median(found):6.2f} s, {ratio:.2f} times torch  ({spread})")


if __name__ == "__main__":
    main()
