"""Every public name with its signature, its shapes in words and its docstring in parts.

    ```{reference} Model
    ```

makes a section for each module of the part's chapters, and in it one for each name of its
`__all__`. `{reference} mini_gpt` is about what the package hands on from `mini_gpt.support`. An
entry has a link to the cell of the chapter that defines the name, and that cell has one back
(`exported_cells.py`). The modules are read, not imported. A name that nothing explains is an error.
"""

from __future__ import annotations

import ast
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import book_api
from book_entries import plain, read
from book_repository import source_address

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from chapters import chapters

PACKAGE = "mini_gpt"


def page_of(root: Path, module: str) -> str | None:
    """The page of the reference that explains a module's names, if the book has one."""
    parts = {one.module: one.part for one in chapters(root)}
    name = parts.get(module, "files").lower().replace(" ", "_")
    page = f"book/reference_{name}"
    return page if (root / f"{page}.md").is_file() else None


def origin(root: Path, module: str, name: str) -> str:
    """The module that defines a name which this one may only hand on."""
    for node in book_api.parsed(root, module).body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            above = module.split(".")[: -node.level] if node.level else []
            return ".".join([*above, *filter(None, [node.module])])
    return module


def public_names(code: str) -> list[str]:
    """The names that a cell defines and that nbdev puts into the module's `__all__`."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # of a cell that no test would let pass
        return []
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign) and all(
            isinstance(one, ast.Name) for one in node.targets
        ):
            named = [target.id for target in node.targets if isinstance(target, ast.Name)]
            found += list(ast.literal_eval(node.value)) if named == ["_all_"] else named
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
    return [name for name in found if not name.startswith("_")]


@functools.cache
def shown(notebook: Path) -> frozenset[str]:
    """The names that the exported cells define which a chapter's page shows."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "remove-cell" not in cell["metadata"].get("tags", ())
    ]
    exported = [source for source in sources if source.startswith("#| export")]
    return frozenset(name for source in exported for name in public_names(source))


def link_to(label: str, docname: str, text: str) -> addnodes.pending_xref:
    """A link to what `note` has put into the book's list of labels."""
    kinds = {"refdomain": "std", "reftype": "ref", "reftarget": label, "refexplicit": True}
    link = addnodes.pending_xref("", refdoc=docname, refwarn=True, **kinds)
    link += nodes.literal("", text, classes=["xref"])
    return link


class Reference(SphinxDirective):
    """`{reference} PART`: the names of a part's modules."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        root, [part] = Path(self.env.srcdir), self.arguments
        self.env.note_dependency(str(root / "book" / "api.md"))
        try:
            return list(self.handed_on(root) if part == PACKAGE else self.modules(root, part))
        except (ValueError, OSError) as fault:
            raise ExtensionError(f"{self.get_location()}: {fault}") from None

    def modules(self, root: Path, part: str) -> Iterator[nodes.section]:
        """A section for each chapter's module."""
        for chapter in [one for one in chapters(root) if one.part == part]:
            names = book_api.exported(root, chapter.module)
            section = self.section(chapter.module, chapter.module)
            text = f"{{doc}}`/{chapter.page}`: {plain(chapter.sentence())}"
            section += self.parse_text_to_nodes(text)
            section += self.entries(root, chapter.module, names, chapter.page)
            yield section

    def handed_on(self, root: Path) -> Iterator[nodes.section]:
        """A section for each module below `support` whose names the package hands on."""
        found: dict[str, list[str]] = {}
        for name in book_api.exported(root, PACKAGE):
            module = origin(root, PACKAGE, name)
            if ".support." in module:
                found.setdefault(module, []).append(name)
        for module, names in sorted(found.items()):
            yield from self.entries(root, module, names, None)

    def entries(
        self, root: Path, module: str, names: list[str], page: str | None
    ) -> Iterator[nodes.section]:
        path = root.joinpath(*module.split(".")).with_suffix(".py")
        self.env.note_dependency(str(path))
        listed = book_api.explanations(root)
        for name in names:
            section = self.section(f"{module}.{name}", name)
            made = read(root, origin(root, module, name))
            text = made.markdown(name, listed.get((module, name), ""))
            section += self.parse_text_to_nodes(text)
            self.link_names(section, module, {*names} - {name})
            section += self.places(module, name, page)
            yield section

    def link_names(self, section: nodes.section, module: str, names: set[str]) -> None:
        """Make the other names of a module links, where an entry speaks of them."""
        for literal in list(section.findall(nodes.literal)):
            if literal.astext() in names and not isinstance(literal.parent, nodes.title):
                link = link_to(f"{module}.{literal.astext()}", self.env.docname, literal.astext())
                literal.parent.replace(literal, link)

    def section(self, label: str, title: str) -> nodes.section:
        section = nodes.section(ids=[label], names=[label], classes=["api-entry"])
        section += nodes.title("", "", nodes.literal("", title))
        note(self.env, label, label, title)
        return section

    def places(self, module: str, name: str, page: str | None) -> nodes.paragraph:
        """Where a name comes from: the chapter's cell, the source."""
        line = nodes.paragraph("", "", classes=["api-places"])
        line += nodes.Text("import: ")
        handed_on = name in book_api.exported(Path(self.env.srcdir), PACKAGE)
        line += nodes.literal("", f"from {PACKAGE if handed_on else module} import {name}")
        path = f"{module.replace('.', '/')}.py"
        address = source_address(self.config, path)
        if page and name in shown(Path(self.env.srcdir, f"{page}.ipynb")):
            line += nodes.Text(" · ")
            link = link_to(f"{module}.{name}.chapter", self.env.docname, "")
            link.children = [nodes.inline("", "where the chapter builds it")]
            line += link
        line += nodes.Text(" · ")
        line += nodes.reference("", "its source", internal=False, refuri=address)
        return line


def note(env: object, label: str, anchor: str, title: str) -> None:
    """Put a place of the page that is being read into the book's list of labels."""
    domain = env.get_domain("std")
    domain.labels[label] = (env.docname, anchor, title)
    domain.anonlabels[label] = (env.docname, anchor)


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("book_repository")
    app.add_directive("reference", Reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
