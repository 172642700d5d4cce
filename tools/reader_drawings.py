"""Drawings as every program for notebooks shows them, also those that trust no SVG."""

from __future__ import annotations

import base64
import io
import re
from html import escape, unescape

import nbformat
from PIL import Image

DRAWING = re.compile(r'\s*<div class="drawing">(<svg.*</svg>)</div>\s*', re.DOTALL)
LABEL = re.compile(r"""aria-label=(["'])(.*?)\1""")
WIDTH = re.compile(r'<svg[^>]* width="(\d+)')


def shown_anywhere(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An output whose pictures every program shows, and at their size.

    JupyterLab takes SVG out of a notebook that it does not trust and leaves its words; an image
    with the drawing as its address stays.
    """
    data = output.get("data", {})
    html = data.get("text/html", "")
    if drawing := DRAWING.fullmatch(html):
        label, width = LABEL.search(html), WIDTH.search(html)
        if label is None or width is None:
            raise ValueError("a drawing without an alternative text or a width")
        encoded = base64.b64encode(drawing[1].encode()).decode("ascii")
        address = f"data:image/svg+xml;base64,{encoded}"
        said = escape(unescape(label[2]))
        image = f'<img src="{address}" width="{width[1]}" alt="{said}">'
        kept = {name: value for name, value in data.items() if name != "image/svg+xml"}
        output = nbformat.from_dict({**output, "data": {**kept, "text/html": image}})
    if "image/png" in data:
        with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
            inches = picture.width / picture.info.get("dpi", (96, 96))[0]
            size = {"width": round(96 * inches)}
        metadata = {**output.get("metadata", {}), "image/png": size}
        output = nbformat.from_dict({**output, "metadata": metadata})
    return output
