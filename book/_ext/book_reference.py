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
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import book_api
from book_docstrings import arguments, documented, fields, shape, signature
from book_repository import source_address

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from chapters import chapters

PACKAGE = "mini_gpt"
METHODS = ("__call__", "__iter__", "__next__")  # besides those that have no underscore


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


def plain(text: str) -> str:
    """A docstring's words as Markdown: only backticks have a meaning in them."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([<$\[\]{])", r"\\\1", part) for part in parts
    )


def cell(text: str) -> str:
    return plain(text).replace("|", r"\|") if text else ""


class Entry:
    """One name of a module, as Markdown."""

    def __init__(self, module: str, source: str, tree: ast.Module) -> None:
        self.module, self.source = module, source
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.functions = {
            node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)
        }
        self.values = {
            ast.unparse(target): node
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        }

    def markdown(self, name: str, words: str) -> str:
        """All there is to say of a name.

        Args:
            words: What the page of the package says of a name without a docstring.

        Raises:
            ValueError: if nothing explains it.
        """
        if name in self.functions:
            return self.function(self.functions[name])
        if name in self.classes:
            return self.whole_class(self.classes[name])
        if not words:
            raise ValueError(f"nothing explains {self.module}.{name}; book/api.md may")
        value = ast.get_source_segment(self.source, self.values[name]) or name
        shown = value if value.count("\n") < 12 else value.splitlines()[0] + " ...  # and more"
        return f"```python\n{shown}\n```\n\n{words}"

    def function(self, node: ast.FunctionDef, name: str = "") -> str:
        text = ast.get_docstring(node) or ""
        if "property" in [ast.unparse(one) for one in node.decorator_list]:
            kind = f": {ast.unparse(node.returns)}" if node.returns else ""
            return f"```python\n{name or node.name}{kind}\n```\n\n{plain(text)}"
        parts = documented(text)
        found = [f"```python\n{signature(self.source, node, name)}\n```", plain(parts.text)]
        said = parts.entries("Args")
        shapes = {key: shape(kind) for key, kind in arguments(node).items()}
        found.append(table("Argument", shapes, said))
        found += self.rest(parts, shape(node.returns))
        return "\n\n".join(filter(None, found))

    def rest(self, parts: object, returned: str = "") -> Iterator[str]:
        """What comes back, what may be raised, and examples."""
        words = parts.sections.get("Returns") or parts.sections.get("Yields") or ""
        if words or returned:
            said = "; ".join(filter(None, [plain(" ".join(words.split())).rstrip("."), returned]))
            yield f"**{'Yields' if 'Yields' in parts.sections else 'Returns'}** {said}."
        if raised := parts.entries("Raises"):
            yield "\n".join(f"* **{key}** {plain(text)}" for key, text in raised.items())
        for name in ("Example", "Examples"):
            if name in parts.sections:
                yield f"```pycon\n{parts.sections[name]}\n```"

    def whole_class(self, node: ast.ClassDef) -> str:
        """A class: how it is made, its fields, and its methods."""
        parts = documented(ast.get_docstring(node) or "")
        lines = [node, *self.private_bases(node)]
        inner = {
            part.name: part
            for one in reversed(lines)
            for part in one.body
            if isinstance(part, ast.FunctionDef)
        }
        made, shapes = node.name, {}
        found = [one for line in lines for one in fields(line)] if is_record(node) else []
        if found:
            made += "(\n" + "".join(f"    {written},\n" for written, _ in found) + ")"
        elif "__init__" in inner:
            made = signature(self.source, inner["__init__"], node.name).removesuffix(" -> None")
            shapes = {key: shape(kind) for key, kind in arguments(inner["__init__"]).items()}
        above = [ast.unparse(base) for base in node.bases]
        public = [base for base in above if not base.split(".")[-1].startswith("_")]
        said = {**parts.entries("Args"), **parts.entries("Attributes")}
        below = {written.split(":")[0]: words for written, words in found if words}
        text = [f"```python\nclass {made}\n```", plain(parts.text)]
        if kinds := [base for base in public if base not in ("Protocol", "NamedTuple")]:
            text.append(f"A kind of {' and '.join(f'`{base}`' for base in kinds)}.")
        text.append(table("Field" if found else "Argument", shapes, {**below, **said}))
        text += self.rest(parts)
        for name, method in inner.items():
            if name in METHODS or not name.startswith("_"):
                text.append(self.function(method, f"{node.name}.{name}"))
        return "\n\n".join(filter(None, text))

    def private_bases(self, node: ast.ClassDef) -> list[ast.ClassDef]:
        """The helpers that a class is built on, whose methods users find in it."""
        found = []
        for base in node.bases:
            if (name := ast.unparse(base)).startswith("_") and name in self.classes:
                found += [self.classes[name], *self.private_bases(self.classes[name])]
        return found


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class is made from its fields."""
    decorated = any(ast.unparse(one).startswith("dataclass") for one in node.decorator_list)
    return decorated or "NamedTuple" in [ast.unparse(base) for base in node.bases]


def table(head: str, shapes: dict[str, str], said: dict[str, str]) -> str:
    """Arguments or fields with their shapes and what is said of them; empty where nothing is."""
    rows = []
    for name in dict.fromkeys([*shapes, *said]):
        kind = f"*{cell(shapes[name])}.*" if shapes.get(name) else ""
        if words := " ".join(filter(None, [kind, cell(said.get(name, ""))])):
            rows.append(f"| `{name}` | {words} |")
    return "\n".join([f"| {head} | What it is |", "|---|---|", *rows]) if rows else ""


@functools.cache
def read(root: Path, module: str) -> Entry:
    """What a module says of its names, read once."""
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    return Entry(module, path.read_text(encoding="utf-8"), book_api.parsed(root, module))


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
            section += self.places(module, name, page)
            yield section

    def section(self, label: str, title: str) -> nodes.section:
        section = nodes.section(ids=[label], names=[label], classes=["api-entry"])
        section += nodes.title("", "", nodes.literal("", title))
        note(self.env, label, label, title)
        return section

    def places(self, module: str, name: str, page: str | None) -> nodes.paragraph:
        """Where a name comes from: the chapter's cell, the source."""
        line = nodes.paragraph("", "", classes=["api-places"])
        line += nodes.Text("import: ")
        line += nodes.literal("", f"from {module} import {name}")
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
