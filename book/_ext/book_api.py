"""What a module offers to its users, name by name, explained by the names' own docstrings.

    ```{api} mini_gpt.attention
    causal_mask
    causal_attention
    ```

makes a table of these names, each with the first paragraph of its docstring. A name that is no
function and no class has no docstring: write its explanation after a colon, `IGNORE_INDEX: ...`.
A name that the module does not export is an error. Where the book has a reference, each name leads
to its entry there (`book_reference.py`). Without names it is a table of the modules of a package,
each with its docstring. The modules are read, not imported.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

BLOCK = re.compile(r"^```\{api\} (?P<module>\S+)\n(?P<names>.*?)^```$", re.MULTILINE | re.DOTALL)


def listed(page: str) -> dict[str, list[str]]:
    """The names that a Markdown page lists, by module."""
    found = {match["module"]: list(entries(match["names"])) for match in BLOCK.finditer(page)}
    return {module: names for module, names in found.items() if names}


def entries(content: str) -> dict[str, str]:
    """The names of a directive's content, and the explanations that some of them come with."""
    lines = [line.partition(":") for line in content.splitlines() if line.strip()]
    return {name.strip(): words.strip() for name, _, words in lines}


def explanations(root: Path) -> dict[tuple[str, str], str]:
    """What the page of the package says itself, by module and name."""
    page = (root / "book" / "api.md").read_text(encoding="utf-8")
    return {
        (match["module"], name): words
        for match in BLOCK.finditer(page)
        for name, words in entries(match["names"]).items()
        if words
    }


def exported(root: Path, module: str) -> list[str]:
    """The names in a module's `__all__`, or where it has none, all that it defines in public."""
    tree = parsed(root, module)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return [name for name in definitions(root, module) if not name.startswith("_")]


def definitions(root: Path, module: str) -> dict[str, str]:
    """The functions and classes of a module, each with the first paragraph of its docstring.

    A package hands on what it imports, so those names are there too.
    """
    found: dict[str, str] = {}
    for node in parsed(root, module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = first_paragraph(node)
        elif isinstance(node, ast.ImportFrom) and module == "mini_gpt" and node.module:
            below = definitions(root, node.module)
            found |= {alias.name: below.get(alias.name, "") for alias in node.names}
    return found


def first_paragraph(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The first paragraph of a docstring, on one line; empty where there is none."""
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def submodules(root: Path, package: str) -> dict[str, str]:
    """The modules of a package, each with the first paragraph of its docstring."""
    paths = sorted(root.joinpath(*package.split(".")).glob("[!_]*.py"))
    return {path.stem: first_paragraph(parsed(root, f"{package}.{path.stem}")) for path in paths}


def parsed(root: Path, module: str) -> ast.Module:
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    path = path if path.is_file() else path.with_suffix("") / "__init__.py"
    return ast.parse(path.read_text(encoding="utf-8"))


def table(root: Path, module: str, names: dict[str, str]) -> str:
    """The names as a Markdown table; without names, the modules of a package.

    Raises:
        ValueError: if the module does not export a name, or nothing explains it.
    """
    if names:
        known, explained = exported(root, module), definitions(root, module)
    else:
        explained = submodules(root, module)
        known, names = list(explained), dict.fromkeys(explained, "")
    rows = []
    for name, words in names.items():
        if name not in known:
            raise ValueError(f"{module} exports no {name}; it has {', '.join(known)}")
        if not (words := words or explained.get(name, "")):
            raise ValueError(f"nothing explains {module}.{name}; write `{name}: what it is`")
        words = words.replace("|", r"\|")
        rows.append(f"| `{name}` | {words} |")
    return "\n".join(["| Name | What it is or does |", "|---|---|", *rows])


class ApiList(SphinxDirective):
    """`{api} module`: a table of the names in its content."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        [module], root = self.arguments, Path(self.env.srcdir)
        try:
            content = table(root, module, entries("\n".join(self.content)))
        except (ValueError, OSError) as fault:
            raise ExtensionError(f"{self.get_location()}: {fault}") from None
        made = self.parse_text_to_nodes(content)
        if self.content:
            for row in [row for part in made for row in part.findall(nodes.row)]:
                for name in list(row.children[0].findall(nodes.literal)):
                    self.lead(root, module, name)
        return made

    def lead(self, root: Path, module: str, name: nodes.literal) -> None:
        """Make a name in the table a link to its entry, if the book has one."""
        from book_reference import link_to, origin, page_of

        if module == "mini_gpt":
            module = origin(root, module, name.astext())
        if page_of(root, module):
            link = link_to(f"{module}.{name.astext()}", self.env.docname, name.astext())
            name.parent.replace(name, link)


def setup(app: Sphinx) -> dict[str, bool]:
    for name in ("book_reference", "book_command", "book_promises"):
        app.setup_extension(name)
    app.add_directive("api", ApiList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
