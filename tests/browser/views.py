"""How readers look at the pages."""

from __future__ import annotations

from typing import NamedTuple

# In a page: wait until MathJax, where the page has it, is done.
TYPESET = "async () => { await window.MathJax?.startup?.promise; }"


class View(NamedTuple):
    """A window onto the book."""

    mode: str  # light or dark
    width: int  # in pixels


VIEWS = [View(mode, width) for mode in ("light", "dark") for width in (1280, 390)]
