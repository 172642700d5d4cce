"""The launch and download buttons lead to the readers' notebooks (tools/reader_notebooks.py).

What stands in `book/` is written for this site. The download button gets the reader's edition of
the chapter, with its solutions beside it; the Colab button opens the same from the branch
`notebooks`, to which the publishing workflow pushes both.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

import reader_notebooks
from chapters import chapters

BRANCH = "notebooks"


def lead_to_editions(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Turn each Colab link from the source to the reader's edition."""
    old = f"/blob/{app.config.book_repository_branch}/{pagename}.ipynb"
    new = f"/blob/{BRANCH}/{Path(pagename).name}.ipynb"
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", [group]):
            if "colab" in button.get("url", ""):
                button["url"] = button["url"].replace(old, new)


def write_editions(app: Sphinx, exception: Exception | None) -> None:
    """Put both editions where the download button looks for the source."""
    root = Path(app.srcdir)
    if exception is not None or app.builder.name != "html" or not chapters(root):
        return
    reader_notebooks.write(
        Path(app.outdir, "_sources", "book"),
        app.config.book_repository_url,
        app.config.book_repository_branch,
        root,
    )


def setup(app: Sphinx) -> dict[str, bool]:
    # After the theme has made its buttons.
    app.connect("html-page-context", lead_to_editions, priority=900)
    app.connect("build-finished", write_editions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
