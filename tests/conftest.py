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

    Where tests run side by side, a file's stay together, and so do all that look at the
    rendered book: it is built once.
    """
    for item in items:
        rendered = item.path.parent.name == "browser" or item.path.name == "test_site.py"
        item.add_marker(pytest.mark.xdist_group("book" if rendered else str(item.path)))
    if not torch.cuda.is_available():
        mark(items, "gpu", pytest.mark.skip(reason="no CUDA device on this machine"))
    if any("network" in item.keywords for item in items) and not hub_answers():
        mark(items, "network", pytest.mark.skip(reason=f"{HUB} cannot be reached"))


def mark(items: list[pytest.Item], name: str, marker: pytest.MarkDecorator) -> None:
    """Put a marker on every test that carries the marker `name`."""
    for item in items:
        if item.get_closest_marker(name):
            item.add_marker(marker)
