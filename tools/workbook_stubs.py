"""What the workbook leaves of an exported cell: what a reader has to know, and nothing to copy.

Imports, constants, fields, types, signatures, decorators and docstrings stay. The body of each
function and method becomes one line that says what to write, after the attributes that it sets,
since other parts of the package read them.
"""

from __future__ import annotations

import ast
import re

# An error's text begins with this where something is not written yet; check.py knows it by it.
TO_WRITE = "write "
Definition = (ast.FunctionDef, ast.ClassDef)


def stub_cell(source: str, line: str) -> str:
    """An exported cell with stubs for bodies, and `line` above it.

    A cell that defines no function is returned as it is.

    Args:
        source: The cell, from its `#| export` on.
        line: What to do, in one line or more; it becomes a comment.
    """
    tree = ast.parse(source)
    found = [node for node in tree.body if isinstance(node, Definition) and bodies(node)]
    if not found:
        return source
    lines: list[str | None] = list(source.splitlines())
    for node in found:
        for name, function in bodies(node):
            replace_body(lines, name, function)
    kept = [text for text in lines if text is not None and "# Long because " not in text]
    comment = "\n".join(f"# {part}" for part in wrapped(line))
    place = next(number for number, text in enumerate(kept) if not text.startswith("#|"))
    return "\n".join([*kept[:place], comment, *kept[place:]])


def bodies(node: ast.FunctionDef | ast.ClassDef, within: str = "") -> list[tuple[str, ast.AST]]:
    """The functions of a definition that a reader has to write, each with its dotted name."""
    name = f"{within}.{node.name}" if within else node.name
    if isinstance(node, ast.ClassDef):
        inner = [part for part in node.body if isinstance(part, Definition)]
        return [one for part in inner for one in bodies(part, name)]
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if all(isinstance(part, ast.Pass) or ast.unparse(part) == "..." for part in body):
        return []  # a protocol says what others have to write
    return [(name, node)]


def replace_body(lines: list[str | None], name: str, function: ast.FunctionDef) -> None:
    """Put a stub in the place of a function's body; lines that go become None."""
    documented = ast.get_docstring(function, clean=False) is not None
    body = function.body[1:] if documented else function.body
    if documented:
        start = function.body[0].end_lineno
    else:  # up to the colon; comments of the body go with it
        head = [function.lineno, function.returns.end_lineno if function.returns else 0]
        head += [one.end_lineno or 0 for one in ast.walk(function.args) if hasattr(one, "lineno")]
        start = next(
            number
            for number in range(max(head), body[0].lineno)
            if (lines[number - 1] or "").split("#")[0].rstrip().endswith(":")
        )
    indent = " " * (function.col_offset + 4)
    stub = []
    if attributes := sets(function):
        told = f"Sets {', '.join(f'self.{attribute}' for attribute in attributes)}."
        stub += [f"{indent}# {part}" for part in wrapped(told, 84 - len(indent))]
    stub.append(f'{indent}raise NotImplementedError("{TO_WRITE}{name}")')
    lines[start : function.end_lineno] = [
        "\n".join(stub),
        *[None] * ((function.end_lineno or 0) - start - 1),
    ]


def sets(function: ast.FunctionDef) -> list[str]:
    """The public attributes that a method gives to its object, in order."""
    targets: list[ast.expr] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    flat = [part for one in targets for part in (one.elts if isinstance(one, ast.Tuple) else [one])]
    names = [
        one.attr
        for one in sorted(flat, key=lambda one: (one.lineno, one.col_offset))
        if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "self"
    ]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def wrapped(text: str, width: int = 84) -> list[str]:
    """A text in lines that fit a page."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def public(source: str) -> list[str]:
    """The names that a cell defines for others: functions and classes without an underscore."""
    found = [node.name for node in ast.parse(source).body if isinstance(node, Definition)]
    return [name for name in found if not name.startswith("_")]


def with_own_package(source: str, stems: list[str]) -> str:
    """A source that imports these chapters' modules from the reader's package."""
    either = "|".join(map(re.escape, stems)) or "(?!)"  # the first chapter has none before it
    source = re.sub(rf"^(\s*from )(?:mini_gpt)?\.({either})\b", r"\1my_gpt.\2", source, flags=re.M)
    return re.sub(r"^(\s*from )\.(support|commands|checks)\b", r"\1mini_gpt.\2", source, flags=re.M)
