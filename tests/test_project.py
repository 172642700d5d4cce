"""The machinery around the package: set-up, jobs, workflows, the site's check, the spelling."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chapters as toc
import check_site
import environment
import pytest
import run
import wheel_chapters
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
    explained = set(re.findall(r"^([a-z0-9-]+): ## ", makefile, re.MULTILINE))
    listed = re.search(r"^TARGETS := (.*)$", makefile, re.MULTILINE)
    assert listed
    assert explained - {"help"} == set(listed.group(1).split()) == set(run.JOBS)


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_make_help_lists_the_targets_with_their_explanations() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^  make ([\w-]+) +(\S.*)$", said.stdout, re.MULTILINE))
    assert next(iter(listed)) == "help"
    assert listed.keys() == set(run.JOBS) | {"help"}
    assert said.stderr == ""


def test_a_job_that_is_not_there_is_answered_with_those_that_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "everything"])
    assert run.main() == 2
    said = capsys.readouterr().out
    for name, job in run.JOBS.items():
        assert f"  {name:<12} {job.__doc__}" in said


def test_quick_leaves_out_what_is_slow_and_hands_arguments_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(environment, "prepare", lambda group: Path(group))
    monkeypatch.setattr(run, "call", lambda *command: called.append(command) or 0)
    assert run.quick("-x") == run.pytest("tests/test_book.py") == 0
    (quick, whole) = ([*map(str, command)] for command in called)
    assert quick[-3:] == ["-m", "not slow and not browser", "-x"]
    assert "not slow" not in " ".join(whole)
    assert whole[-1] == "tests/test_book.py"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_only_jobs_that_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    text = re.sub(r"^```diff\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
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


@pytest.mark.parametrize("name", ["tests.yml", "nightly.yml", "publish.yml", "release.yml"])
def test_workflow_is_pinned_and_modest(name: str) -> None:
    workflow = read_yaml(f".github/workflows/{name}")
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        for step in job["steps"]:
            uses = step.get("uses", "actions/none@v1")
            # One by others: the package index's own, which its documentation asks to name so.
            known = r"actions/[a-z-]+@v\d+|pypa/gh-action-pypi-publish@release/v1"
            assert re.fullmatch(known, uses)


@pytest.mark.parametrize("name", ["tests.yml", "nightly.yml"])
def test_workflows_cover_every_promised_python(name: str) -> None:
    matrix = read_yaml(f".github/workflows/{name}")["jobs"]["package"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert {entry["system"] for entry in matrix["include"]} == {"macos-latest", "windows-latest"}


def test_a_push_runs_everything_and_the_night_the_slow_tests_on_every_system() -> None:
    def commands(workflow: str, job: str) -> list[str]:
        steps = read_yaml(f".github/workflows/{workflow}")["jobs"][job]["steps"]
        return [step["run"] for step in steps if "run" in step]

    assert commands("tests.yml", "everything") == ["bash .ci/run"]
    assert commands("tests.yml", "package") == ["python tools/run.py quick"]
    assert commands("nightly.yml", "package") == ['python tools/run.py pytest -m "not browser"']


def test_publishing_checks_the_site_before_it_uploads() -> None:
    jobs = read_yaml(".github/workflows/publish.yml")["jobs"]
    steps = [step.get("run", "") + step.get("uses", "") for step in jobs["build"]["steps"]]
    (check,) = (number for number, step in enumerate(steps) if "tools/check_site.py" in step)
    (upload,) = (number for number, step in enumerate(steps) if "upload-pages-artifact" in step)
    assert check < upload
    assert jobs["deploy"]["needs"] == "build"


NAMES = ["book/index", "book/01_characters"]
REPOSITORY = "https://example.org/reader/fork"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A built site of two pages, as check_site wants it."""
    (tmp_path / "book").mkdir()
    (tmp_path / "index.html").write_text("<meta http-equiv=refresh>")
    for page in ("index", "01_characters"):
        html = f'<h1>Title</h1><a href="{REPOSITORY}/issues">'
        (tmp_path / "book" / f"{page}.html").write_text(html)
    return tmp_path


def faulty_pages(site: Path, repository: str | None = None) -> list[str]:
    return [fault.partition(":")[0] for fault in check_site.faults(site, NAMES, repository)]


def test_whole_site_passes(site: Path) -> None:
    assert faulty_pages(site, REPOSITORY) == []


def test_missing_page_is_found(site: Path) -> None:
    (site / "book" / "01_characters.html").unlink()
    assert faulty_pages(site) == ["book/01_characters"]


def test_empty_page_is_found(site: Path) -> None:
    (site / "book" / "index.html").write_text("<html></html>")
    assert faulty_pages(site) == ["book/index"]


def test_missing_entrance_is_found(site: Path) -> None:
    (site / "index.html").unlink()
    assert faulty_pages(site) == ["index.html"]


def test_links_to_another_repository_are_found(site: Path) -> None:
    assert faulty_pages(site, "https://example.org/somebody/else") == [
        "book/index",
        "book/01_characters",
    ]


def test_every_page_of_the_book_is_looked_for(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["check_site.py", str(site)])
    assert check_site.main() == 1
    missing = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert missing == [page for page in toc.pages() if page not in NAMES]


def test_the_chapters_to_run_are_named_by_stem_or_notebook() -> None:
    assert wheel_chapters.chosen([]) == toc.chapters()
    attention, model = toc.chapter("attention"), toc.chapter("model")
    some = wheel_chapters.chosen([model.name, "attention", "model"])
    assert some == [attention, model]
    with pytest.raises(ValueError, match=r"no chapter is called training; see _toc\.yml"):
        wheel_chapters.chosen(["training", "model"])


# ---- a knob of the model touches two files -------------------------------------------------------

TURN_THE_KNOB = """
import contextlib, dataclasses, io, pathlib, sys
import torch
import mini_gpt
from mini_gpt import CharTokenizer, GPT, GPTConfig, from_pretrained, generate, save_pretrained
from mini_gpt.commands.cli import main
from mini_gpt.generation import InferenceSession

folder = pathlib.Path(sys.argv[1])
assert folder in pathlib.Path(mini_gpt.__file__).parents
tokenizer = CharTokenizer("abcdefg")
plain = GPTConfig(vocab_size=7, context_length=9, layers=2, heads=3, width=12)
turned = dataclasses.replace(plain, normalize_queries_and_keys=True)
torch.manual_seed(0)
model = GPT(turned).eval()
other = GPT(plain).eval()
other.load_state_dict(model.state_dict())
for parameter in model.decoder.parameters():
    parameter.data.mul_(8)  # so that scores are large where they are not normalized
other.load_state_dict(model.state_dict())
ids = torch.randint(7, (2, 5))

# it acts, in the model and in writing, with a cache and without
assert not torch.allclose(model(ids), other(ids), atol=0.01)
session = InferenceSession(model)
steps = [session.feed(ids[:, n : n + 1].tolist()) for n in range(5)]
assert torch.allclose(torch.cat(steps, 1), model(ids), atol=1e-5)
assert generate(model, tokenizer, ["abc"])[0].text != generate(other, tokenizer, ["abc"])[0].text

# it is kept, checked and offered
save_pretrained(model, tokenizer, folder / "kept")
assert from_pretrained(folder / "kept")[0].config == turned
try:
    GPTConfig(normalize_queries_and_keys="yes")
except TypeError as fault:
    assert "normalize_queries_and_keys" in str(fault)
else:
    raise AssertionError("a field of another type was taken")
said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    main(["train", "--help-all"])
assert "--normalize-queries-and-keys" in said.getvalue()
assert "compares directions only" in " ".join(said.getvalue().replace("│", " ").split())
"""


@pytest.mark.slow
def test_a_knob_of_attention_is_added_in_two_files(tmp_path: Path) -> None:
    """What CONTRIBUTING says, done: its four changes, to a copy of the package."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    changes = re.findall(r"^```diff\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    skipped = shutil.ignore_patterns("__pycache__", "pretrained")
    shutil.copytree(ROOT / "mini_gpt", tmp_path / "mini_gpt", ignore=skipped)
    for change, stem in zip(changes, ["config", "config", "multi_head", "multi_head"], strict=True):
        before = "".join(line[1:] for line in change.splitlines(keepends=True) if line[0] == " ")
        after = "".join(line[1:] for line in change.splitlines(keepends=True) if line[0] in " +")
        source = tmp_path / "mini_gpt" / f"{stem}.py"
        code = source.read_text(encoding="utf-8")
        assert code.count(before) == 1, f"{stem}.py has no such place any more:\n{before}"
        source.write_text(code.replace(before, after), encoding="utf-8")
    command = [sys.executable, "-c", TURN_THE_KNOB, str(tmp_path)]
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- American spelling, in prose and code --------------------------------------------------------

BRITISH = "|".join(
    [
        r"(optim|normal|initial|token|regular|general|summar|recogn|minim|maxim)is(e|ing|ation)",
        r"(visual|quant|orthogonal|serial|factor|vector|organ|penal|random)is(e|ing|ation)",
        r"(parametr|categor|standard|character|real)is(e|ing|ation)",
        r"(col|behavi|fav|neighb|flav)our",
        r"(model|label|cancel|travel|signal)l(ed|ing)\b",
        r"analys(e[ds]?|ing)\b",
        r"learnt\b|spelt\b|burnt\b|centred?\b|grey\b|licence\b|artefact|judgement|whilst\b",
    ]
)
RIGHT = r'aria-labelledby|"normalisation"'  # HTML's own word; a field of the first edition, quoted
TEXTS = {".py", ".md", ".ipynb", ".yml", ".toml", ".css", ".js", ".txt", ".json", ""}


def texts() -> Iterator[Path]:
    """The repository's texts by hand or by our own code, without what tools put into it."""
    skipped = {"build", "dist", "runs", "results", "node_modules", "__pycache__"}
    left = [ROOT]
    while left:
        for path in sorted(left.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name not in (".github", ".ci")
            if hidden or path.name in skipped or path.name.endswith(".egg-info"):
                continue
            if path == Path(__file__):  # it names what it looks for
                continue
            if path.is_dir():
                left.append(path)
            elif path.suffix in TEXTS:
                yield path


def written(path: Path) -> str:
    """A text as it was written: of a notebook the sources, for outputs may quote Shakespeare."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def british(text: str) -> list[str]:
    """The words of a text that are spelled the British way."""
    found = re.finditer(rf"[a-z]*({BRITISH})[a-z]*", re.sub(RIGHT, "", text), re.IGNORECASE)
    return [match.group() for match in found]


def test_spelling_is_american() -> None:
    assert {path.name for path in texts()} >= {"README.md", "book.css", "attention.py", "run"}
    found = {str(path.relative_to(ROOT)): british(written(path)) for path in texts()}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the optimiser of neighbours", ["optimiser", "neighbours"]),
        ("unnormalised, make_optimiser, recoloured", ["unnormalised", "optimiser", "recoloured"]),
        ("Learnt at the centre", ["Learnt", "centre"]),
        ("optimizer, learned, hours, four, aria-labelledby, realistic, emphasis, precise", []),
        ("otherwise, promise, raised, generation, concentration, exercise, comprise", []),
    ],
)
def test_what_counts_as_british(text: str, words: list[str]) -> None:
    assert british(text) == words
