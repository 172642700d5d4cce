"""The cells of a chapter that you write: exported to your package, and what is left of them."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import re
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "my_gpt"
NOTEBOOKS = {path.stem.partition("_")[2]: path for path in sorted(HERE.glob("[0-9][0-9]_*.ipynb"))}


class Place(NamedTuple):
    """Where in a notebook a cell stands."""

    section: str
    number: int


class Stuck(Exception):
    """Nothing can be tested; the message says why and what to do."""


# ---- exporting -----------------------------------------------------------------------------------


def exported(stem: str) -> list[tuple[Place, str]]:
    """The exported cells of a chapter, each with its place."""
    section, found = "", []
    cells = json.loads(NOTEBOOKS[stem].read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cells, start=1):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            section = ([section, *re.findall(r"^#{2,4} (.+)$", source, re.MULTILINE)])[-1]
        elif re.match(r"#\s*\|\s*export\b", source):
            found.append((Place(section, number), source.partition("\n")[2]))
    return found


def export(stem: str) -> None:
    """Write the module of a chapter.

    Raises:
        Stuck: if a cell is no valid Python.
    """
    cells = exported(stem)
    for place, source in cells:
        check_python(stem, place, source)
    body = "\n\n\n".join(f"# %% {place.section}\n{source.strip()}" for place, source in cells)
    names = [name for _, source in cells for name in public(source)]
    head = f'"""Yours, from {NOTEBOOKS[stem].name}; edit it there, check.py writes this file."""'
    PACKAGE.joinpath(f"{stem}.py").write_text(
        f"{head}\n\n__all__ = {names!r}\n\n{body}\n", encoding="utf-8"
    )


def check_python(stem: str, place: Place, source: str) -> None:
    """Raise `Stuck`, naming the line, where a cell is no valid Python."""
    try:
        ast.parse(source)
    except SyntaxError as fault:
        line = (fault.text or "").strip()
        raise Stuck(
            f"{NOTEBOOKS[stem].name}, section {place.section!r}: line {(fault.lineno or 0) + 1}"
            f" of the cell is no Python ({fault.msg}): {line}"
        ) from None


def public(source: str) -> list[str]:
    """The names for others that a cell makes."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [one.id for one in targets if isinstance(one, ast.Name)]
    return [name for name in found if not name.startswith("_")]


def use_solution(stem: str) -> None:
    """Write the book's version of a chapter's module, importing yours of the others."""
    origin = Path(importlib.util.find_spec("mini_gpt").submodule_search_locations[0])
    text = (origin / f"{stem}.py").read_text(encoding="utf-8")
    either = "|".join(NOTEBOOKS)
    text = re.sub(rf"^(\s*from )\.({either})\b", r"\1my_gpt.\2", text, flags=re.MULTILINE)
    text = re.sub(r"^(\s*from )\.(\w)", r"\1mini_gpt.\2", text, flags=re.MULTILINE)
    PACKAGE.joinpath(f"{stem}.py").write_text(text, encoding="utf-8")


# ---- what is left to write -----------------------------------------------------------------------


def definitions(stem: str) -> dict[str, tuple[Place, str, bool]]:
    """All that a chapter asks for: its place, its docstring, and whether it is written.

    Helpers, whose names begin with `_`, are left out: you may do without them.
    """
    found: dict[str, tuple[Place, str, bool]] = {}

    def look(node: ast.AST, within: str, place: Place) -> None:
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.ClassDef | ast.FunctionDef):
                name = f"{within}.{part.name}" if within else part.name
                if re.search(r"(^|\.)_(?!_)", name):
                    continue
                if isinstance(part, ast.ClassDef):
                    look(part, name, place)
                elif not is_open(part):
                    text = ast.get_docstring(part) or ast.get_docstring(node) or ""
                    found[name] = (place, text, not is_stub(part, name))

    for place, source in exported(stem):
        with contextlib.suppress(SyntaxError):
            look(ast.parse(source), "", place)
    return found


def is_open(function: ast.FunctionDef) -> bool:
    """Whether it is a protocol's method, which others write."""
    body = function.body[ast.get_docstring(function) is not None :]
    return all(ast.unparse(part) in ("...", "pass") for part in body)


def is_stub(function: ast.FunctionDef, name: str) -> bool:
    last = ast.unparse(function.body[-1])
    return last == f"raise NotImplementedError('write {name}')"
