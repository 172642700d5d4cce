"""The machinery around the package: set-up, jobs, workflows, the check of the built site."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import check_site
import environment
import pytest
import run
import yaml

ROOT = Path(__file__).resolve().parent.parent


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


class Pip:
    """Stands where subprocesses start: notes the commands, lets those fail that hold a word."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.refused: list[str] = []

    def __call__(self, command: list[object], variables: object = None, fatal: bool = True) -> bool:
        line = " ".join(map(str, command))
        self.commands.append(line)
        return not any(word in line for word in self.refused)

    @property
    def torch(self) -> list[str]:
        words = [word for line in self.commands for word in line.split()]
        return [word for word in words if word.startswith("torch==")]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pip:
    """A checkout in `tmp_path` whose set-up starts nothing, on Linux without a GPU."""
    fake = Pip()
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(environment, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(environment, "run", fake)
    monkeypatch.setattr(environment, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(environment.sys, "platform", "linux")
    monkeypatch.setattr(environment.shutil, "rmtree", lambda *_, **__: None)
    return fake


def test_a_second_set_up_starts_nothing(pip: Pip) -> None:
    environment.prepare("demo")
    assert pip.commands
    pip.commands.clear()
    environment.prepare("demo")
    assert pip.commands == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_is_installed(name: str, pip: Pip) -> None:
    environment.prepare("demo")
    pip.commands.clear()
    with (environment.ROOT / name).open("a") as file:
        file.write("# changed\n")
    environment.prepare("demo")
    assert any("-e . matplotlib" in line for line in pip.commands)
    assert not any("venv --without-pip" in line for line in pip.commands)


def test_without_a_gpu_the_cpu_build_of_torch_is_tried_first(pip: Pip) -> None:
    environment.prepare("demo")
    assert len(pip.torch) == 1
    assert pip.torch[0].endswith("+cpu")


def test_without_a_cpu_build_the_plain_torch_is_taken(pip: Pip) -> None:
    pip.refused = ["+cpu"]
    environment.prepare("demo")
    cpu = pip.torch[0]
    assert pip.torch == [cpu, cpu, cpu.removesuffix("+cpu")]
    tries = [line for line in pip.commands if "torch==" in line]
    assert [environment.CPU_WHEELS in line for line in tries] == [False, True, False]


def test_with_a_gpu_the_plain_torch_is_taken(pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "has_nvidia_gpu", lambda: True)
    environment.prepare("demo")
    assert len(pip.torch) == 1
    assert not pip.torch[0].endswith("+cpu")


def test_make_offers_every_job() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    explained = set(re.findall(r"^([a-z]+): ## ", makefile, re.MULTILINE))
    listed = re.search(r"^TARGETS := (.*)$", makefile, re.MULTILINE)
    assert listed
    assert explained - {"help"} == set(listed.group(1).split()) == set(run.JOBS)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_only_jobs_that_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^|\s)make ([a-z]+)(?=`|\s*$|  )", text, re.MULTILINE))
    named |= set(re.findall(r"tools/run\.py ([a-z]+)", text))
    assert named
    assert named <= set(run.JOBS) | {"help"}


def test_ci_script_is_well_formed() -> None:
    script = ROOT / ".ci" / "run"
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    if os.name != "nt":
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", script], check=True)


def test_conda_takes_the_same_pins() -> None:
    dependencies = read_yaml("environment.yml")["dependencies"]
    (by_pip,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert by_pip == ["--constraint constraints.txt", "--editable .[test]"]


@pytest.mark.parametrize("name", ["tests.yml", "publish.yml"])
def test_workflow_is_pinned_and_modest(name: str) -> None:
    workflow = read_yaml(f".github/workflows/{name}")
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v1"))


def test_workflows_cover_every_promised_python() -> None:
    matrix = read_yaml(".github/workflows/tests.yml")["jobs"]["package"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert {entry["system"] for entry in matrix["include"]} == {"macos-latest", "windows-latest"}


def test_publishing_checks_the_site_before_it_uploads() -> None:
    jobs = read_yaml(".github/workflows/publish.yml")["jobs"]
    steps = [step.get("run", "") + step.get("uses", "") for step in jobs["build"]["steps"]]
    (check,) = (number for number, step in enumerate(steps) if "tools/check_site.py" in step)
    (upload,) = (number for number, step in enumerate(steps) if "upload-pages-artifact" in step)
    assert check < upload
    assert jobs["deploy"]["needs"] == "build"


CONTENTS = {"root": "book/index", "parts": [{"chapters": [{"file": "book/01_tokens"}]}]}
REPOSITORY = "https://example.org/reader/fork"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A built site of two pages, as check_site wants it."""
    (tmp_path / "book").mkdir()
    (tmp_path / "index.html").write_text("<meta http-equiv=refresh>")
    for page in ("index", "01_tokens"):
        html = f'<h1>Title</h1><a href="{REPOSITORY}/issues">'
        (tmp_path / "book" / f"{page}.html").write_text(html)
    return tmp_path


def faulty_pages(site: Path, repository: str | None = None) -> list[str]:
    return [fault.partition(":")[0] for fault in check_site.faults(site, CONTENTS, repository)]


def test_whole_site_passes(site: Path) -> None:
    assert faulty_pages(site, REPOSITORY) == []


def test_missing_page_is_found(site: Path) -> None:
    (site / "book" / "01_tokens.html").unlink()
    assert faulty_pages(site) == ["book/01_tokens"]


def test_empty_page_is_found(site: Path) -> None:
    (site / "book" / "index.html").write_text("<html></html>")
    assert faulty_pages(site) == ["book/index"]


def test_missing_entrance_is_found(site: Path) -> None:
    (site / "index.html").unlink()
    assert faulty_pages(site) == ["index.html"]


def test_links_to_another_repository_are_found(site: Path) -> None:
    assert faulty_pages(site, "https://example.org/somebody/else") == [
        "book/index",
        "book/01_tokens",
    ]


def test_every_page_of_the_book_is_looked_for() -> None:
    chapters = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.ipynb")}
    assert chapters | {"book/index"} <= set(check_site.pages(read_yaml("_toc.yml")))
