"""For every test: drawing without windows, and visible skips for what this machine lacks."""

from __future__ import annotations

import os
import signal
import socket

import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")
# Who starts us in the background may have us ignore these, and with us each process that a test
# starts. A handler of ours is not inherited: they begin as they would in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, lambda number, frame: None)
HUB = "huggingface.co"


def hub_answers() -> bool:
    """Whether the Hugging Face hub can be reached."""
    try:
        socket.create_connection((HUB, 443), timeout=3).close()
    except OSError:
        return False
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU or the hub where there is none, and say so; group what shares.

    Where tests run side by side, those of a file stay together. The file that looks at every
    page is the longest by far, and is cut by the mode of the page.
    """
    for item in items:
        dark = "dark" in item.name.rpartition("[")[2] and item.path.name == "test_pages.py"
        item.add_marker(pytest.mark.xdist_group(f"{item.path}{' in the dark' * dark}"))
    if not torch.cuda.is_available():
        mark(items, "gpu", pytest.mark.skip(reason="no CUDA device on this machine"))
    if any("network" in item.keywords for item in items) and not hub_answers():
        mark(items, "network", pytest.mark.skip(reason=f"{HUB} cannot be reached"))


def mark(items: list[pytest.Item], name: str, marker: pytest.MarkDecorator) -> None:
    """Put a marker on every test that carries the marker `name`."""
    for item in items:
        if item.get_closest_marker(name):
            item.add_marker(marker)
