"""Run the chapters as readers get them: outside the checkout, the wheel installed.

    python tools/wheel_chapters.py              every chapter
    python tools/wheel_chapters.py attention    some of them, by stem (or 09_attention)

The wheel is built from the working tree and goes with `[notebooks]`, nbval and pytest into
`build/wheel-venv`, an environment of its own: what the package forgets to declare or to ship is
missing there. What runs is the readers' edition with its solutions. Stored outputs must match
(nbval, strict), and no chapter may take more memory than its cost line says. On several cores
chapters run side by side.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat

import environment
from chapters import Chapter, chapters
from reader_notebooks import Converter, Edition, repository

ROOT = environment.ROOT
TESTERS = ["nbval", "pytest", "pytest-xdist"]


def build_wheel(folder: Path) -> Path:
    """Build the wheel into `folder`, from a copy: nothing left by an earlier build slips in."""
    with tempfile.TemporaryDirectory() as copy:
        source = Path(copy) / "source"
        shutil.copytree(
            ROOT / "mini_gpt", source / "mini_gpt", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        options = ["--no-deps", "--no-build-isolation", "--wheel-dir", folder]
        environment.pip(Path(sys.executable), "wheel", *options, source)
    return next(folder.glob("*.whl"))


def install_wheel(wheel: Path) -> Path:
    """Bring build/wheel-venv up to date with the wheel; returns its Python."""
    python = environment.make_venv(ROOT / "build" / "wheel-venv")
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        state = environment.digest(archive.read(metadata), environment.CONSTRAINTS.read_bytes())
    stamp = python.parent.parent / "installed"
    if not stamp.exists() or stamp.read_text() != state:
        environment.install(python, [f"{wheel}[notebooks]", *TESTERS])
        stamp.write_text(state)
    environment.pip(python, "install", "--no-deps", "--force-reinstall", wheel)
    return python


def run_chapters(python: Path, wanted: list[Chapter]) -> int:
    """Run nbval over the readers' editions of chapters; returns pytest's exit status."""
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder).resolve()
        edition = Edition(*repository(), solutions=True, for_running=True)
        for chapter in wanted:
            notebook = Converter(chapter, edition).notebook()
            nbformat.write(notebook, outside / chapter.notebook.name)
        shutil.copy(ROOT / "tools" / "chapter_memory.py", outside)
        # No settings of whoever runs this: a backend, a start-up file, another mini_gpt.
        private = "PYTHONPATH", "PYTHONSTARTUP", "MPLBACKEND", "IPYTHONDIR", "JUPYTER_CONFIG_DIR"
        variables = {name: value for name, value in os.environ.items() if name not in private}
        variables["IPYTHONDIR"] = str(outside / ".ipython")
        # Once beforehand: on a new machine matplotlib says on stderr that it looks for fonts.
        look = "import matplotlib.font_manager, mini_gpt; print(mini_gpt.__file__)"
        imported = subprocess.check_output(
            [python, "-c", look], cwd=outside, env=variables, text=True
        )
        if python.parent.parent not in Path(imported.strip()).parents:
            raise SystemExit(f"tested the wrong package: {imported}")
        options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "--durations=10"]
        options += ["-p", "chapter_memory", *environment.SIDE_BY_SIDE, "--dist", "loadfile"]
        return subprocess.call([python, "-m", "pytest", *options], cwd=outside, env=variables)


def chosen(names: list[str]) -> list[Chapter]:
    """The chapters with these stems or names; all of them, where there are none.

    Raises:
        ValueError: if there is no such chapter.
    """
    known = {name: one for one in chapters() for name in (one.stem, one.name)}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no chapter is called {' or '.join(unknown)}; see _toc.yml")
    wanted = {known[name] for name in names} or set(chapters())
    return [one for one in chapters() if one in wanted]


def main() -> int:
    try:
        wanted = chosen(sys.argv[1:])
    except ValueError as fault:
        raise SystemExit(f"wheel: {fault}") from None
    with tempfile.TemporaryDirectory() as folder:
        python = install_wheel(build_wheel(Path(folder)))
    return run_chapters(python, wanted)


if __name__ == "__main__":
    sys.exit(main())
