"""Results, what bounds them, and the table of both."""

from __future__ import annotations

import datetime
import platform
from typing import Any

import torch

from bench import harness
from bench.gpu.common import Result


def roofline(parts: dict[str, list[Result]]) -> list[Result]:
    """What each measurement could be at most, by what the card was measured to do.

    A training step is bound by its products: their operations over the measured speed. A token is
    bound by memory: a step reads all weights once, whatever the number of rows.
    """
    card = {result["name"]: result for result in parts.get("card", [])}
    if not {"product", "memory"} <= card.keys():
        return []
    rows: list[Result] = []
    for part in ("step", "small", "pretraining"):
        for found in parts.get(part, []):
            bound = found["tokens_per_second"] * card["product"]["teraflops"] / found["teraflops"]
            rows.append(bounded(part, found, bound, "products"))
    for found in parts.get("writing", []):
        if "bytes_a_step" in found:
            speed = card["memory"]["gigabytes_per_second"] * 1e9
            bound = found["rows"] * speed / found["bytes_a_step"]
            rows.append(bounded(f"writing {found['rows']}", found, bound, "memory"))
    return rows


def bounded(part: str, found: Result, bound: float, by: str) -> Result:
    speed = found["tokens_per_second"]
    return {
        "part": part,
        "name": found["name"],
        "tokens_per_second": speed,
        "bound": bound,
        "bound_by": by,
        "share": speed / bound,
    }


def said(value: object) -> str:
    """A value for the table: three digits where it is a fraction."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(record: dict[str, Any]) -> str:
    """All results, a table for each part, and what was left out."""
    machine = record["environment"]
    lines = [
        "# On a graphics card\n",
        f"Measured on {machine['date']}: {machine['card']}, torch {machine['torch']}, "
        f"CUDA {machine['cuda']}, Python {machine['python']}.\n",
    ]
    for part, results in [*record["parts"].items(), ("roofline", record["roofline"])]:
        if not results:
            continue
        names = list(dict.fromkeys(name for result in results for name in result))
        rows = [[said(result.get(name, "-")) for name in names] for result in results]
        lines += [f"## {part}\n", harness.table([n.replace("_", " ") for n in names], rows)]
    if record["left_out"]:
        lines.append("Left out: " + "; ".join(record["left_out"]) + ".\n")
    return "\n".join(lines)


def environment(device: torch.device) -> dict[str, Any]:
    """The card, versions and the date."""
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no card (CPU)"
    return {
        "card": card,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def rounded(result: Result) -> Result:
    """Numbers to what a clock can tell."""
    return {
        name: float(f"{value:.5g}") if isinstance(value, float) else value
        for name, value in result.items()
    }
