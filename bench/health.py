"""Does `check_model` find nothing in healthy models? Every preset, over some seeds.

    python -m bench health                       all presets, some ten minutes on one core
    python -m bench health --only gpt2-medium    this one only, into the results there are
    python -m bench health --quick --out FOLDER  minuscule sizes, to see that it runs

The two presets of Shakespeare are also asked in the tests, over ten seeds. GPT-2 small is asked
whole, over three seeds. The three larger ones do not fit the memory of a small machine, or its
patience (the question about gradients computes in double precision), so a fifth of their layers,
heads and width stands for each, with the whole vocabulary and context, over three seeds or ten.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from typing import Any

import torch

from bench import harness
from mini_gpt.config import PRESETS, GPTConfig
from mini_gpt.diagnostics import check_model, count_parameters
from mini_gpt.model import GPT

SEEDS = dict.fromkeys(PRESETS, 10) | {"gpt2": 3, "gpt2-medium": 3}
# By what layers, heads and width are divided.
PART = {"gpt2-medium": 5, "gpt2-large": 5, "gpt2-xl": 5}


def shape_of(name: str, quick: bool = False) -> GPTConfig:
    """The preset, or the part of it that can be asked."""
    config, part = GPTConfig.preset(name), PART.get(name, 1)
    if quick:
        return replace(config, vocab_size=17, context_length=12, layers=2, heads=2, width=24)
    return replace(
        config,
        layers=config.layers // part,
        heads=config.heads // part,
        width=config.width // part,
    )


def ask(name: str, seeds: int, quick: bool = False) -> dict[str, Any]:
    """What `check_model` says of one preset, seed by seed."""
    config, faults, began = shape_of(name, quick), {}, time.process_time()
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = GPT(config)
        if said := check_model(model):
            faults[seed] = said
    return {
        "shape": asdict(config),
        "part": PART.get(name, 1),
        "parameters": count_parameters(model),
        "seeds": seeds,
        "faults": faults,
        "minutes": round((time.process_time() - began) / 60, 2),
    }


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    rows = [
        [
            name if one["part"] == 1 else f"{name}, 1/{one['part']} of layers, heads and width",
            f"{one['parameters']:,}",
            str(one["seeds"]),
            str(len(one["faults"])),
            f"{one['minutes']:.1f}",
        ]
        for name, one in results["presets"].items()
    ]
    header = ["preset", "parameters", "seeds", "with a fault", "minutes of one core"]
    said = "# `check_model` on healthy presets\n\nSix questions to new models; "
    return f"{said}none should find a fault. `python -m bench health`\n\n" + harness.table(
        header, rows
    )


def main(arguments: list[str] | None = None) -> int:
    """Ask all presets, and write what came of it; returns 1 if a healthy one was faulted."""
    parser = harness.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PRESETS, default=list(PRESETS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads or 1)
    path = options.out / "health.json"
    found: dict[str, Any] = {}
    if path.exists() and len(options.only) < len(PRESETS):
        found = json.loads(path.read_text(encoding="utf-8"))["presets"]
    for name in options.only:
        found[name] = ask(name, 1 if options.quick else SEEDS[name], options.quick)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    results = {
        "environment": harness.environment(),
        "presets": {name: found[name] for name in PRESETS if name in found},
    }
    harness.save("health", results, table(results), options.out)
    print(table(results))
    return int(any(one["faults"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
