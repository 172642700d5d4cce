"""What the reference says of a name: its signature, its shapes in words, its docstring in parts.

Modules are read, not imported. Shapes are jaxtyping's: `Float[Tensor, "batch time width"]` becomes
"numbers, batch × time × width".
"""

from __future__ import annotations

import ast
import re
import textwrap
from typing import NamedTuple

# What jaxtyping calls the kinds of entries.
KINDS = {
    "Float": "numbers",
    "Float32": "numbers in 32 bits",
    "Float64": "numbers in 64 bits",
    "Int": "whole numbers",
    "Int64": "whole numbers in 64 bits",
    "Integer": "whole numbers",
    "UInt": "whole numbers",
    "Bool": "true or false",
    "Num": "numbers of any kind",
    "Shaped": "entries of any kind",
    "Complex": "complex numbers",
}
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Examples")
HEAD = re.compile(rf"^({'|'.join(SECTIONS)}):$")
ENTRY = re.compile(r"^(?P<name>[*\w., ]+?)(?: \([^)]*\))?:(?: (?P<text>.*))?$")


class Documented(NamedTuple):
    """A docstring in parts: what stands before its sections, and each section's text."""

    text: str
    sections: dict[str, str]

    def entries(self, section: str) -> dict[str, str]:
        """The names that a section explains, each with its explanation on one line."""
        found: dict[str, str] = {}
        name = ""
        for line in self.sections.get(section, "").splitlines():
            match = ENTRY.match(line)
            if match and not line.startswith(" "):
                name = match["name"]
                found[name] = match["text"] or ""
            elif name and line.strip():
                found[name] += f" {line.strip()}"
        return {name: text.strip() for name, text in found.items()}


def documented(docstring: str) -> Documented:
    """A docstring, told apart."""
    before: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = before
    for line in docstring.splitlines():
        if match := HEAD.match(line):
            lines = sections.setdefault(match[1], [])
        elif lines is not before and line.strip() and not line.startswith(" "):
            lines = before  # a section has ended without an empty line
            lines.append(line)
        else:
            lines.append(line)
    kept = {name: textwrap.dedent("\n".join(text)).strip() for name, text in sections.items()}
    return Documented("\n".join(before).strip(), kept)


def shape(annotation: ast.expr | None) -> str:
    """An annotation's shapes in words; empty where it has none."""
    if annotation is None:
        return ""
    found = []
    for node in ast.walk(annotation):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in KINDS
            and isinstance(node.slice, ast.Tuple)
            and isinstance(node.slice.elts[-1], ast.Constant)
        ):
            axes, kind = str(node.slice.elts[-1].value), KINDS[node.value.id]
            one = f"one {kind.replace('numbers', 'number', 1)}"
            found.append(f"{kind}, {axes_in_words(axes)}" if axes.strip() else one)
    return "; ".join(dict.fromkeys(found))


def axes_in_words(axes: str) -> str:
    """Axes as jaxtyping writes them, readable: `*rows width` says "any rows × width"."""
    words = []
    for axis in axes.split():
        if axis == "...":
            words.append("any axes")
        elif axis.startswith("*"):
            words.append(f"any {axis[1:].lstrip('#')}")
        else:
            words.append(axis.lstrip("#?_") or "any size")
    return " × ".join(words)


def signature(source: str, node: ast.FunctionDef, name: str = "") -> str:
    """A function's head as its module has it, without `self`, with another name if one is given."""
    lines = source.splitlines()
    end = node.body[0].lineno - 1
    head = "\n".join(lines[node.lineno - 1 : end])
    if node.body[0].lineno == node.lineno:
        head = lines[node.lineno - 1][: node.body[0].col_offset]
    head = textwrap.dedent(re.sub(r"(?m)^\s*#.*\n?", "", head)).strip()
    head = re.sub(r":\s*(#.*)?$", "", head).removeprefix("def ")
    if name:
        head = head.replace(node.name, name, 1)
    head = re.sub(r"\((\s*)(?:self|cls)(?:,\s*|(?=\s*\)))", r"(\1", head, count=1)
    return head if "(\n" in head else re.sub(r"\(\s+", "(", head)


def fields(node: ast.ClassDef) -> list[tuple[str, str]]:
    """The fields of a dataclass or a named tuple: what is written, and what explains it below."""
    found = []
    for place, part in enumerate(node.body):
        if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_"):
            below = node.body[place + 1] if place + 1 < len(node.body) else None
            words = ""
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                words = str(below.value.value)
            found.append((ast.unparse(part), " ".join(words.split())))
    return found


def arguments(node: ast.FunctionDef) -> dict[str, ast.expr | None]:
    """A function's arguments with their annotations, `self` left out."""
    every = [*node.args.posonlyargs, *node.args.args, node.args.vararg, *node.args.kwonlyargs]
    found = {one.arg: one.annotation for one in [*every, node.args.kwarg] if one is not None}
    return {name: kind for name, kind in found.items() if name not in ("self", "cls")}
