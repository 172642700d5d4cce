"""Build what is published, a wheel and a source archive, and look at both before anyone else does.

    python tools/check_release.py           build into dist/ and check
    python tools/check_release.py --check   only check what is in dist/

Built from a copy of the files that belong to it, so that nothing left lying about slips in. Where
`GITHUB_REPOSITORY` names the repository, the README's relative links become absolute in the copy,
for the package index shows the README away from the files that it links to.
"""

from __future__ import annotations

import argparse
import email
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
MEGABYTE = 1_000_000
LARGEST = 10 * MEGABYTE
MODULES = ("*.py", "py.typed", "pretrained/*/*", "support/stored/*.json")
# What the source archive has beside the package; the rest of the repository is the book's.
PAPERS = ("CHANGELOG.md", "CITATION.cff", "DATA.md", "LICENSE", "MANIFEST.in", "README.md")
WRITTEN_BY_THE_BUILD = ("PKG-INFO", "setup.cfg", "mini_gpt.egg-info/*")
RELATIVE = re.compile(r"(?P<before>!?\[[^\]]*\]\()(?!https?:|#|mailto:)(?P<path>[^)\s]+)(?=\))")


# ---- the version, in each place that names it ----------------------------------------------------


def versions(root: Path) -> dict[str, str]:
    """The version as each place of the repository gives it; empty where it gives none."""
    found = {}
    for name, pattern in {
        "pyproject.toml": r'^version = "(.+)"$',
        "mini_gpt/__init__.py": r'^__version__ = "(.+)"$',
        "CITATION.cff": r"^version: (.+)$",
        "CHANGELOG.md": r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$",
    }.items():
        match = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        found[name] = match.group(1) if match else ""
    return found


# ---- building ------------------------------------------------------------------------------------


def absolute_links(markdown: str, repository: str, tag: str) -> str:
    """A text whose relative links lead to the repository, and whose pictures come from there."""

    def absolute(match: re.Match[str]) -> str:
        view = "raw" if match["before"].startswith("!") else "blob"
        return f"{match['before']}{repository}/{view}/{tag}/{match['path']}"

    return RELATIVE.sub(absolute, markdown)


def files(root: Path) -> list[PurePosixPath]:
    """The files that git knows or would take, as they lie in the folder."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    listed = subprocess.check_output([*command, "--exclude-standard"], text=True).split("\0")
    return [PurePosixPath(name) for name in listed if name and (root / name).is_file()]


def belongs(path: PurePosixPath) -> bool:
    """Whether a file of the repository goes into the source archive."""
    if path.parts[0] != "mini_gpt":
        return str(path) in PAPERS or str(path) == "pyproject.toml"
    inner = path.relative_to("mini_gpt")
    return any(inner.match(pattern) for pattern in MODULES)


def build(root: Path, dist: Path, environment: Mapping[str, str]) -> None:
    """Build the source archive, and from it the wheel, into an empty `dist`."""
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        for path in filter(belongs, files(root)):
            copy = Path(folder, path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, copy)
        if repository := environment.get("GITHUB_REPOSITORY"):
            server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
            address = f"{server.rstrip('/')}/{repository}"
            readme = Path(folder, "README.md")
            tag = f"v{versions(root)['pyproject.toml']}"
            text = absolute_links(readme.read_text(encoding="utf-8"), address, tag)
            readme.write_text(text, encoding="utf-8")
            with Path(folder, "pyproject.toml").open("a", encoding="utf-8") as settings:
                settings.write(f'\n[project.urls]\nRepository = "{address}"\n')
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"check_release: the build failed:\n{done.stdout}{done.stderr}")


# ---- looking -------------------------------------------------------------------------------------


def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def archive_names(archive: Path) -> set[str]:
    """The files of a source archive, without the folder that all of them are in."""
    with tarfile.open(archive) as opened:
        members = [member.name for member in opened.getmembers() if member.isfile()]
    return {name.partition("/")[2] for name in members}


def faults_of_names(found: set[str], wanted: set[str], extra: tuple[str, ...]) -> list[str]:
    """What is missing, and what is there that nobody asked for."""
    stray = {
        name
        for name in found - wanted
        if not any(PurePosixPath(name).match(pattern) for pattern in extra)
    }
    return [f"misses {name}" for name in sorted(wanted - found)] + [
        f"holds {name}, which does not belong there" for name in sorted(stray)
    ]


def faults_of_metadata(metadata: str, project: Mapping[str, object]) -> list[str]:
    """What a wheel's metadata says otherwise than pyproject.toml and a reader expect."""
    said = email.message_from_string(metadata)
    expected = {
        "Name": project["name"],
        "Version": project["version"],
        "License-Expression": project["license"],
        "License-File": "LICENSE",
        "Requires-Python": project["requires-python"],
        "Description-Content-Type": "text/markdown",
    }
    found = [
        f"metadata: {field} is {said[field]!r}, not {value!r}"
        for field, value in expected.items()
        if said[field] != value
    ]
    if not str(said.get_payload()).startswith("# "):
        found.append("metadata: the README is not in it")
    return found


def look(root: Path, dist: Path) -> list[str]:
    """What is wrong with the files in `dist`, one line each."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{canonicalize_name(project['name']).replace('-', '_')}-{project['version']}"
    wheel, archive = dist / f"{stem}-py3-none-any.whl", dist / f"{stem}.tar.gz"
    there = {path.name for path in dist.iterdir()} if dist.is_dir() else set()
    if there != {wheel.name, archive.name}:
        return [f"{dist}: holds {sorted(there)}, wanted {wheel.name} and {archive.name}"]
    found = [
        f"{path.name}: {path.stat().st_size / MEGABYTE:.1f} MB, more than {LARGEST // MEGABYTE}"
        for path in (wheel, archive)
        if path.stat().st_size >= LARGEST
    ]
    if len(given := set(versions(root).values())) != 1:
        found.append(f"the version is not the same everywhere: {versions(root)}")
    elif given != {project["version"]}:
        found.append(f"pyproject.toml is of another version: {given}")
    wanted = {str(path) for path in files(root) if belongs(path)}
    package = {name for name in wanted if name.startswith("mini_gpt/")}
    info = f"{stem}.dist-info"
    found += [
        f"{wheel.name}: {fault}"
        for fault in faults_of_names(wheel_names(wheel), package, (f"{info}/*", f"{info}/*/*"))
    ]
    found += [
        f"{archive.name}: {fault}"
        for fault in faults_of_names(archive_names(archive), wanted, WRITTEN_BY_THE_BUILD)
    ]
    with zipfile.ZipFile(wheel) as opened:
        metadata = opened.read(f"{info}/METADATA").decode("utf-8")
        if f"{info}/licenses/LICENSE" not in opened.namelist():
            found.append(f"{wheel.name}: has no license")
        points = opened.read(f"{info}/entry_points.txt").decode("utf-8")
    if "mini-gpt = mini_gpt.commands.cli:main" not in points:
        found.append(f"{wheel.name}: has no command mini-gpt")
    return found + [f"{wheel.name}: {fault}" for fault in faults_of_metadata(metadata, project)]


def rendered(dist: Path) -> list[str]:
    """What twine says of the README's rendering and of the metadata; nothing without twine."""
    if not importlib.util.find_spec("twine"):
        print("check_release: without twine, whether the README renders is not checked")
        return []
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True)
    return [f"twine: {done.stdout}{done.stderr}".strip()] if done.returncode else []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="build nothing, look at dist/")
    if not parser.parse_args().check:
        build(ROOT, DIST, os.environ)
    found = look(ROOT, DIST) + rendered(DIST)
    for path in sorted(DIST.iterdir()):
        print(f"{path.stat().st_size / MEGABYTE:6.2f} MB  dist/{path.name}")
    print("\n".join(found) or "both are as they should be")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
