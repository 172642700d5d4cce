"""What a graphics card makes of it: training steps, Muon, a recipe's end, and writing.

    python -m bench gpu --corpus FILE          all parts, in at most eight minutes: gpu.json, gpu.md
    python -m bench gpu --only writing step    these parts only, into the results there are
    python -m bench gpu --tiny --out FOLDER    minuscule sizes, on a CPU too, to see that it runs

It runs from a plain checkout, needs no network, and prints each result as soon as it has it. A
peer that is not installed is left out, and so is the recipe where no corpus is given; what did not
fit the time is named. Compiling is timed apart. Bounds come from two measurements of the same card:
how fast it multiplies large bfloat16 matrices, and how fast it copies memory.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from bench import harness
from bench.gpu.card import gpu_tests, measured_card
from bench.gpu.common import Bench, Result
from bench.gpu.losses import losses
from bench.gpu.recipe import recipe
from bench.gpu.report import environment, roofline, rounded, table
from bench.gpu.training import pretraining, small_steps, steps
from bench.gpu.writing import writing

PARTS: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "card": measured_card,
    "step": steps,
    "writing": writing,
    "small": small_steps,
    "recipe": recipe,
    "loss": losses,
    "pretraining": pretraining,
    "tests": gpu_tests,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts; returns the exit status, 1 if one failed."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--corpus", type=Path, help="a text file, for the recipe")
    parser.add_argument("--tiny", action="store_true", help="minuscule sizes; needs no card")
    parser.add_argument("--seconds", type=float, default=480, help="to be over by then")
    options = parser.parse_args(arguments)
    tiny, cuda = options.tiny or options.quick, torch.cuda.is_available()
    if not cuda and not tiny:
        print("gpu: there is no CUDA card here; --tiny shows that it runs", file=sys.stderr)
        return 2
    device = torch.device("cuda" if cuda else "cpu")
    bench = Bench(device, tiny, options.corpus, time.monotonic() + options.seconds)
    machine, failed = environment(device), False
    parts: dict[str, list[Result]] = {}
    path = options.out / "gpu.json"
    if path.exists() and len(options.only) < len(PARTS):
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["environment"]["card"] == machine["card"]:  # else the numbers would mix
            parts = before["parts"]
    for part in options.only:
        parts[part] = []
        try:
            for result in PARTS[part](bench):
                parts[part].append(rounded(result))
                print(f"{part}: {json.dumps(parts[part][-1])}", flush=True)
        except Exception as fault:  # a part that fails does not cost the others
            failed = True
            traceback.print_exc()
            bench.left_out.append(f"{part}: {type(fault).__name__}")
        record = {
            "environment": machine,
            "parts": {name: parts[name] for name in PARTS if name in parts},
            "roofline": [rounded(row) for row in roofline(parts)],
            "left_out": bench.left_out,
        }
        harness.save("gpu", record, table(record), options.out)
        torch.compiler.reset()
        if cuda:
            torch.cuda.empty_cache()
    print(f"\n{table(record)}", flush=True)
    if cuda and not tiny and options.out == harness.RESULTS:
        from bench import speeds  # which imports a part of this package

        speeds.main([])  # mini-gpt plan knows this card from now on
    return int(failed)
