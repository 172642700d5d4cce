"""What the README says: its walk from nothing to one's own model, its sample, what was tried."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import torch
import wheel_chapters
import yaml

import mini_gpt
from mini_gpt.commands.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WALK = README.split("\n## Five minutes\n")[1].split("\n## ")[0]
MINUTES = 5
TEXT = "The owl looked up to the stars above, and sang to a small guitar.\n" * 40
TINY = "--steps 4 --eval-every 2 --layers 1 --width 16 --context-length 8 --sample-tokens 5"


def typed() -> list[str]:
    """The lines of the walk, in order."""
    return re.findall(r"```sh\n(.*?)```", WALK, re.DOTALL)[0].splitlines()


def test_the_processors_build_comes_before_what_would_bring_the_other() -> None:
    lines = typed()
    processors = next(line for line in lines if "download.pytorch.org/whl/cpu" in line)
    assert processors.startswith("pip install torch ")
    assert lines.index(processors) < lines.index("pip install .")


@pytest.mark.slow
def test_the_walk_leads_to_a_model_of_ones_own(tmp_path: Path) -> None:
    """In an environment of its own, from the wheel, word by word, at minuscule sizes.

    Only what pip would fetch is there already: the packages that the package needs.
    """
    start = time.monotonic()
    home, environment = tmp_path / "home", tmp_path / "home" / ".venv"
    home.mkdir()
    (home / "my.txt").write_text(TEXT, encoding="utf-8")
    scripts = "Scripts" if os.name == "nt" else "bin"
    variables = {**os.environ, "HOME": str(home), "MINI_GPT_CACHE": str(home / "cache")}
    variables |= {"PATH": os.pathsep.join([str(environment / scripts), os.environ["PATH"]])}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        variables.pop(name, None)
    printed = []
    for line in typed():
        words = shlex.split(line)
        if words[:2] == [".", ".venv/bin/activate"] or "download.pytorch.org" in line:
            continue
        if words[1:] == ["-m", "venv", ".venv"]:
            venv.create(environment, with_pip=False)
            (packages,) = environment.rglob("site-packages")
            here = Path(torch.__file__).parent.parent
            (packages / "needed.pth").write_text(f"{here}\n", encoding="utf-8")
            continue
        if words == ["pip", "install", "."]:
            wheel = wheel_chapters.build_wheel(tmp_path)
            into = ["--python", str(environment), "install", "--no-deps", "--no-index"]
            subprocess.run(
                [sys.executable, "-m", "pip", "--quiet", *into, wheel], check=True, env=variables
            )
            continue
        assert words[0] == "mini-gpt"
        if words[1] == "train":
            words += TINY.split()
        elif words[-1] == "--interactive":
            words += ["--max-new-tokens", "5", "--past-context", "slide"]
        command = [str(environment / scripts / "mini-gpt"), *words[1:]]
        done = subprocess.run(
            command, cwd=home, env=variables, input="The\n", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    writes, trained, goes_on = printed
    assert writes.startswith("ROMEO.")
    assert "Next:\n  mini-gpt sample runs/mine --interactive" in trained
    assert goes_on.startswith("The")
    assert len(goes_on) == len("The") + 5 + 1
    assert time.monotonic() - start < 60 * MINUTES


@pytest.mark.slow
def test_what_the_model_writes_is_what_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = next(line for line in typed() if line.startswith("mini-gpt sample --prompt"))
    assert main(shlex.split(line)[1:]) == 0
    (sample,) = re.findall(r"```text\n(.*?)```", WALK, re.DOTALL)
    assert capsys.readouterr().out.startswith(sample)


def test_what_was_tried_is_what_the_workflow_tries() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    matrix = workflow["jobs"]["package"]["strategy"]["matrix"]
    versions = [*matrix["python"], *(each["python"] for each in matrix["include"])]
    told = next(part for part in README.split("\n\n") if "make quick` with Python" in part)
    assert set(re.findall(r"\b3\.\d+", told)) == set(versions)
    names = {"ubuntu": "Linux", "macos": "macOS", "windows": "Windows"}
    for system in [*matrix["system"], *(each["system"] for each in matrix["include"])]:
        assert names[system.split("-")[0]] in told


def test_the_loss_curve_is_that_of_the_demo() -> None:
    folder = ROOT / "bench" / "results" / "demo"
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    *measured, final = map(json.loads, lines)
    (alt, path) = re.findall(r"!\[([^]]*)\]\(([^)]*)\)", README)[0]
    assert (ROOT / path).read_bytes().startswith(b"\x89PNG")
    numbers = [float(number) for number in re.findall(r"\d\.\d\d", alt)]
    ends = measured[0], measured[-1]
    assert numbers == [round(e[f"{k}_loss"], 2) for k in ("validation", "training") for e in ends]
    assert [entry["step"] for entry in ends] == [100, 1000]
    assert f"then needs {final['validation_loss']:.2f} nats for each character" in README


def test_how_to_cite_it_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mini_gpt.__version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert "(CITATION.cff)" in README


def test_it_names_no_owner() -> None:
    """A fork's README would send its readers elsewhere."""
    assert not re.search(r"github\.com/[\w-]+/", README)
