"""Run a benchmark by its name: `python -m bench training_step --quick`.

Without a name, or with options only, it is `training_step`.
"""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = (
    "training_step",
    "time_to_loss",
    "generation",
    "tokenizer",
    "preparation",
    "batching",
    "attention",
    "gpu",
    "threads",
    "overfitting",
    "health",
    "finetuning",
    "reinforcement",
    "evaluation",
    "first_step",
    "speeds",
    "popular_account",
    "speedrun",
    "records",
)


def main(arguments: list[str]) -> int:
    name = arguments[0] if arguments and not arguments[0].startswith("-") else "training_step"
    if name not in BENCHMARKS:
        print(f"bench: no benchmark {name!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    return importlib.import_module(f"bench.{name}").main(arguments[arguments[:1] == [name] :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
