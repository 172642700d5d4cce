"""Store what GPT-2's released weights say in the chapter that reads them.

    python tools/gpt2_outputs.py      what `make gpt2-outputs` runs

It needs the Hugging Face hub, or its cache with the weights in it. The chapter is then run as
always: it finds the weights in the cache. Where they cannot be had, nothing is changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from mini_gpt.support.hub import local_folder

import chapters as toc
import notebooks

NAME = "openai-community/gpt2"
SAID = "These are the released weights."


def refresh(notebook: Path) -> int:
    """Run the chapter with the released weights in the hub's cache; 1 if it cannot be."""
    try:
        local_folder(NAME)
    except (OSError, ValueError) as fault:
        print(f"nothing was changed: {fault}")
        return 1
    before = notebook.read_bytes()
    notebooks.execute(notebook)
    cells = nbformat.read(notebook, as_version=4).cells
    if not any(SAID in output.get("text", "") for c in cells for output in c.get("outputs", [])):
        notebook.write_bytes(before)
        print("nothing was changed: the chapter did not find the weights in the cache")
        return 1
    print(f"{notebook.name} shows what the released weights say")
    return 0


if __name__ == "__main__":
    sys.exit(refresh(toc.chapter("gpt2").notebook))
