"""The workbook: nothing of our code is left in it, and what a reader writes is tried and told."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import chapters as toc
import nbformat
import pytest
import workbook
import workbook_stubs
import workbook_tests
from chapters import ROOT, Chapter

CHAPTERS = toc.chapters()
STEMS = [chapter.stem for chapter in CHAPTERS]
# A chapter of each kind. MY_GPT_ALL_CHAPTERS=1 tries all of them: 45 s of processor time.
TRIED = ["bpe", "attention", "multi_head", "model", "sampling"]
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)


def exported(chapter: Chapter) -> list[str]:
    cells = nbformat.read(chapter.notebook, as_version=4).cells
    return [cell.source for cell in cells if cell.source.startswith("#| export")]


class TestStubs:
    def stub(self, source: str) -> str:
        return workbook_stubs.stub_cell(f"#| export\n{source}", "Do it.")

    def test_a_function_keeps_its_head_and_its_docstring(self) -> None:
        made = self.stub(
            "import math\n\nLIMIT = math.inf\n\n\n@wraps(f)\ndef f(\n    a: int,  # so\n"
            ') -> int:\n    """Add.\n\n    More.\n    """\n    # secret\n    b = a\n    return b\n'
        )
        assert made == (
            "#| export\n# Do it.\nimport math\n\nLIMIT = math.inf\n\n\n@wraps(f)\ndef f(\n"
            '    a: int,  # so\n) -> int:\n    """Add.\n\n    More.\n    """\n'
            '    raise NotImplementedError("write f")'
        )

    def test_a_body_without_docstring_goes_with_its_comments(self) -> None:
        made = self.stub("def f(a=(1, 2)) -> dict[str, int]:\n    # secret: {}\n    return a\n")
        assert made.endswith('-> dict[str, int]:\n    raise NotImplementedError("write f")')
        assert "secret" not in made

    def test_methods_say_what_they_set_and_fields_stay(self) -> None:
        made = self.stub(
            "@dataclass\nclass A:\n    x: int = 3\n\n    def __init__(self):\n"
            "        self.a, self._b = 1, 2\n        self.c: int = 3\n        other.d = 4\n\n"
            "    @property\n    def y(self):\n        return self.x\n\n    def z(self): ...\n"
        )
        assert "    x: int = 3\n" in made
        assert "        # Sets self.a, self.c.\n        raise NotImplementedError" in made
        assert (
            '    @property\n    def y(self):\n        raise NotImplementedError("write A.y")'
            in made
        )
        assert made.endswith("def z(self): ...")

    def test_what_defines_nothing_is_left(self) -> None:
        source = "#| export\nfrom typing import Any\n\nPair = tuple[int, int]"
        assert workbook_stubs.stub_cell(source, "Do it.") == source

    def test_imports_lead_to_the_readers_package(self) -> None:
        source = "from mini_gpt.data import x\nfrom .loss import y\nfrom .data_more import z\n"
        source += "    from mini_gpt.model import w\nfrom .support.files import v\n"
        assert workbook_stubs.with_own_package(source, ["data", "loss"]) == (
            "from my_gpt.data import x\nfrom my_gpt.loss import y\nfrom .data_more import z\n"
            "    from mini_gpt.model import w\nfrom mini_gpt.support.files import v\n"
        )
        assert workbook_stubs.with_own_package(source, []).startswith("from mini_gpt.data")

    @each_chapter
    def test_nothing_of_our_code_is_left(self, chapter: Chapter) -> None:
        """What stays of a function: its head, its docstring and one line."""
        for source in exported(chapter):
            made = workbook_stubs.stub_cell(source, workbook.line(chapter, source))
            assert all(len(one) <= 88 for one in made.splitlines())
            asked = {}
            for node in ast.parse(source).body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    asked |= dict(workbook_stubs.bodies(node))
            for node in ast.walk(ast.parse(made)):
                if isinstance(node, ast.FunctionDef):
                    body = node.body[ast.get_docstring(node) is not None :]
                    said = [ast.unparse(part) for part in body]
                    name = re.match(r"raise NotImplementedError\('write ([\w.]+)'\)", said[0])
                    assert said == ["..."] or (len(said) == 1 and name and name[1] in asked), said
                    asked.pop(name[1] if name else "", None)
            assert not asked


class TestLines:
    @each_chapter
    def test_a_line_speaks_of_what_stands_above_its_cell(self, chapter: Chapter) -> None:
        told, above = dict(workbook.lines().get(chapter.stem, {})), ""
        for cell in nbformat.read(chapter.notebook, as_version=4).cells:
            above += f"\n{cell.source}"
            if cell.source.startswith("#| export"):
                for name in workbook_stubs.public(cell.source):
                    for word in re.findall(r"`([^`]+)`", told.pop(name, "")):
                        assert word in above, f"{chapter.name}: {name} speaks of {word}"
        assert not told, f"{chapter.name} exports no {', '.join(told)}; see workbook_lines.yml"

    def test_a_cell_without_a_line_gets_a_general_one(self) -> None:
        chapter = toc.chapter("bpe")
        assert workbook.line(chapter, "def other(): pass") == workbook.GENERAL
        assert workbook.line(chapter, "def _helper(): pass") == workbook.HELPER
        assert "train_with_index" in workbook.line(chapter, "def train_bpe(): pass")


class TestReadersTests:
    SOURCE = """\
import subprocess
import pytest
from gpt2_outputs import thing

DATA = thing(1)

def helper():
    return DATA

def test_of_ours():
    assert helper()

@pytest.mark.gpu
def test_on_a_card(): ...

class TestA:
    def test_refuses(self):
        with pytest.raises(ValueError, match="so and no other") as fault:
            f(3)

    def test_inside(self):
        assert f._secret == 1

    def started(self):
        return subprocess.run([])

    def test_what_needs_what_is_gone(self):
        assert self.started()

    def started_elsewhere(self):
        return "checks are spoken of only"

class TestB:
    def test_process(self):
        subprocess.run([])
"""

    def test_what_only_our_solution_passes_is_left_out(self) -> None:
        made = workbook_tests.readers_tests(self.SOURCE, {"gpt2_outputs"})
        assert made == (
            "import subprocess\nimport pytest\n\n\nclass TestA:\n    def test_refuses(self):\n"
            "        with pytest.raises(ValueError) as fault:\n            f(3)\n\n\n"
            "    def started_elsewhere(self):\n"
            '        return "checks are spoken of only"\n'
        )

    @pytest.mark.slow
    @each_chapter
    def test_most_tests_of_a_chapter_are_kept(self, chapter: Chapter) -> None:
        text = chapter.tests.read_text(encoding="utf-8")
        absent = {path.stem for path in (ROOT / "tools").glob("*.py")} | {"nbformat", "bench"}
        made = workbook_tests.readers_tests(text, absent)
        before, after = (one.count("def test_") for one in (text, made))
        assert after >= max(5, before // 3)
        assert "match=" not in "".join(re.findall(r"pytest\.raises\([^()]*\)", made))
        ast.parse(made)


# ---- the whole workbook -------------------------------------------------------------------------


def run(folder: Path, *arguments: str) -> str:
    """What check.py says."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def edit(folder: Path, name: str, old: str, new: str) -> None:
    """Change a cell of a notebook, as a reader does."""
    path = folder / f"{name}.ipynb"
    content = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if old in "".join(cell["source"])]
    assert len(cells) == 1
    cells[0]["source"] = "".join(cells[0]["source"]).replace(old, new)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workbook as a reader gets it."""
    folder = tmp_path_factory.mktemp("workbook") / "new"
    assert len(workbook.write(folder)) == len(CHAPTERS)
    return folder


@pytest.mark.slow
class TestWritten:
    def test_a_folder_in_which_somebody_works_is_left_alone(self, written: Path) -> None:
        before = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
        with pytest.raises(ValueError, match="is not empty; name another folder"):
            workbook.write(written)
        assert before == {path: path.read_bytes() for path in before}

    def test_every_chapter_asks_for_its_names_and_holds_no_solution(self, written: Path) -> None:
        for chapter in CHAPTERS:
            notebook = nbformat.read(written / f"{chapter.name}.ipynb", as_version=4)
            nbformat.validate(notebook)
            text = "\n".join(cell.source for cell in notebook.cells)
            assert "{solution" not in text
            assert "\nimport my_gpt" in text
            own = re.findall(rf"^from my_gpt\.({'|'.join(STEMS)})\b", text, re.M)
            assert all(STEMS.index(stem) < chapter.number - 1 for stem in own)
            asked = re.findall(r'raise NotImplementedError\("write ([\w.]+)"\)', text)
            module = ast.parse(chapter.source.read_text(encoding="utf-8")).body
            known = [node.name for node in module if hasattr(node, "name")]
            assert {name.split(".")[0] for name in asked} <= set(known)
            assert asked

    def test_each_chapter_says_what_to_write_next(self, written: Path) -> None:
        """Without running a test; what a run of a stub says is tried below."""
        told = run(
            written,
            "-c",
            "import cells\nfor stem in cells.NOTEBOOKS:\n    found = cells.definitions(stem)\n"
            "    name, (place, text, written) = next(iter(found.items()))\n"
            "    assert text and place.section and not any(one[2] for one in found.values())\n"
            "    cells.export(stem)\n    print(stem, name)",
        )
        assert [line.split()[0] for line in told.splitlines()] == STEMS, told
        for stem in STEMS:
            ast.parse((written / "my_gpt" / f"{stem}.py").read_text(encoding="utf-8"))
            (written / "my_gpt" / f"{stem}.py").unlink()

    def test_a_reader_is_led_through_a_chapter(self, written: Path, tmp_path: Path) -> None:
        folder = tmp_path / "mine"
        shutil.copytree(written, folder)
        assert run(folder, "check.py").startswith("nothing is written yet: begin with 01_")
        assert "there is no chapter 'nothing'" in run(folder, "check.py", "nothing")
        stub = 'raise NotImplementedError("write merge")'
        edit(folder, "02_bpe", stub, "return [1,")
        told = run(folder, "check.py", "bpe")
        assert "02_bpe.ipynb, section" in told
        assert "is no Python" in told
        edit(folder, "02_bpe", "return [1,", "return list(ids)")
        told = run(folder, "check.py", "bpe", "--hint")
        assert "02_bpe: 1 of 3 written, " in told
        assert re.search(r'  not yet: "\w[\w ]+', told), told
        assert "  the test:\n" in told
        assert "  next: train_bpe, in section '" in told
        kept = (folder / "progress.md").read_text(encoding="utf-8")
        assert "0 of 24 chapters are yours." in kept.replace(str(len(CHAPTERS)), "24")
        assert "| [02_bpe](02_bpe.ipynb) | begun | 1 of 3 |" in kept
        assert "**Next:** `validate_ids`" in kept

    def test_who_is_stuck_goes_on_with_the_books_version(
        self, written: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "mine"
        shutil.copytree(written, folder)
        told = run(folder, "-c", "import my_gpt.config")
        assert "my_gpt has no config yet: write it in 06_config.ipynb" in told
        run(folder, "check.py", "--use-solution", "config")
        told = run(
            folder,
            "-c",
            "import my_gpt.config, mini_gpt.config, mini_gpt\n"
            "print(mini_gpt.config is my_gpt.config, mini_gpt.GPTConfig.__module__)",
        )
        assert told == "True my_gpt.config\n"
        run(folder, "check.py", "--start-at", "loss")
        kept = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        assert list(kept["done"]) == ["config", *STEMS[:4]]
        assert "5 the book's." in (folder / "progress.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The edition with our code in place, all of it exported from its notebooks."""
    folder = tmp_path_factory.mktemp("solutions") / "new"
    workbook.write(folder, solutions=True)
    assert not run(folder, "-c", "import cells\nfor stem in cells.NOTEBOOKS: cells.export(stem)")
    done: dict[str, Any] = {"done": dict.fromkeys(STEMS, "done")}
    (folder / "progress.json").write_text(json.dumps(done), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_solutions_pass_it_whole(solved: Path) -> None:
    """All chapters stand in for the book's while the tests of some, or of all, are run."""
    tried = STEMS if os.environ.get("MY_GPT_ALL_CHAPTERS") else TRIED
    told = run(solved, "check.py", *tried)
    for stem in tried:
        line = next(line for line in told.splitlines() if f"_{stem}: " in line)
        assert re.search(r"(\d+) of \1 written, [1-9]\d* tests pass$", line), told
    assert told.endswith(f"{len(STEMS)} of {len(STEMS)} chapters; see progress.md\n"), told
