"""Live parts of the pages: each at the place where its question is asked, named in `book/live.yml`.

A live part is a box with a title, a question and a text for readers without scripts. The scripts of
`_static/live/` fill the box when it comes into view. The model's weights are written here, as a
script, from the folder that the package ships, and are loaded when a reader presses the button.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from book_languages import is_called, speaker

logger = logging.getLogger(__name__)

SCRIPTS = ("live/model.js", "live/base.js", "live/widgets.js", "live/model_widgets.js")
SHIPPED = Path("mini_gpt", "pretrained", "shakespeare")


def parts(app: Sphinx) -> dict[str, list[dict[str, str]]]:
    """What `book/live.yml` says; nothing for a book that has no such file."""
    listed = Path(app.srcdir, "book", "live.yml")
    return yaml.safe_load(listed.read_text(encoding="utf-8")) if listed.exists() else {}


def box(part: dict[str, str], number: int, say: Callable[[str], str] = str) -> str:
    """A live part as HTML, before its script has run.

    Args:
        say: gives our words in the language of the book.
    """
    name = f"live-{part['widget']}-{number}"
    return (
        f'<section class="live" data-widget="{escape(part["widget"])}" aria-labelledby="{name}">'
        f'<p class="live-title" id="{name}">{escape(say(part["title"]))}</p>'
        f'<p class="live-asks">{escape(say(part["asks"]))}</p>'
        f'<div class="live-body"><p class="live-still">{escape(say(part["still"]))}</p></div>'
        "</section>"
    )


def place_parts(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put each live part at the end of its section, before the subsections."""
    if app.builder.name != "html":
        return
    for number, part in enumerate(parts(app).get(docname, ())):
        named = [
            section
            for section in doctree.findall(nodes.section)
            if is_called(section, part["after"])
        ]
        if len(named) != 1:
            logger.warning(
                "live.yml: %s has %d sections %r", docname, len(named), part["after"], type="live"
            )
            continue
        [section] = named
        inner = [place for place, node in enumerate(section) if isinstance(node, nodes.section)]
        section.insert(
            min(inner, default=len(section)),
            nodes.raw("", box(part, number, speaker(app.config)), format="html"),
        )


def load_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """The scripts go only where there is something to fill."""
    if parts(app).get(pagename):
        for script in SCRIPTS:
            app.add_js_file(script)


def weights_script(folder: Path) -> str:
    """The shipped model as a script: its shape, its tokens, and its weights as base64."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "mini_gpt_tokenizer.json").read_text(encoding="utf-8"))
    data = base64.b64encode((folder / "model.safetensors").read_bytes()).decode("ascii")
    shape = {name: config[name] for name in ("layers", "heads", "width", "context_length")}
    model = {"config": shape, "tokens": tokenizer["tokens"], "data": data}
    return f"window.LIVE_WEIGHTS = {json.dumps(model)};\n"


def write_weights(app: Sphinx, exception: Exception | None) -> None:
    """Write the weights beside the scripts, if a page asks for them."""
    if exception is None and app.builder.name == "html" and parts(app):
        script = weights_script(Path(app.srcdir) / SHIPPED)
        Path(app.outdir, "_static", "live", "weights.js").write_text(script, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", place_parts)
    app.connect("html-page-context", load_scripts)
    app.connect("build-finished", write_weights)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
