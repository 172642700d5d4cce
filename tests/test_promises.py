"""Each promise to users names tests that exist, and none of the promises has been forgotten."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PROMISES = (TESTS / "PROMISES.md").read_text(encoding="utf-8")
SECURITY = (TESTS.parent / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in PROMISES.splitlines() if line.startswith("| ") and "`" in line]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py(?:::\w+)+)`", PROMISES)))


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    """The names of a file's tests, of its classes of tests, and of the tests in these."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            inner = [
                part.name
                for part in node.body
                if isinstance(part, ast.FunctionDef) and part.name.startswith("test")
            ]
            if inner:  # a class without a test shows nothing
                names |= {node.name, *(f"{node.name}::{name}" for name in inner)}
    return frozenset(names)


@pytest.mark.parametrize("test", NAMED)
def test_the_test_of_a_promise_exists(test: str) -> None:
    file, _, name = test.partition("::")
    assert name in names_in(TESTS / file)


def test_every_promise_names_a_test() -> None:
    promised = [line for line in PROMISES.splitlines() if re.match(r"\| (?!-|#|row|promise)", line)]
    assert promised == ROWS
    assert all(re.search(r"`[\w/]+\.py::\w+", row) for row in ROWS)


@pytest.mark.parametrize(("part", "count"), [("Work is not lost", 24), ("What attacks found", 24)])
def test_none_is_left_out(part: str, count: int) -> None:
    section = PROMISES.split(f"## {part}")[1].split("\n## ")[0]
    numbers = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, count + 1)]


def test_the_page_on_security_names_files_that_exist() -> None:
    named = re.findall(r"`(?:tests/)?([\w/]*test_\w+\.py)`", SECURITY)
    assert len(named) >= 8
    for name in named:
        found = [TESTS / name, TESTS / "faults" / name]
        assert any(path.is_file() for path in found), name
    for quoted in re.findall(r'\.py`, "(\w+)"', SECURITY):
        texts = [path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")]
        assert any(quoted.lower() in text.lower() for text in texts)


def test_a_test_that_does_not_exist_is_found() -> None:
    here = names_in(Path(__file__))
    assert "test_none_is_left_out" in here
    assert "test_that_is_not_there" not in here
