"""Run the chapters as on Colab: copies outside the checkout, the wheel installed.

    python tools/wheel_chapters.py                 every chapter
    python tools/wheel_chapters.py 05_attention    some of them

The wheel is built from the working tree and goes with `[notebooks]`, nbval and pytest into
`build/wheel-venv`, an environment of its own: what the package forgets to declare or to ship is
missing there. Stored outputs must match (nbval, strict).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import environment

ROOT = environment.ROOT


def build_wheel(folder: Path) -> Path:
    """Build the wheel into `folder`, from a copy: nothing left by an earlier build slips in."""
    with tempfile.TemporaryDirectory() as copy:
        source = Path(copy) / "source"
        shutil.copytree(
            ROOT / "mini_gpt", source / "mini_gpt", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "--durations=10"]
        return subprocess.call([python, "-m", "pytest", *options], cwd=outside, env=variables)


def main() -> int:
    chosen = sys.argv[1:] or ["*"]
    chapters = sorted({path for name in chosen for path in (ROOT / "book").glob(f"{name}.ipynb")})
    if not chapters:
        raise SystemExit(f"no chapter of book/ is called {' or '.join(chosen)}")
    with tempfile.TemporaryDirectory() as folder:
        python = install_wheel(build_wheel(Path(folder)))
    return run_chapters(python, chapters)


if __name__ == "__main__":
    sys.exit(main())
