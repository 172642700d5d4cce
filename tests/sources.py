"""What the sources of the package take from each other, read without importing them."""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

from chapters import ROOT, Chapter

PACKAGE = ROOT / "mini_gpt"


def modules() -> dict[str, Path]:
    """The package's modules by name, and the packages in `support`, which gather several.

    The package itself and its parts import all that is in them, and are left out.
    """
    paths = [path for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    gathered = (PACKAGE / "support").rglob("*/__init__.py")
    return found | {".".join(path.parent.relative_to(ROOT).parts): path for path in gathered}


def cells(chapter: Chapter) -> str:
    """All code of a chapter, as one source; lines that speak to IPython stand still in it."""
    notebook = json.loads(chapter.notebook.read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return without_magics("\n".join(code))


def without_magics(source: str) -> str:
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def imported(source: str, importer: str = "") -> Iterator[tuple[str, str]]:
    """What a source takes from mini_gpt, as (module, name), wherever in it the import stands.

    Args:
        importer: the name of the module that it is, from which nbdev's `from .config` counts.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            above = importer.split(".")[: -node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            if module.split(".")[0] == "mini_gpt":
                yield from ((module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "mini_gpt":
                    yield alias.name, ""


def used(source: str, importer: str = "") -> set[tuple[str, str]]:
    """What a source uses of mini_gpt: what it imports, and what it takes as `module.name`."""
    taken = set(imported(source, importer))
    known = {name: f"{module}.{name}" for module, name in taken}
    dotted = {
        (known.get(node.value.id, node.value.id), node.attr)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return taken | {pair for pair in dotted if pair[0].split(".")[0] == "mini_gpt"}


@functools.cache
def imports() -> dict[str, set[str]]:
    """For each module the modules that it imports itself."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        taken = list(imported(path.read_text(encoding="utf-8"), name))
        found[name] = {module for module, _ in taken} | {f"{m}.{n}" for m, n in taken}
        found[name] &= known.keys()
    return found


@functools.cache
def reached(name: str) -> frozenset[str]:
    """All modules that an import of this one brings with it."""
    seen: set[str] = set()
    left = [name]
    while left:
        new = imports()[left.pop()] - seen
        seen |= new
        left += new
    return frozenset(seen)
