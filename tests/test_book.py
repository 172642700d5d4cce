"""The chapter contract: what every notebook of the book promises, checked."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
import types
import urllib.parse
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
# Reading order is import order (the map in the README).
MODULES = {
    "01_tokens": "tokenizer",
    "02_data": "data",
    "03_embeddings": "embedding",
    "04_positions": "position",
    "05_attention": "attention",
    "06_decoder": "decoder",
    "07_gpt": "model",
    "08_gpt2": "gpt2",
    "09_training": "training",
    "10_sampling": "sampling",
}
# Written by hand, below the chapters: they may be used from any of them.
HAND_WRITTEN = {"files", "corpus", "figures", "checks", "runtime", "interchange"}
HAND_WRITTEN |= {"checkpoints", "parallel", "layout"}
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|root|Users|work|tmp|var|usr|opt|content|mnt)/\w|\b[A-Z]:\\\\?\w"
)


def notebooks() -> list[Path]:
    return sorted(BOOK.glob("*.ipynb"))


def load(stem: str) -> nbformat.NotebookNode:
    return nbformat.read(BOOK / f"{stem}.ipynb", as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def code_lines(source: str) -> int:
    """Lines of code in a cell: without empty lines, comments and docstrings."""
    lines = [line for line in source.splitlines() if line.strip() and line.lstrip()[0] not in "#%"]
    documented = ast.Module, ast.ClassDef, ast.FunctionDef
    docstrings = [
        ast.get_docstring(node, clean=False) or ""
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, documented)
    ]
    return len(lines) - sum(len(text.splitlines()) for text in docstrings)


def test_the_chapters_are_those_of_the_map() -> None:
    stems = [path.stem for path in notebooks() if path.stem != "index"]
    assert stems == sorted(MODULES)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
class TestEveryNotebook:
    def test_was_executed_once_from_top_to_bottom(self, path: Path) -> None:
        cells = code_cells(load(path.stem))
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))

    def test_stores_no_error_no_warning_and_no_path_of_some_machine(self, path: Path) -> None:
        for cell in code_cells(load(path.stem)):
            for output in cell.outputs:
                assert output.output_type != "error", cell.source
                assert output.get("name") != "stderr", (
                    f"{cell.source}\nwrote to stderr: {output.text}"
                )
                text = json.dumps(
                    {
                        **output,
                        "data": {
                            k: v for k, v in output.get("data", {}).items() if "image" not in k
                        },
                    }
                )
                assert not MACHINE_PATH.search(text), (
                    f"a path of some machine in the output of\n{cell.source}"
                )

    def test_describes_every_picture(self, path: Path) -> None:
        for cell in code_cells(load(path.stem)):
            pictures = [
                o
                for o in cell.outputs
                if any(kind.startswith("image/") for kind in o.get("data", {}))
            ]
            if pictures:
                alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
                assert len(alt.split()) >= 5, (
                    f"no description of the picture drawn by\n{cell.source}"
                )
                assert len(pictures) == 1, (
                    f"one picture a cell, so that each has its description:\n{cell.source}"
                )

    def test_is_stored_clean(self, path: Path) -> None:
        tool = [sys.executable, str(ROOT / "tools" / "notebooks.py"), "--check", str(path)]
        result = subprocess.run(tool, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    def test_names_no_repository_address_but_the_books(self, path: Path) -> None:
        address = re.search(
            r"^\s+url:\s*(\S+)", (ROOT / "_config.yml").read_text(encoding="utf-8"), re.M
        )
        assert address
        text = path.read_text(encoding="utf-8")
        for found in re.findall(
            r"(?:github\.com|githubusercontent\.com|colab\.research\.google\.com)/[\w./-]+", text
        ):
            assert found in address[1], (
                f"{path.name} names {found}; the address stands in _config.yml only"
            )

    def test_says_why_an_output_may_differ(self, path: Path) -> None:
        """A cell whose output is not compared asserts the property that the prose relies on."""
        for cell in code_cells(load(path.stem)):
            if "nbval-ignore-output" in tags(cell):
                assert "assert " in cell.source, (
                    f"nothing is asserted by the uncompared cell\n{cell.source}"
                )

    def test_cells_are_short(self, path: Path) -> None:
        for cell in code_cells(load(path.stem)):
            lines, limit = code_lines(cell.source), 100 if "#| export" in cell.source else 45
            assert lines <= limit, f"{lines} lines of code in the cell\n{cell.source[:200]}"


@pytest.mark.parametrize("stem", MODULES)
class TestEveryChapter:
    def test_opens_with_its_title_and_its_cost(self, stem: str) -> None:
        first = load(stem).cells[0]
        assert first.cell_type == "markdown"
        assert re.match(r"# \w", first.source)
        assert "**Cost.**" in first.source

    def test_has_the_same_hidden_setup_cell(self, stem: str) -> None:
        cell = load(stem).cells[1]
        assert cell.source == load("01_tokens").cells[1].source
        assert {"setup", "remove-cell"} <= set(tags(cell))

    def test_exports_the_module_of_the_map(self, stem: str) -> None:
        cells = code_cells(load(stem))
        declared = [cell for cell in cells if cell.source.startswith("#| default_exp")]
        assert [cell.source.split() for cell in declared] == [["#|", "default_exp", MODULES[stem]]]
        assert "remove-cell" in tags(declared[0])
        assert sum(cell.source.startswith("#| export") for cell in cells) >= 2

    def test_proves_what_it_says(self, stem: str) -> None:
        ordinary = [
            c
            for c in code_cells(load(stem))
            if not c.source.startswith("#| export") and "exercise" not in tags(c)
        ]
        assert sum("assert" in cell.source for cell in ordinary) >= 4

    def test_has_its_parts_in_order(self, stem: str) -> None:
        headings = [
            line.removeprefix("## ").strip()
            for cell in load(stem).cells
            if cell.cell_type == "markdown"
            for line in cell.source.splitlines()
            if line.startswith("## ")
        ]
        order = ["What you may have read", "Break it", "Exercises", "Recap"]
        present = [heading for heading in headings if heading in order]
        assert present == [part for part in order if part in present], (
            f"{present} are not in the order {order}"
        )
        assert {"Exercises", "Recap"} <= set(present)
        assert headings[-1] == "Recap"
        assert len(headings) >= 6, "too few steps"

    def test_exercises_have_a_stub_a_check_and_a_folded_solution(self, stem: str) -> None:
        notebook = load(stem)
        prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        exercises = re.findall(r"^```\{exercise-start\}.*\n:label: (\S+)", prose, re.M)
        solutions = re.findall(r"^```\{solution-start\} (\S+)\n:class: dropdown", prose, re.M)
        assert exercises
        assert solutions == exercises
        stubs = [cell for cell in code_cells(notebook) if "exercise" in tags(cell)]
        solved = [cell for cell in code_cells(notebook) if "solution" in tags(cell)]
        assert len(stubs) == len(solved) == len(exercises)
        for cell in stubs:
            assert "checks." in cell.source
            assert printed(cell).startswith("not yet: "), cell.source
        for cell in solved:
            assert "checks." in cell.source
            assert printed(cell).startswith("correct: "), cell.source

    def test_shows_a_picture(self, stem: str) -> None:
        cells = code_cells(load(stem))
        assert any(
            "image/png" in output.get("data", {}) for cell in cells for output in cell.outputs
        )

    def test_exported_names_are_documented(self, stem: str) -> None:
        module = importlib.import_module(f"mini_gpt.{MODULES[stem]}")
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                assert inspect.getdoc(thing), f"{name} has no docstring"
            if inspect.isclass(thing):
                for method_name, method in vars(thing).items():
                    if (
                        not method_name.startswith("_")
                        and inspect.isfunction(inspect.unwrap(method))
                        and not getattr(thing, "_is_protocol", False)
                    ):
                        assert inspect.getdoc(method), f"{name}.{method_name} has no docstring"

    def test_imports_earlier_chapters_only(self, stem: str) -> None:
        path = ROOT / "mini_gpt" / f"{MODULES[stem]}.py"
        order = list(MODULES.values())
        earlier = set(order[: order.index(MODULES[stem])])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (
                node.level or (node.module or "").startswith("mini_gpt")
            ):
                imported = (node.module or "").removeprefix("mini_gpt.").split(".")[0]
                assert imported in earlier | HAND_WRITTEN, (
                    f"{path.name} imports {imported}, which comes later"
                )


def test_the_package_is_what_the_notebooks_export(tmp_path: Path) -> None:
    """Run nbdev's export on a copy and compare: nobody has edited a generated module by hand."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(
        BOOK, tmp_path / "book", ignore=shutil.ignore_patterns("_build", ".ipynb_checkpoints")
    )
    shutil.copytree(
        ROOT / "mini_gpt", tmp_path / "mini_gpt", ignore=shutil.ignore_patterns("__pycache__")
    )
    for module in [*MODULES.values(), "_modidx"]:
        (tmp_path / "mini_gpt" / f"{module}.py").unlink()
    export = [
        sys.executable,
        "-c",
        "from nbdev.export import *; from nbdev.doclinks import nbdev_export; nbdev_export()",
    ]
    result = subprocess.run(export, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for path in sorted((tmp_path / "mini_gpt").rglob("*.py")):
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.exists(), f"{committed.name} is missing; run: make export"
        same = path.read_text(encoding="utf-8") == committed.read_text(encoding="utf-8")
        assert same, f"{committed.name} is not what the notebooks export; run: make export"


def run_setup_cell(monkeypatch: pytest.MonkeyPatch, opened_from: str) -> list[str]:
    """Run the setup cell as on Colab, with a stand-in for Colab's session list and for %pip."""
    from IPython.core.inputtransformer2 import TransformerManager

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    session = json.dumps([{"path": opened_from}]).encode()
    monkeypatch.setattr("urllib.request.urlopen", lambda address: io.BytesIO(session))
    asked: list[str] = []
    source = TransformerManager().transform_cell(load("01_tokens").cells[1].source)
    # IPython fills {names} of a magic's line from the user's variables; so does the stand-in.
    namespace: dict[str, object] = {}
    shell = types.SimpleNamespace(
        run_line_magic=lambda magic, line: asked.append(f"{magic} {line}".format(**namespace))
    )
    namespace["get_ipython"] = lambda: shell
    exec(compile(source, "setup", "exec"), namespace)
    return asked


class TestSetupCell:
    def test_on_colab_installs_from_the_repository_that_was_opened(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = "https://github.com/somebody/fork/blob/draft/book/01_tokens.ipynb"
        path = "fileId=" + urllib.parse.quote(page, safe="")
        asked = run_setup_cell(monkeypatch, path)
        assert asked == [
            'pip install --quiet "mini-gpt[notebooks] @ git+https://github.com/somebody/fork@draft"'
        ]

    def test_says_what_to_do_when_colab_does_not_know_the_repository(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(RuntimeError, match="Colab button"):
            run_setup_cell(monkeypatch, "fileId=1AbCdEfG")
