"""What is published: one version everywhere, clean archives, workflows, forms, licenses."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check_release
import pytest
import torch
import yaml

import mini_gpt
from mini_gpt.support.downloads import Archive

ROOT = Path(__file__).resolve().parent.parent
GITHUB = ROOT / ".github"


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_version_is_the_same_wherever_it_stands() -> None:
    assert set(check_release.versions(ROOT).values()) == {mini_gpt.__version__}


def test_the_changelog_gives_versions_in_order_with_dates() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    for heading in headings:
        assert re.fullmatch(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)
    assert headings.count("[Unreleased]") <= 1
    numbers = [re.findall(r"\d+", heading)[:3] for heading in headings if "Unr" not in heading]
    assert numbers == sorted(numbers, key=lambda parts: [*map(int, parts)], reverse=True)


# ---- the archives --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly built wheel and source archive, as for somebody's fork."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    check_release.build(ROOT, folder, {"GITHUB_REPOSITORY": "somebody/fork"})
    return folder


@pytest.mark.slow
class TestArchives:
    def test_both_are_as_they_should_be(self, dist: Path) -> None:
        assert check_release.look(ROOT, dist) == []

    def test_the_readme_renders_where_it_is_shown(self, dist: Path) -> None:
        pytest.importorskip("twine")
        assert check_release.rendered(dist) == []

    def test_its_links_lead_to_the_repository_at_this_version(self, dist: Path) -> None:
        (wheel,) = dist.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
            said = archive.read(name).decode("utf-8")
        tag = f"v{mini_gpt.__version__}"
        assert f"(https://github.com/somebody/fork/blob/{tag}/LICENSE)" in said
        assert f"https://github.com/somebody/fork/raw/{tag}/bench/results/demo/loss.png" in said
        assert "Project-URL: Repository, https://github.com/somebody/fork" in said

    def test_what_is_too_much_or_missing_is_named(self, dist: Path, tmp_path: Path) -> None:
        for path in dist.iterdir():
            shutil.copy(path, tmp_path)
        (wheel,) = tmp_path.glob("*.whl")
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("mini_gpt/notes.txt", "mine")
            archive.writestr("tests/test_mine.py", "")
        found = check_release.look(ROOT, tmp_path)
        assert [fault.partition(": ")[2].split(",")[0] for fault in found] == [
            "holds mini_gpt/notes.txt",
            "holds tests/test_mine.py",
        ]
        (tmp_path / "other.whl").touch()
        (fault,) = check_release.look(ROOT, tmp_path)
        assert "other.whl" in fault

    def test_the_command_starts_where_nothing_else_is(self, dist: Path, tmp_path: Path) -> None:
        """As pipx and uvx do it: an environment of its own, the wheel, the command."""
        (wheel,) = dist.glob("*.whl")
        environment = tmp_path / "alone"
        venv.create(environment, with_pip=False)
        (packages,) = environment.rglob("site-packages")
        needed = Path(torch.__file__).parent.parent  # what pip would fetch
        (packages / "needed.pth").write_text(f"{needed}\n", encoding="utf-8")
        into = ["--python", str(environment), "install", "--no-deps", "--no-index", str(wheel)]
        subprocess.run([sys.executable, "-m", "pip", "--quiet", *into], check=True)
        command = environment / ("Scripts" if os.name == "nt" else "bin") / "mini-gpt"
        hidden = ("PYTHONPATH", "PYTHONHOME")
        variables = {name: value for name, value in os.environ.items() if name not in hidden}
        done = subprocess.run(
            [str(command), "--version"], cwd=tmp_path, env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert mini_gpt.__version__ in done.stdout
        where = [str(environment / command.parent.name / "python"), "-c"]
        place = "import mini_gpt; print(mini_gpt.__file__)"
        said = subprocess.check_output([*where, place], cwd=tmp_path, env=variables, text=True)
        assert environment in Path(said.strip()).parents


def test_relative_links_become_absolute_and_others_stay() -> None:
    text = "[a](b/c.md) ![p](x.png) [w](https://w.org/a) [s](#five) [m](mailto:a@b)"
    assert check_release.absolute_links(text, "https://h/o/r", "v1") == (
        "[a](https://h/o/r/blob/v1/b/c.md) ![p](https://h/o/r/raw/v1/x.png) "
        "[w](https://w.org/a) [s](#five) [m](mailto:a@b)"
    )


@pytest.mark.parametrize(
    ("path", "goes"),
    [
        ("mini_gpt/attention.py", True),
        ("mini_gpt/support/drawings/machine.py", True),
        ("mini_gpt/pretrained/shakespeare/model.safetensors", True),
        ("mini_gpt/py.typed", True),
        ("mini_gpt/notes.txt", False),
        ("README.md", True),
        ("book/01_characters.ipynb", False),
        ("tests/test_release.py", False),
    ],
)
def test_what_goes_into_the_archive(path: str, goes: bool) -> None:
    assert check_release.belongs(check_release.PurePosixPath(path)) is goes


def test_metadata_that_says_otherwise_is_named() -> None:
    project = {"name": "a", "version": "2", "license": "MIT", "requires-python": ">=3.10"}
    said = "Name: a\nVersion: 1\nLicense-Expression: MIT\nRequires-Python: >=3.10\n\n# A"
    found = check_release.faults_of_metadata(said, project)
    assert found == [
        "metadata: Version is '1', not '2'",
        "metadata: License-File is None, not 'LICENSE'",
        "metadata: Description-Content-Type is None, not 'text/markdown'",
    ]


# ---- licenses ------------------------------------------------------------------------------------


def archives() -> Iterator[Archive]:
    """Every archive that the package can fetch."""
    for path in sorted((ROOT / "mini_gpt" / "support").rglob("*.py")):
        if re.search(r"^[A-Z0-9_]+ = Archive\($", path.read_text(encoding="utf-8"), re.MULTILINE):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = importlib.import_module(name)
            yield from (each for each in vars(module).values() if isinstance(each, Archive))


def test_the_license_of_all_that_is_fetched_is_named() -> None:
    rows = {
        cells[1]: cells
        for line in (ROOT / "DATA.md").read_text(encoding="utf-8").splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) > 4
    }
    fetched = {f"`{each.package}` {each.version}".replace("gpt3-", "gpt3_") for each in archives()}
    assert len(fetched) >= 5
    assert fetched <= set(rows)
    assert all(len(rows[name][4].split()) > 4 for name in fetched)


# ---- forms and workflows -------------------------------------------------------------------------

FORMS = sorted([*GITHUB.glob("ISSUE_TEMPLATE/*.yml"), *GITHUB.glob("DISCUSSION_TEMPLATE/*.yml")])


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_something_that_can_be_answered(path: Path) -> None:
    form = read_yaml(path)
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    if path.parent.name == "ISSUE_TEMPLATE":
        assert form["name"]
        assert form["description"]
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    names = [part["id"] for part in asked]
    assert len(set(names)) == len(names) > 0
    for part in asked:
        assert part["type"] in ("input", "textarea", "dropdown")
        assert part["attributes"]["label"]
    assert any(part.get("validations", {}).get("required") for part in asked)


def test_a_release_is_checked_attested_and_published_without_a_stored_secret() -> None:
    workflow = read_yaml(GITHUB / "workflows" / "release.yml")
    jobs = workflow["jobs"]
    assert any(step.get("run") == "make release" for step in jobs["build"]["steps"])
    assert (jobs["attest"]["needs"], jobs["publish"]["needs"]) == ("build", "attest")
    assert jobs["attest"]["permissions"]["attestations"] == "write"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    for job in ("attest", "publish"):
        assert "refs/tags/" in jobs[job]["if"]
    (publish,) = (step for step in jobs["publish"]["steps"] if "pypi-publish" in step["uses"])
    assert publish["with"] == {"attestations": True}
    assert "secrets." not in (GITHUB / "workflows" / "release.yml").read_text(encoding="utf-8")


def test_a_night_that_fails_opens_one_issue() -> None:
    jobs = read_yaml(GITHUB / "workflows" / "nightly.yml")["jobs"]
    assert set(jobs["report"]["needs"]) == {"package", "newest"}
    assert jobs["report"]["permissions"] == {"issues": "write"}
    (step,) = jobs["report"]["steps"]
    assert "gh issue create" in step["run"]
    assert "gh issue comment" in step["run"]
    newest = [step.get("run", "") for step in jobs["newest"]["steps"]]
    assert not any("constraints" in line for line in newest)
    assert any("pip install torch" in line for line in newest)
    (version,) = (
        step["with"]["python-version"]
        for step in jobs["newest"]["steps"]
        if "setup-python" in step.get("uses", "")
    )
    assert version == "3.x"


@pytest.mark.parametrize("name", ["CODE_OF_CONDUCT.md", "DATA.md", "SECURITY.md", "CITATION.cff"])
def test_the_readme_leads_to_it(name: str) -> None:
    assert (ROOT / name).is_file()
    assert f"]({name})" in (ROOT / "README.md").read_text(encoding="utf-8")
