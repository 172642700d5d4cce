"""The tests that a workbook brings: those of a chapter that any right solution passes.

They are the package's own, without those that look at how our solution is made (its helpers, the
repository's files, other processes), and without the words that an error must have.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from chapters import ROOT

# What a test speaks of that only our solution, or only our repository, has.
OURS = re.compile(
    r"""setattr\(\s*"mini_gpt\.|setattr\((?:gpt2|sampling|generation_module|Muon|type)\b"""
    r"""|setattr\(\s*sampling|\bsys\.executable\b|\b(?:from|import) bench\b"""
    r"""|mark\.(?:gpu|network)\b|\bstored_\w+\(|\.source\b|__file__\)\.resolve|\bgetsource\b|_CACHED"""
)
OUR_NAMES = {"checks", "verdicts", "give_hint", "subprocess"}
Test = (ast.FunctionDef, ast.ClassDef)


def readers_tests(source: str, absent: set[str]) -> str:
    """A file of tests without those that no reader's solution should be asked for.

    Args:
        source: The file.
        absent: Modules that a workbook does not have; what needs them goes too.
    """
    tree = ast.parse(source)
    gone = {name for node in tree.body for name in bound(node) if is_absent(node, absent)}
    cut: list[ast.stmt] = [node for node in tree.body if is_absent(node, absent)]
    lines = source.splitlines()
    left = [(node, within, names(node, within)) for node, within in parts(tree)]
    found = [one for one in left if is_ours(lines, one[0]) or one[2] & gone]
    while found:  # what uses what is gone goes as well
        left = [one for one in left if one not in found]
        cut += [node for node, _, _ in found]
        gone |= {f"{within}.{name}" for node, within, _ in found for name in bound(node)}
        gone |= {name for node, within, _ in found if not within for name in bound(node)}
        found = [one for one in left if one[2] & gone]
    for node in tree.body:
        if is_tests(node) and all(part in cut for part in tests_of(node)):
            cut.append(node)
    return without_words(without_lines(source, cut))


def parts(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """What can be cut: everything at the top but classes of tests, and the parts of these.

    Each comes with the name of the class that it stands in, if it does.
    """
    for node in tree.body:
        if is_tests(node):
            yield from ((part, node.name) for part in node.body)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            yield node, ""


def is_tests(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and node.name.startswith("Test")


def tests_of(node: ast.ClassDef) -> list[ast.stmt]:
    return [part for part in node.body if isinstance(part, Test) and part.name.startswith("test")]


def is_absent(node: ast.stmt, absent: set[str]) -> bool:
    modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom):
        modules = [node.module or ""]
    return any(module.split(".")[0] in absent for module in modules)


def is_ours(lines: list[str], node: ast.stmt) -> bool:
    """Whether a test, or what tests share, looks into our solution or our repository."""
    text = "\n".join(lines[first_line(node) - 1 : node.end_lineno])
    ours = {name for name in names(node) if re.match(r"_[a-z]", name) or name in OUR_NAMES}
    return bool(OURS.search(text) or ours)


def bound(node: ast.stmt) -> set[str]:
    """The names that a statement at the top of a file makes."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, Test):
        return {node.name}
    return {one.id for one in ast.walk(node) if stored(one)}


def stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def names(node: ast.AST, within: str = "") -> set[str]:
    """The names that a statement uses, arguments too, since fixtures are asked for by name.

    What it takes from its own class is called by the class's name.
    """
    found = {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and not stored(one)}
    found |= {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
    attributes = [one for one in ast.walk(node) if isinstance(one, ast.Attribute)]
    found |= {f"{within}.{name}" for name in [*found, *(one.attr for one in attributes)]}
    return found | {one.attr for one in attributes}


def first_line(node: ast.stmt) -> int:
    """That of its first decorator, if it has some."""
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])


def without_lines(source: str, nodes: list[ast.stmt]) -> str:
    lines: list[str | None] = list(source.splitlines())
    for node in nodes:
        first = first_line(node)
        lines[first - 1 : node.end_lineno] = [None] * ((node.end_lineno or first) - first + 1)
    text = "\n".join(line for line in lines if line is not None)
    return re.sub(r"\n{4,}", "\n\n\n", text).rstrip() + "\n"


def without_words(source: str) -> str:
    """Errors may be worded as the reader likes: `pytest.raises` without its `match`."""
    cuts = []
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises":
            for word in node.keywords:
                if word.arg == "match" and word.value.end_lineno:
                    before = max(node.args, key=lambda one: (one.lineno, one.col_offset))
                    begin = starts[(before.end_lineno or 1) - 1] + (before.end_col_offset or 0)
                    end = starts[word.value.end_lineno - 1] + (word.value.end_col_offset or 0)
                    cuts.append((begin, end))
    text = source.encode()
    for begin, end in sorted(cuts, reverse=True):
        text = text[:begin] + text[end:]
    return text.decode()


def write_tests(folder: Path, stems: list[str], root: Path = ROOT) -> None:
    """Write the tests of these chapters, and what they share."""
    absent = {path.stem for part in ("tools", "book/_ext") for path in (root / part).glob("*.py")}
    absent |= {"nbformat", "bench"}
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((root / "tests").glob("*.py")):
        stem = path.stem.removeprefix("test_")
        helper = path.stem == stem and stem != "conftest"
        if helper or stem in stems:
            text = path.read_text(encoding="utf-8")
            if not helper:
                text = readers_tests(text, absent)
            elif any(re.search(rf"^(?:from|import) {name}\b", text, re.M) for name in absent):
                continue  # a helper of tests of the repository
            (folder / path.name).write_text(text, encoding="utf-8")
