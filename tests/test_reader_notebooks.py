"""The notebooks that readers open outside the site: nothing in them speaks to the site's tools."""

from __future__ import annotations

import base64
import functools
import re
import symtable
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chapters as toc
import nbformat
import pytest
import reader_notebooks
from reader_notebooks import Converter, Edition

from sources import without_magics

ADDRESS, BRANCH = "https://github.com/somebody/fork", "draft/two"
CHAPTERS = toc.chapters()
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)


@functools.cache
def edition(chapter: toc.Chapter, solutions: bool = False) -> nbformat.NotebookNode:
    return Converter(chapter, Edition(ADDRESS, BRANCH, solutions)).notebook()


def made(tmp_path: Path, *cells: nbformat.NotebookNode, solutions: bool = False) -> list[Any]:
    """The cells of an edition of a chapter with these cells."""
    (tmp_path / "book").mkdir(exist_ok=True)
    (tmp_path / "_toc.yml").write_text(
        "root: book/index\nparts:\n- caption: One\n  chapters:\n  - file: book/03_odd\n",
        encoding="utf-8",
    )
    works = "@misc{doe2020odd, title={Odd}, author={Doe, Ann and Roe, Bo}, year={2020}, "
    works += "eprint={2001.00001}}"
    (tmp_path / "book" / "references.bib").write_text(works, encoding="utf-8")
    chapter = toc.Chapter(tmp_path, 3, "odd", "One")
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), chapter.notebook)
    return Converter(chapter, Edition(ADDRESS, "main", solutions)).notebook().cells


markdown, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell


class TestConversion:
    def test_links_lead_to_notebooks_and_pages(self, tmp_path: Path) -> None:
        (cell,) = made(
            tmp_path, markdown("# Odd\nSee {doc}`03_odd`, {doc}`that one <03_odd>`, {doc}`api`.")
        )
        assert "See [3 Odd](03_odd.ipynb), [that one](03_odd.ipynb), " in cell.source
        assert f"[api]({ADDRESS}/blob/main/book/api.md)." in cell.source

    @pytest.mark.slow
    def test_what_is_cited_is_linked_and_listed(self, tmp_path: Path) -> None:
        text, works = made(tmp_path, markdown("{cite:t}`doe2020odd` say so {cite}`doe2020odd`."))
        link = "(https://arxiv.org/abs/2001.00001)"
        assert text.source == f"[Doe and Roe (2020)]{link} say so ([Doe and Roe, 2020]{link})."
        assert works.source.startswith("## References\n\n* Ann Doe and Bo Roe")

    def test_boxes_are_plain(self, tmp_path: Path) -> None:
        box = '```{admonition} "So"\n:class: tip\nOne {doc}`03_odd`.\n\nTwo.\n```\nAfter.'
        question = "```{dropdown} Why?\nSince.\n```"
        first, second = made(tmp_path, markdown(box), markdown(question))
        assert first.source == '> **"So"**\n>\n> One [3 ](03_odd.ipynb).\n>\n> Two.\nAfter.'
        assert second.source == "<details>\n<summary>Why?</summary>\n\nSince.\n\n</details>"

    def test_exercises_lead_to_their_solutions(self, tmp_path: Path) -> None:
        cells = (
            markdown(
                "```{exercise-start} Try\n:label: ex-odd-try\n```\nDo it.\n```{exercise-end}\n```"
            ),
            code("def f(): ...", metadata={"tags": ["exercise"]}),
            markdown("```{solution-start} ex-odd-try\n:class: dropdown\n```\nIt is one."),
            code("def f(): return 1", metadata={"tags": ["solution"]}),
            markdown("```{solution-end}\n```\n\n## Recap"),
        )
        task, stub, recap = made(tmp_path, *cells)
        assert (
            task.source == "### Exercise 1: Try\n\nDo it.\n\n[A solution](03_odd_solutions.ipynb)"
        )
        assert stub.source == "def f(): ..."
        assert recap.source == "## Recap"
        solved = made(tmp_path, *cells, solutions=True)
        sources = [cell.source for cell in solved]
        assert sources[2:4] == ["**Solution**\nIt is one.", "def f(): return 1"]

    def test_exported_and_hidden_cells(self, tmp_path: Path) -> None:
        cells = (
            code("#| default_exp odd", metadata={"tags": ["remove-cell"]}),
            code("#| export\nx = 1"),
            code("draw()", metadata={"tags": ["remove-input"]}),
            code("x", metadata={"tags": ["nbval-ignore-output", "thebe"]}),
        )
        exported, drawn, shown = made(tmp_path, *cells)
        assert exported.source == "# This cell is part of mini_gpt.odd.\nx = 1"
        assert drawn.metadata["jupyter"] == {"source_hidden": True}
        assert shown.metadata["tags"] == ["nbval-ignore-output"]
        assert [cell.execution_count for cell in (exported, drawn, shown)] == [1, 2, 3]

    @pytest.mark.parametrize("source", ["{numref}`x`", "```{figure} a.png\n```"])
    def test_what_has_no_plain_form_is_named(self, tmp_path: Path, source: str) -> None:
        with pytest.raises(ValueError, match=r"03_odd: the .* has no plain form"):
            made(tmp_path, markdown(source))


@pytest.mark.slow
def drawn(output: nbformat.NotebookNode) -> str:
    return output.get("data", {}).get("text/html", "")


def test_pictures_are_images_where_svg_is_not_trusted() -> None:
    cells = edition(toc.chapter("attention")).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    start = '<img src="data:image/svg+xml;base64,'
    images = [drawn(output) for output in outputs if drawn(output).startswith(start)]
    assert len(images) > 10
    for html in images:
        assert re.search(r'alt="[^"]{20,}"', html)
        encoded = html.removeprefix(start).partition('"')[0]
        assert base64.b64decode(encoded).startswith(b'<svg xmlns="http://www.w3.org/2000/svg"')
    assert not any("<svg" in drawn(output) for output in outputs)
    plots = [output for output in outputs if "image/png" in output.get("data", {})]
    assert plots
    assert all(200 < output.metadata["image/png"]["width"] < 800 for output in plots)


def test_an_edition_for_running_keeps_what_a_run_gives() -> None:
    chapter = toc.chapter("attention")
    kept = Converter(chapter, Edition(ADDRESS, BRANCH, True, for_running=True)).notebook()
    outputs = [output for cell in kept.cells for output in cell.get("outputs", [])]
    assert sum('<div class="drawing"><svg' in drawn(output) for output in outputs) > 10


@each_chapter
@pytest.mark.parametrize("solutions", [False, True])
@pytest.mark.slow
def test_nothing_of_the_sites_language_is_left(chapter: toc.Chapter, solutions: bool) -> None:
    known = {one.name + end for one in CHAPTERS for end in (".ipynb", "_solutions.ipynb")}
    for cell in edition(chapter, solutions).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\{[a-z:-]+\}`|^(`{3,}|:{3,})\{", cell.source, re.M), cell.source
            for link in re.findall(r"\]\(([^)#]*\.ipynb)\)", cell.source):
                assert link in known, link
        else:
            assert not cell.source.startswith("#|")
            assert set(cell.metadata.get("tags", [])) <= {"nbval-ignore-output"}


@pytest.mark.slow
@each_chapter
@pytest.mark.slow
def test_no_solution_is_open(chapter: toc.Chapter) -> None:
    """And nothing needs one: what only solutions define is used nowhere else."""
    source = nbformat.read(chapter.notebook, as_version=4)
    cells = [cell for cell in source.cells if cell.cell_type == "code"]
    solved = [cell for cell in cells if "solution" in cell.metadata.get("tags", [])]
    left = [cell.source for cell in edition(chapter).cells]
    assert not [cell.source for cell in solved if cell.source in left]
    assert "{solution" not in "".join(left)

    others = [cell.source for cell in cells if cell not in solved]
    only_solutions = defined([cell.source for cell in solved]) - defined(others)
    assert not only_solutions & used(others)


def tables(sources: list[str]) -> Iterator[symtable.SymbolTable]:
    for source in sources:
        yield symtable.symtable(without_magics(source), "cell", "exec")


def defined(sources: list[str]) -> set[str]:
    """The names that cells bind for those after them."""
    return {
        symbol.get_name()
        for table in tables(sources)
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }


def used(sources: list[str]) -> set[str]:
    """The names that cells, and the functions in them, take from the cells before."""

    def taken(table: symtable.SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
                yield symbol.get_name()
        for child in table.get_children():
            yield from taken(child)

    return {name for table in tables(sources) for name in taken(table)}


class TestSetupCell:
    """With stand-ins for where a notebook may be opened."""

    def run(self, monkeypatch: pytest.MonkeyPatch, *, installed: bool) -> list[str]:
        from IPython.core.inputtransformer2 import TransformerManager

        found = object() if installed else None
        monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
        cell = next(cell for cell in edition(CHAPTERS[0]).cells if cell.cell_type == "code")
        asked: list[str] = []
        namespace: dict[str, object] = {}
        shell = types.SimpleNamespace(
            run_line_magic=lambda magic, line: asked.append(f"{magic} {line}".format(**namespace))
        )
        namespace["get_ipython"] = lambda: shell
        exec(compile(TransformerManager().transform_cell(cell.source), "setup", "exec"), namespace)
        return asked

    LINE = f'"mini-gpt[notebooks] @ git+{ADDRESS}@{BRANCH}"'

    def test_on_colab_and_kaggle_it_installs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as colab:
            colab.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
            assert self.run(colab, installed=False) == [f"pip install --quiet {self.LINE}"]
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
        assert self.run(monkeypatch, installed=False) == [f"pip install --quiet {self.LINE}"]

    def test_elsewhere_it_says_what_to_type(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
        with pytest.raises(ModuleNotFoundError, match=re.escape(self.LINE)):
            self.run(monkeypatch, installed=False)

    def test_where_it_is_installed_it_does_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
        assert self.run(monkeypatch, installed=True) == []


@pytest.mark.slow
def test_the_command_writes_both_editions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["reader_notebooks", str(tmp_path), "--branch", "x"])
    assert reader_notebooks.main() == 0
    assert len(list(tmp_path.glob("*.ipynb"))) == 2 * len(CHAPTERS)
    nbformat.validate(nbformat.read(tmp_path / f"{CHAPTERS[0].name}.ipynb", as_version=4))
    assert f"{2 * len(CHAPTERS)} notebooks in" in capsys.readouterr().out
