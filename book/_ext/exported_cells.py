"""Show which cells are the package.

A cell that starts with `#| export` is written by nbdev to the module that the notebook names with
`#| default_exp`. Here such a cell gets a badge, "Exported to mini_gpt.attention", that links to the
module; below it links to the reference's entries of the names that it defines, which lead back to
the cell; and no line that speaks to nbdev (`#| ...`) is shown, nor copied by the copy button.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from book_reference import link_to, note, page_of, public_names
from book_repository import source_address

logger = logging.getLogger(__name__)

# nbdev allows a space: `# | export`.
DIRECTIVE = re.compile(r"^\s*#\s*\|\s*(?P<words>.*)$")
# `exporti` exports without adding to `__all__`; `exports` does what `export` does.
EXPORTING = {"export", "exporti", "exports"}


class Cell(NamedTuple):
    """A code cell's source, told apart."""

    directives: list[list[str]]
    code: str


def split_cell(source: str) -> Cell:
    """Part the `#|` lines at the top of a cell from the code that readers should see.

    Args:
        source: the cell's source.

    Returns:
        The words of each directive, in order, and the code after them, without leading blank lines.
    """
    lines = source.split("\n")
    directives: list[list[str]] = []
    while lines and ((match := DIRECTIVE.match(lines[0])) or (directives and not lines[0].strip())):
        if match:
            directives.append(match["words"].split())
        lines.pop(0)
    return Cell(directives, "\n".join(lines))


def default_module(notebook: Path) -> str | None:
    """The module that a notebook's `#| default_exp` names, such as `attention`, or None.

    It is read from the file: the cell that says it is not part of the rendered page.
    """
    if notebook.suffix != ".ipynb":
        return None
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            for words in split_cell("".join(cell["source"])).directives:
                if words[:1] == ["default_exp"] and len(words) == 2:
                    return words[1]
    return None


class MarkExportedCells(SphinxTransform):
    """Replace the `#|` lines of code cells: by a badge if they export the cell, else by nothing."""

    default_priority = 20  # after sphinx-exercise has gathered the cells of solutions

    def apply(self, **kwargs: object) -> None:
        default = default_module(Path(self.env.doc2path(self.env.docname)))
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") == "cell_code":
                self.mark(cell, default)

    def mark(self, cell: nodes.container, default: str | None) -> None:
        """Strip one cell and, if it is exported, add its badge in front of the code."""
        shown = [child for child in cell.children if child.get("nb_element") == "cell_code_source"]
        if not shown:
            return
        block = next(iter(shown[0].findall(nodes.literal_block)))
        directives, code = split_cell(block.astext())
        if not directives:
            return
        block.rawsource, block.children = code, []
        block += nodes.Text(code)
        if not code.strip():  # directives only
            cell.remove(shown[0])
            if not cell.children:
                cell.parent.remove(cell)
            return
        for name, *arguments in filter(None, directives):
            if name in EXPORTING:
                module = arguments[0] if arguments else default
                if module is None:
                    logger.warning(
                        "a cell is exported, but no #| default_exp says where", location=cell
                    )
                else:
                    cell.insert(0, self.badge(module))
                    cell["classes"].append("exported")
                    self.cross_link(cell, f"{self.config.exported_cells_package}.{module}", code)

    def cross_link(self, cell: nodes.container, module: str, code: str) -> None:
        """Lead from a cell to the reference, and let the reference lead to the cell."""
        root = Path(self.env.srcdir)
        if not (names := public_names(code)) or not page_of(root, module):
            return
        line = nodes.paragraph("", "In the reference: ", classes=["exported-names"])
        for place, name in enumerate(names):
            line += nodes.Text(", " if place else "")
            line += link_to(f"{module}.{name}", self.env.docname, name)
            anchor = f"exported-{name}"
            cell["ids"].append(anchor)
            note(self.env, f"{module}.{name}.chapter", anchor, name)
        cell.insert(1, line)

    def badge(self, module: str) -> nodes.paragraph:
        """The visible words "Exported to package.module", the name linked to the module's file."""
        package = self.config.exported_cells_package
        uri = source_address(self.config, f"{package}/{module.replace('.', '/')}.py")
        name = nodes.literal("", f"{package}.{module}")
        link = nodes.reference("", "", name, internal=False, refuri=uri)
        return nodes.paragraph("", "Exported to ", link, classes=["exported-to"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("book_repository")
    app.add_config_value("exported_cells_package", "", "env", [str])
    app.add_transform(MarkExportedCells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
