"""The package as users get it: its public names, its wheel, its import, the README's examples."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import book_api
import chapters as toc
import pytest
from chapters import Chapter
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mini_gpt
from sources import cells, modules, used

ROOT = Path(__file__).resolve().parent.parent

IMPORT_QUIETLY = """
import json, os, sys, warnings
import torch

def state():
    return [str(torch.get_default_dtype()), torch.get_num_threads(), torch.initial_seed(),
            torch.get_rng_state().tolist(), torch.is_grad_enabled(), sorted(os.environ)]

warnings.filterwarnings("error", module=r"mini_gpt(\\..*)?$")
before = state()
import mini_gpt
unchanged = state() == before
with open(sys.argv[1], "w") as report:
    json.dump({"unchanged": unchanged, "modules": sorted(sys.modules)}, report)
"""


@pytest.fixture(scope="module")
def import_report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `import mini_gpt` did in a fresh interpreter with an empty home folder."""
    folder = tmp_path_factory.mktemp("import")
    home, report = folder / "home", folder / "report.json"
    home.mkdir()
    variables = {**os.environ, "HOME": str(home), "USERPROFILE": str(home), "PYTHONPATH": str(ROOT)}
    variables |= {"PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-c", IMPORT_QUIETLY, str(report)]
    done = subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = sorted(str(path.relative_to(home)) for path in home.rglob("*"))
    printed = done.stdout + done.stderr
    return {**json.loads(report.read_text()), "printed": printed, "written": written}


def test_import_is_silent(import_report: dict[str, Any]) -> None:
    assert import_report["printed"] == ""


def test_import_writes_nothing(import_report: dict[str, Any]) -> None:
    assert import_report["written"] == []


def test_import_leaves_torch_as_it_was(import_report: dict[str, Any]) -> None:
    assert import_report["unchanged"] is True


@pytest.mark.parametrize(
    "module",
    [
        "IPython",
        "huggingface_hub",
        "matplotlib",
        "tiktoken",
        "tqdm.notebook",
        "transformers",
        "tyro",
    ],
)
def test_import_leaves_out_what_only_some_need(module: str, import_report: dict[str, Any]) -> None:
    assert module not in import_report["modules"]


@pytest.mark.parametrize("name", mini_gpt.__all__)
def test_public_name_is_there_and_explained(name: str) -> None:
    thing = getattr(mini_gpt, name)
    assert inspect.getdoc(thing), f"mini_gpt.{name} has no docstring"


def test_help_reads_like_a_page() -> None:
    """What the package offers, by use, all of it, and no line that a terminal breaks."""
    page = mini_gpt.__doc__ or ""
    rows = re.findall(r"^(?:[A-Z][a-z ]+|) {2,}((?:\w+, )*\w+),?$", page, re.MULTILINE)
    assert sorted(name for row in rows for name in row.split(", ")) == sorted(mini_gpt.__all__)
    assert max(map(len, page.splitlines())) <= 88
    assert "mini-gpt --help" in page
    example = textwrap.dedent(page.split("at once:\n\n")[1].split("\n\nTo make")[0])
    assert "from_pretrained" in example
    compile(example, "help(mini_gpt)", "exec")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["train", "--help"], ["info", "gpt2"]]
)
def test_commands_that_compute_nothing_load_nothing_heavy(words: list[str]) -> None:
    """So that they take little more than torch's own import; bench/import_time.py has times."""
    code = "import sys; from mini_gpt.commands.cli import main; status = main(sys.argv[1:]); "
    code += "print(*sys.modules, file=sys.stderr); sys.exit(status)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split())
    heavy = "IPython huggingface_hub matplotlib scipy tiktoken transformers torch.utils.tensorboard"
    assert "torch" in loaded
    assert loaded.isdisjoint(heavy.split())
    # torch brings these itself, or not: then we do not either.
    brought = "import sys, torch; print(*sys.modules)"
    alone = subprocess.check_output([sys.executable, "-c", brought], text=True).split()
    later = {"torch._dynamo", "torch._inductor", "torch.distributed.fsdp", "torch.onnx"}
    assert loaded & later <= set(alone)


# ---- public names -------------------------------------------------------------------------------

API = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
LISTED = book_api.listed(API)


def test_the_api_page_lists_what_the_package_offers() -> None:
    assert sorted(LISTED["mini_gpt"]) == sorted(mini_gpt.__all__)


def test_the_api_page_goes_through_the_chapters_in_order() -> None:
    modules = [chapter.module for chapter in toc.chapters()]
    assert [module for module in LISTED if module != "mini_gpt"] == modules


@pytest.mark.parametrize(
    "block", [*book_api.BLOCK.finditer(API)], ids=lambda block: block["module"]
)
def test_the_api_page_names_what_is_there_and_all_of_it_is_explained(block: re.Match[str]) -> None:
    names, module = book_api.entries(block["names"]), importlib.import_module(block["module"])
    assert len(names) == len(block["names"].splitlines()), "a name is listed twice"
    assert set(names) <= set(getattr(module, "__all__", ()))
    rows = book_api.table(ROOT, block["module"], names).splitlines()[2:]
    assert len(rows) >= max(1, len(names))


@functools.cache
def used_elsewhere() -> dict[str, set[tuple[str, str]]]:
    """What each module, command, check, benchmark, tool and chapter uses; tests do not count."""
    found = {name: used(path.read_text(encoding="utf-8"), name) for name, path in modules().items()}
    for path in [*(ROOT / "bench").rglob("*.py"), *(ROOT / "tools").glob("*.py")]:
        found[str(path)] = used(path.read_text(encoding="utf-8"))
    for chapter in toc.chapters():  # what a chapter uses of its own module is used where it stands
        found[chapter.module] = found[chapter.module] | used(cells(chapter))
    return found


@pytest.mark.parametrize("chapter", toc.chapters(), ids=lambda chapter: chapter.name)
def test_a_public_name_is_used_elsewhere_or_listed(chapter: Chapter) -> None:
    users = [names for user, names in used_elsewhere().items() if user != chapter.module]
    for name in importlib.import_module(chapter.module).__all__:
        used = any((chapter.module, name) in names for names in users)
        assert used or name in LISTED[chapter.module], (
            f"nothing uses {chapter.module}.{name}: list it in book/api.md, or begin it with _"
        )


def test_uses_are_found_wherever_they_stand() -> None:
    source = "def f():\n    from .part import name\nfrom mini_gpt import checks as c, other\n"
    source += "other.thing(1).more\nunknown.thing\nimport mini_gpt.deep\n"
    assert used(source, "mini_gpt.here") == {
        ("mini_gpt.part", "name"),
        ("mini_gpt", "checks"),
        ("mini_gpt", "other"),
        ("mini_gpt.other", "thing"),
        ("mini_gpt.deep", ""),
    }


def test_version_is_that_of_the_distribution() -> None:
    assert mini_gpt.__version__ == importlib.metadata.version("mini-gpt")


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files in a freshly built wheel."""
    wheel_chapters = importlib.import_module("wheel_chapters")
    with zipfile.ZipFile(wheel_chapters.build_wheel(tmp_path_factory.mktemp("wheel"))) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_module_and_the_type_marker(wheel_names: set[str]) -> None:
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mini_gpt").rglob("*.py")}
    assert expected | {"mini_gpt/py.typed"} <= wheel_names


def test_wheel_holds_the_trained_model(wheel_names: set[str]) -> None:
    folder = ROOT / "mini_gpt" / "pretrained" / "shakespeare"
    expected = {path.relative_to(ROOT).as_posix() for path in folder.iterdir()}
    assert expected
    assert expected <= wheel_names


def test_wheel_holds_nothing_else(wheel_names: set[str]) -> None:
    package = {name for name in wheel_names if name.startswith("mini_gpt/")}
    model = {name for name in package if name.startswith("mini_gpt/pretrained/shakespeare/")}
    assert {Path(name).name for name in model} == set(importlib.import_module("pretrain").FILES)
    # Results that chapters show, of experiments that take longer than a reader waits.
    stored = {name for name in package if name.startswith("mini_gpt/support/stored/")}
    assert {Path(name).suffix for name in stored} == {".json"}
    assert {Path(name).suffix for name in package - model - stored} == {".py", ".typed"}
    assert {Path(name).parts[0].rpartition(".")[2] for name in wheel_names - package} == {
        "dist-info"
    }


def pins() -> dict[str, str]:
    """The pinned version of each package, on this Python and this system."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pinned
        if pin.marker is None or pin.marker.evaluate()
    }


TESTED_EXTRAS = ("notebooks", "book", "gpt2", "test", "bench")


def direct_dependencies() -> dict[str, Requirement]:
    """What pyproject.toml asks for by name, with the extras that tests need."""
    requirements = map(Requirement, importlib.metadata.requires("mini-gpt") or [])
    return {
        canonicalize_name(requirement.name): requirement
        for requirement in requirements
        if requirement.name != "mini-gpt"
        # Of one for other versions of Python, or of an extra that no test needs, nothing is here.
        and (
            requirement.marker is None
            or any(requirement.marker.evaluate({"extra": extra}) for extra in TESTED_EXTRAS)
        )
    }


@pytest.mark.parametrize("name", sorted(direct_dependencies()))
def test_what_runs_is_what_is_pinned(name: str) -> None:
    pinned = pins()[name]
    assert Version(importlib.metadata.version(name)).public == pinned
    assert direct_dependencies()[name].specifier.contains(pinned)


def test_pins_name_no_place_and_no_build() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|\s@\s|^-|/|\+", text, re.MULTILINE)


@pytest.mark.slow
def test_readme_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
