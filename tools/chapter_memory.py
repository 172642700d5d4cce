"""A pytest plugin beside nbval: a chapter takes no more memory than its cost line says.

    python -m pytest -p chapter_memory --nbval ...

After a notebook's last cell the peak of its kernel (VmHWM, as Linux counts it) is compared with
"0.5 GB of memory" in the paragraph that begins with **Cost.**; where there is no /proc, nothing
is compared. The lines say "about", so a peak may be a sixth above.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

LEEWAY = 7 / 6
AMOUNT = re.compile(r"([\d.]+)\s(GB|MB)\sof\smemory")


def promised(notebook: nbformat.NotebookNode) -> float:
    """Gigabytes of memory that a chapter's cost line promises to stay within.

    Raises:
        ValueError: unless the line gives one amount "of memory".
    """
    opening = notebook.cells[0].source
    cost = opening.partition("**Cost.**")[2].split("\n\n")[0]
    amounts = AMOUNT.findall(cost)
    if len(amounts) != 1:
        raise ValueError(f"the cost line gives {len(amounts)} amounts of memory: {cost.strip()!r}")
    number, unit = amounts[0]
    return float(number) / (1 if unit == "GB" else 1000)


def peak(process: int) -> float | None:
    """The most memory that a process has held so far, in gigabytes; None where unknown."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(found[1]) * 1024 / 1e9 if found else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: Any, nextitem: Any) -> None:
    """After the last cell, before the kernel is stopped."""
    notebook = item.parent
    if not hasattr(notebook, "kernel") or getattr(nextitem, "parent", None) is notebook:
        return
    held = peak(notebook.kernel.km.provisioner.process.pid)
    said = promised(notebook.nb)
    if held is not None:
        print(f"peak {held:.2f} GB of {said:g} GB promised")
        assert held <= said * LEEWAY, (
            f"{notebook.path.name} took {held:.2f} GB of memory; its cost line says {said:g} GB"
        )
