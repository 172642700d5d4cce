"""What the reference says of one name, as Markdown; the modules are read, not imported."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import book_api
from book_docstrings import Documented, arguments, documented, fields, shape, signature

METHODS = ("__call__", "__iter__", "__next__")  # besides those that have no underscore


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

    def rest(self, parts: Documented, returned: str = "") -> Iterator[str]:
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
