"""The chapter contract: what every chapter promises, checked. The chapters: _toc.yml."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import re
import shutil
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import chapters as toc
import export
import nbformat
import notebooks
import pytest
import yaml
from chapters import Chapter

from sources import imported, modules, reached, without_magics

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mini_gpt"
CHAPTERS = toc.chapters()
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|root|Users|work|tmp|var|usr|opt|content|mnt)/\w|\b[A-Z]:\\\\?\w"
)
LONGEST_MODULE, LONGEST_EXPORT, LONGEST_CELL, WIDEST = 320, 60, 45, 88
# Pictures: before the fifth cell, then one in so many cells; and how long code cells are.
FIRST_PICTURE, PICTURE_GAP, MEDIAN_CODE, SMALL_FIRST = 5, 6, 8, 40
MOST_WORDS = 4300  # of prose and code, forty minutes; without what is exported or folded
# What a page shows only to readers who open it, and formulas, which count as one word.
FOLDED = (
    r"^```\{solution-start\}.*?^```\{solution-end\}\n```$",
    r"^(`{3,})\{dropdown\} .*?^\1$",
    r"^(`{3,})\{\w+\}[^\n]*\n:class: dropdown\n.*?^\1$",
)
FORMULA = r"\$\$.+?\$\$|\$[^$\n]+\$"
FIRST_WITH_SHIPPED_MODEL = toc.chapter("gpt2").number  # from here on `from mini_gpt import ...`

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)


@functools.cache
def load(chapter: Chapter) -> nbformat.NotebookNode:
    return nbformat.read(chapter.notebook, as_version=4)


def code_cells(chapter: Chapter) -> list[nbformat.NotebookNode]:
    return [cell for cell in load(chapter).cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def code_lines(source: str) -> int:
    """Lines of code in a cell: without empty lines, comments and docstrings."""
    source = without_magics(source)
    lines = [line for line in source.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    documented = ast.Module, ast.ClassDef, ast.FunctionDef
    docstrings = [
        ast.get_docstring(node, clean=False) or ""
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, documented)
    ]
    return len(lines) - sum(len(text.splitlines()) for text in docstrings)


class TestList:
    """`_toc.yml` and the files agree."""

    def test_it_reads_as_yaml_reads_it(self) -> None:
        def walk(contents: object) -> Iterator[tuple[str, str]]:
            for entry in contents if isinstance(contents, list) else [contents]:
                for key, value in entry.items():
                    if isinstance(value, list):
                        yield from walk(value)
                    elif key in ("root", "file", "caption"):
                        yield key, value

        whole = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
        assert toc.contents() == list(walk(whole))

    def test_it_has_four_parts_counted_through(self) -> None:
        parts = list(dict.fromkeys(chapter.part for chapter in CHAPTERS))
        assert parts[:4] == ["Text", "Model", "Training", "Writing"]
        assert [chapter.number for chapter in CHAPTERS] == list(range(1, len(CHAPTERS) + 1))
        whole = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
        numbered = {part["caption"] for part in whole["parts"] if part.get("numbered")}
        assert numbered == set(parts)

    def test_a_chapter_is_found_by_its_stem(self, tmp_path: Path) -> None:
        text = "root: book/index\nparts:\n- caption: One # a comment\n  chapters:\n"
        text += "  - file: book/01_first\n  - file: 'book/02_second_one'\n  - file: book/notes\n"
        (tmp_path / "_toc.yml").write_text(text, encoding="utf-8")
        first, second = toc.chapters(tmp_path)
        assert (first.number, first.stem, first.part) == (1, "first", "One")
        assert second == toc.chapter("second_one", tmp_path)
        assert second.page == "book/02_second_one"
        assert second.module == "mini_gpt.second_one"
        pages = ["book/index", "book/01_first", "book/02_second_one", "book/notes"]
        assert toc.pages(tmp_path) == pages
        with pytest.raises(ValueError, match=r"no chapter has the stem 'third'; see _toc\.yml"):
            toc.chapter("third", tmp_path)

    def test_no_chapter_is_left_out(self) -> None:
        found = set((ROOT / "book").glob("*.ipynb"))
        assert found == {chapter.notebook for chapter in CHAPTERS}

    def test_the_package_has_the_chapters_modules_and_no_others(self) -> None:
        by_hand = {"__init__", "__main__"}
        found = {path.stem for path in PACKAGE.glob("*.py")} - by_hand
        assert found == {chapter.stem for chapter in CHAPTERS}
        checks = {path.stem for path in (PACKAGE / "checks").glob("*.py")}
        assert checks - {"__init__", "report"} == found

    @each_chapter
    def test_a_chapters_files_have_one_stem(self, chapter: Chapter) -> None:
        for path in (chapter.notebook, chapter.source, chapter.checks, chapter.tests):
            assert path.is_file(), f"{path.relative_to(ROOT)} is missing"


@each_chapter
class TestNotebook:
    def test_was_executed_once_from_top_to_bottom(self, chapter: Chapter) -> None:
        cells = code_cells(chapter)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))

    def test_stores_no_error_no_warning_and_no_path_of_some_machine(self, chapter: Chapter) -> None:
        for cell in code_cells(chapter):
            for output in cell.outputs:
                assert output.output_type != "error", cell.source
                assert output.get("name") != "stderr", (
                    f"{cell.source}\nwrote to stderr: {output.text}"
                )
                data = output.get("data", {})
                shown = {kind: value for kind, value in data.items() if "image" not in kind}
                assert not MACHINE_PATH.search(json.dumps({**output, "data": shown})), (
                    f"a path of some machine in the output of\n{cell.source}"
                )

    def test_describes_every_picture(self, chapter: Chapter) -> None:
        for cell in code_cells(chapter):
            kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
            pictures = [kind for kind in kinds if kind.startswith("image/")]
            if pictures:
                drawn = "".join(
                    output.get("data", {}).get("image/svg+xml", "") for output in cell.outputs
                )
                title = re.search(r"<title>(.*?)</title>", drawn)
                alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
                assert len((title[1] if title else alt).split()) >= 5, (
                    f"no description of the picture drawn by\n{cell.source}"
                )
                assert len(pictures) == 1, (
                    f"one picture a cell, so that each has its description:\n{cell.source}"
                )

    def test_shows_a_picture(self, chapter: Chapter) -> None:
        outputs = [output for cell in code_cells(chapter) for output in cell.outputs]
        assert any("image/png" in output.get("data", {}) for output in outputs)

    def test_is_stored_clean(self, chapter: Chapter) -> None:
        assert notebooks.check(chapter.notebook) is None

    def test_names_no_repository_address_but_the_books(self, chapter: Chapter) -> None:
        config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
        text = chapter.notebook.read_text(encoding="utf-8")
        for found in re.findall(
            r"(?:github\.com|githubusercontent\.com|colab\.research\.google\.com)/[\w./-]+", text
        ):
            assert found in config["repository"]["url"], (
                f"{chapter.name} names {found}; the address stands in _config.yml only"
            )

    def test_says_why_an_output_may_differ(self, chapter: Chapter) -> None:
        """A cell whose output is not compared asserts the property that the prose relies on."""
        for cell in code_cells(chapter):
            if "nbval-ignore-output" in tags(cell):
                assert "assert " in cell.source, (
                    f"nothing is asserted by the uncompared cell\n{cell.source}"
                )

    def test_cells_are_short_and_narrow(self, chapter: Chapter) -> None:
        for cell in code_cells(chapter):
            excused = re.search(r"^\s*# Long because ", cell.source, re.MULTILINE)
            limit = LONGEST_EXPORT if cell.source.startswith("#| export") else LONGEST_CELL
            lines = code_lines(cell.source)
            assert lines <= limit or excused, f"{lines} lines of code in\n{cell.source[:200]}"
            for line in cell.source.splitlines():
                assert len(line) <= WIDEST, f"{len(line)} columns, which a page cuts off: {line}"


def pictures(chapter: Chapter) -> list[int]:
    """The numbers of the cells that show a plot or a drawing."""
    return [
        number
        for number, cell in enumerate(load(chapter).cells)
        for output in cell.get("outputs", [])
        if {"image/png", "image/svg+xml"} & output.get("data", {}).keys()
    ]


def words_to_read(cells: list[nbformat.NotebookNode]) -> int:
    """Words of the prose and of the code that a page shows, outside exported cells.

    A word has a letter or a digit in it: a sign that stands alone is none.
    """
    hidden = {"remove-cell", "remove-input", "hide-cell", "hide-input"}
    shown = []
    for cell in cells:
        if cell.cell_type == "markdown":
            shown.append(re.sub(FORMULA, " formula ", cell.source, flags=re.DOTALL))
        elif not (cell.source.startswith("#|") or hidden & set(tags(cell))):
            shown.append(cell.source)
    text = "\n".join(shown)
    for folded in FOLDED:
        text = re.sub(folded, "", text, flags=re.DOTALL | re.MULTILINE)
    return sum(any(map(str.isalnum, word)) for word in text.split())


class TestWords:
    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("## Two words\n\n* and $a + b$ three", 5),
            ("One\n\n$$\na = b\n$$\n\ntwo.", 3),
            ("Seen\n\n```{dropdown} Why?\nFolded away.\n```\n\nagain", 2),
            ("Seen\n\n````{admonition} An aside\n:class: dropdown\nno\n````\nagain", 2),
            ("```{admonition} An aside\n:class: tip\nseen\n```", 6),
        ],
    )
    def test_of_prose_are_what_the_page_shows(self, source: str, words: int) -> None:
        assert words_to_read([nbformat.v4.new_markdown_cell(source)]) == words

    def test_of_code_leave_out_what_is_exported_hidden_or_folded(self) -> None:
        cell = nbformat.v4.new_code_cell
        folded = [{"tags": [tag]} for tag in ("remove-cell", "remove-input", "hide-input")]
        cells = [cell("#| export\nnot = 1"), *(cell("nor = 2", metadata=tag) for tag in folded)]
        cells += [nbformat.v4.new_markdown_cell("```{solution-start} x\n:class: dropdown\n```")]
        cells += [cell("solved = 3"), nbformat.v4.new_markdown_cell("```{solution-end}\n```")]
        assert words_to_read(cells) == 0
        assert words_to_read([*cells, cell("seen = a + 4")]) == 3


@each_chapter
class TestReading:
    """What a tired reader asks of a page: early and frequent pictures, short cells, an end."""

    def test_opens_with_the_map(self, chapter: Chapter) -> None:
        number = pictures(chapter)[0]
        assert number < FIRST_PICTURE
        assert f'machine_map("{chapter.stem}")' in load(chapter).cells[number].source

    def test_never_goes_long_without_a_picture(self, chapter: Chapter) -> None:
        cells = load(chapter).cells
        for before, after in pairwise([*pictures(chapter), len(cells)]):
            assert after - before <= PICTURE_GAP, (
                f"{after - before} cells without a picture from\n{cells[before + 1].source[:300]}"
            )

    def test_its_code_comes_in_short_cells(self, chapter: Chapter) -> None:
        sizes = [
            code_lines(cell.source)
            for cell in code_cells(chapter)
            if not cell.source.startswith("#|") and "remove-cell" not in tags(cell)
        ]
        assert statistics.median(sizes) < MEDIAN_CODE, sorted(sizes)

    def test_a_long_exported_cell_says_why(self, chapter: Chapter) -> None:
        for cell in code_cells(chapter):
            if cell.source.startswith("#| export"):
                lines = code_lines(cell.source)
                assert lines <= SMALL_FIRST or "# Long because " in cell.source, (
                    f"{lines} lines in\n{cell.source[:200]}"
                )

    def test_can_be_read_in_one_sitting(self, chapter: Chapter) -> None:
        assert words_to_read(load(chapter).cells) <= MOST_WORDS

    def test_ends_with_three_questions(self, chapter: Chapter) -> None:
        prose = [cell.source for cell in load(chapter).cells if cell.cell_type == "markdown"]
        recap = "\n".join(prose).partition("\n## Recap\n")[2]
        assert len(re.findall(r"^`{3,}\{dropdown\} .+$", recap, re.MULTILINE)) >= 3


@each_chapter
class TestChapter:
    def test_opens_with_its_title_and_its_cost(self, chapter: Chapter) -> None:
        assert re.match(r"# \w", chapter.opening())
        assert "**Cost.**" in chapter.opening()
        assert "TODO" not in chapter.opening()

    def test_its_first_sentence_is_the_docstring_of_its_module(self, chapter: Chapter) -> None:
        documented = ast.get_docstring(ast.parse(chapter.source.read_text(encoding="utf-8")))
        assert " ".join((documented or "").split()) == " ".join(chapter.sentence().split())
        assert len(chapter.sentence().split()) >= 4
        assert chapter.sentence().endswith(".")

    def test_has_the_same_hidden_setup_cell(self, chapter: Chapter) -> None:
        cell = load(chapter).cells[1]
        assert cell.source == load(CHAPTERS[0]).cells[1].source
        assert {"setup", "remove-cell"} <= set(tags(cell))

    def test_exports_the_module_of_its_stem(self, chapter: Chapter) -> None:
        cells = code_cells(chapter)
        declared = [cell for cell in cells if cell.source.startswith("#| default_exp")]
        assert [cell.source.split() for cell in declared] == [["#|", "default_exp", chapter.stem]]
        assert "remove-cell" in tags(declared[0])
        assert sum(cell.source.startswith("#| export") for cell in cells) >= 2

    def test_its_module_is_short(self, chapter: Chapter) -> None:
        """Without what the export adds: the list of names, and a mark where each cell begins."""
        text = chapter.source.read_text(encoding="utf-8")
        text = re.sub(r"^__all__ = \[.*?\]\n", "", text, flags=re.MULTILINE | re.DOTALL)
        lines = [line for line in text.splitlines() if not line.startswith("# %% ")]
        assert len(lines) <= LONGEST_MODULE, f"{chapter.source.name} has {len(lines)} lines"

    def test_proves_what_it_says(self, chapter: Chapter) -> None:
        ordinary = [
            cell
            for cell in code_cells(chapter)
            if not cell.source.startswith("#| export") and "exercise" not in tags(cell)
        ]
        assert sum("assert" in cell.source for cell in ordinary) >= 4

    def test_has_its_parts_in_order(self, chapter: Chapter) -> None:
        headings = [
            line.removeprefix("## ").strip()
            for cell in load(chapter).cells
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

    def test_exercises_have_a_stub_a_check_and_a_folded_solution(self, chapter: Chapter) -> None:
        cells = load(chapter).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        exercises = re.findall(r"^```\{exercise-start\}.*\n:label: (\S+)", prose, re.M)
        solutions = re.findall(r"^```\{solution-start\} (\S+)\n:class: dropdown", prose, re.M)
        assert len(exercises) >= 2
        assert solutions == exercises
        stubs = [cell for cell in code_cells(chapter) if "exercise" in tags(cell)]
        solved = [cell for cell in code_cells(chapter) if "solution" in tags(cell)]
        assert len(stubs) == len(solved) == len(exercises)
        for cell, said in [(stub, "not yet: ") for stub in stubs] + [
            (solution, "correct: ") for solution in solved
        ]:
            assert f"checks.{chapter.stem}." in cell.source, cell.source
            assert printed(cell).startswith(said), cell.source

    def test_exported_names_are_documented(self, chapter: Chapter) -> None:
        module = importlib.import_module(chapter.module)
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


# ---- the order of imports is the order of reading ------------------------------------------------


NUMBERS = {chapter.module: chapter.number for chapter in CHAPTERS}


@pytest.mark.parametrize("folder", ["mini_gpt", "bench", "tools", "book/_ext"])
def test_what_is_written_by_hand_is_no_longer_than_a_chapters_module(folder: str) -> None:
    generated = {chapter.source for chapter in CHAPTERS}
    by_hand = set((ROOT / folder).rglob("*.py")) - generated
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in by_hand}
    assert len(lengths) > 3
    too_long = {path.name: lines for path, lines in lengths.items() if lines > LONGEST_MODULE}
    assert not too_long, "cut these by subject, as mini_gpt/support/drawings/ is"


def later(names: frozenset[str] | set[str], number: int) -> list[str]:
    """Those of these modules that belong to chapters from this number on."""
    return sorted(name for name in names if NUMBERS.get(name, 0) >= number)


class TestImports:
    @pytest.mark.parametrize("name", sorted(modules()))
    def test_no_module_reaches_itself(self, name: str) -> None:
        assert name not in reached(name)

    @pytest.mark.parametrize("name", sorted(modules()))
    def test_none_imports_the_package_as_a_whole(self, name: str) -> None:
        """For that would be an import of every chapter."""
        taken = imported(modules()[name].read_text(encoding="utf-8"), name)
        allowed = {"checks", "support", "commands", "__version__"}
        assert not [n for module, n in taken if module == "mini_gpt" and n not in allowed]

    @each_chapter
    def test_a_module_needs_earlier_chapters_only(self, chapter: Chapter) -> None:
        assert later(reached(chapter.module), chapter.number) == []

    @each_chapter
    def test_a_chapters_checks_need_no_later_chapter(self, chapter: Chapter) -> None:
        assert later(reached(f"mini_gpt.checks.{chapter.stem}"), chapter.number + 1) == []

    @each_chapter
    def test_a_chapters_cells_need_no_later_chapter(self, chapter: Chapter) -> None:
        known = modules()
        for cell in code_cells(chapter):
            for module, name in imported(without_magics(cell.source)):
                if module == "mini_gpt" and name in ("checks", "support", ""):
                    continue
                if module == "mini_gpt" and f"mini_gpt.{name}" not in known:
                    assert chapter.number >= FIRST_WITH_SHIPPED_MODEL, (
                        f"import {name} from the module that a chapter before this one exports"
                    )
                    continue
                found = {module, f"{module}.{name}"} & known.keys()
                assert found, f"mini_gpt has no {module}.{name}"
                for one in found:
                    needed = {one} | reached(one)
                    assert later(needed, chapter.number + 1) == [], (
                        f"{chapter.name} imports {one}, which needs a later chapter:\n{cell.source}"
                    )

    def test_the_order_is_one_that_could_be_broken(self) -> None:
        """The test of the tests: chapters do import each other, and support reaches chapters."""
        assert "mini_gpt.attention" in reached("mini_gpt.model")
        assert later(reached("mini_gpt.model"), 1)
        assert later(reached("mini_gpt.support.model_folder"), 1)
        chain = [toc.chapter(stem).number for stem in ("attention", "multi_head", "decoder")]
        assert all(a < b for a, b in pairwise(chain))


# ---- the export ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_package_is_what_the_notebooks_export(tmp_path: Path) -> None:
    """Export a copy and compare: nobody has edited a generated module by hand."""
    for name in ("pyproject.toml", "README.md", "_toc.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("book", "mini_gpt"):
        left_out = shutil.ignore_patterns("_build", ".ipynb_checkpoints", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    for chapter in CHAPTERS:
        (tmp_path / chapter.source.relative_to(ROOT)).unlink()
    assert len(export.export(tmp_path)) == len(CHAPTERS)
    exported, committed = (
        {path.relative_to(root): path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
        for root in (tmp_path / "mini_gpt", PACKAGE)
    )
    assert exported.keys() == committed.keys()
    other = [str(path) for path in exported if exported[path] != committed[path]]
    assert other == [], "these are not what the notebooks export; run: make export"


# ---- the setup cell -----------------------------------------------------------------------------


class TestSetupCell:
    """The sources'; tests/test_reader_notebooks.py has what readers run."""

    def run(self, monkeypatch: pytest.MonkeyPatch, found: object) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
        exec(compile(load(CHAPTERS[0]).cells[1].source, "setup", "exec"), {})

    def test_without_the_package_it_says_what_to_type(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(ModuleNotFoundError, match=r"first run: %pip install --editable"):
            self.run(monkeypatch, None)

    def test_with_it_nothing_happens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run(monkeypatch, object())
