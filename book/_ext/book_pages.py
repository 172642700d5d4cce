"""Small repairs to what the theme and the other extensions write.

* Figures are shown at the size that they were drawn for.
* The exercises and solutions of sphinx-exercise all carry the same id; here each gets its own.
* The bibliography's entries have a role that is no longer a role; what they are in is a list.
* The theme's script of icons, 1.5 MB, goes: `icons.css` draws the dozen that are seen.
* The site's front door, `index.html`, leads to the cover with a page that has a language, a title
  and a link, for those whose browser does not follow it by itself.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

CSS_RESOLUTION = 96  # pixels per inch, by definition

FRONT_DOOR = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url={address}">
<title>{title}</title>
</head>
<body><main><h1>{title}</h1><p><a href="{address}">Open the book</a></p></main></body>
</html>
"""


class ShowFiguresAtTheirSize(SphinxTransform):
    """Give each figure of a notebook the width that its pixels and its resolution say.

    Otherwise a browser would take a pixel of the file for one of its own, and show a figure of high
    resolution as a large one.
    """

    default_priority = 500

    def apply(self, **kwargs: object) -> None:
        for image in self.document.findall(nodes.image):
            if image["uri"].endswith(".png") and "width" not in image:
                _, path = self.env.relfn2path(image["uri"], self.env.docname)
                with Image.open(path) as picture:
                    resolution = picture.info.get("dpi", (CSS_RESOLUTION, CSS_RESOLUTION))[0]
                    image["width"] = f"{round(picture.width * CSS_RESOLUTION / resolution)}px"


class GiveContentsTheirOwnIds(SphinxPostTransform):
    """Number what sphinx-exercise calls by the same name in every exercise and solution."""

    default_priority = 900

    def run(self, **kwargs: object) -> None:
        numbers = Counter[str]()
        for section in self.document.findall(nodes.section):
            if section["ids"] and section["ids"][0] in ("exercise-content", "solution-content"):
                [name] = section["ids"]
                numbers[name] += 1
                section["ids"] = [f"{name}-{numbers[name]}"]


def make_list_of_citations(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object
) -> None:
    """Call the entries of a bibliography what the list around them needs: list items."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def write_front_door(app: Sphinx, exception: Exception | None) -> None:
    """Write `index.html` where the book's first page has another name."""
    root = app.config.root_doc
    if exception is None and app.builder.name == "html" and root != "index":
        page = FRONT_DOOR.format(
            title=escape(app.config.html_title), address=escape(f"{root}.html")
        )
        Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


ICON_SCRIPT = re.compile(r"\s*<(?:script|link)\b[^>]*scripts/fontawesome\.js[^>]*>(?:</script>)?")


def drop_icon_script(app: Sphinx, exception: Exception | None) -> None:
    """Take the script of icons, and the fonts that it would use, out of the site."""
    if exception is not None or app.builder.name != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if (without := ICON_SCRIPT.sub("", text)) != text:
            page.write_text(without, encoding="utf-8")
    for unused in Path(app.outdir, "_static", "scripts").glob("fontawesome.js*"):
        unused.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(ShowFiguresAtTheirSize)
    app.add_post_transform(GiveContentsTheirOwnIds)
    app.connect("html-page-context", make_list_of_citations)
    app.connect("build-finished", write_front_door)
    app.connect("build-finished", drop_icon_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
