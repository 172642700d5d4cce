"""Do one of the project's jobs, from any state of the checkout: set up what it needs, then run it.

    python3 tools/run.py demo          (Windows: py tools/run.py demo)

`make NAME` does the same as `python3 tools/run.py NAME`. What follows the name is handed to the
command that does the work: `tools/run.py demo --steps 100`, `tools/run.py pytest -m "not browser"`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import environment

ROOT = environment.ROOT
PINS_HEADER = """\
# The tested environment, exactly: Python 3.10 to 3.13, on Linux, macOS and Windows.
# Written by `make constraints`; pins say what to install if it is needed, they install nothing.
"""
CLEANED = [
    "dist",
    "book/_build",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
]


def demo(*arguments: str) -> int:
    """Train a small GPT on Shakespeare, report its loss, sample from it; in a folder in runs."""
    mini_gpt = script(environment.prepare("demo"), "mini-gpt")
    job = ["train", "--corpus", "shakespeare", "--sample-tokens", "400"]
    return call(mini_gpt, *job, *arguments)


def test() -> int:
    """Every test: lint, the chapters run from the wheel, then pytest (which renders the book)."""
    stages: dict[str, Callable[[], int]] = {"lint": lint, "wheel": wheel, "pytest": pytest}
    seconds: dict[str, float] = {}
    failed = []
    start = time.perf_counter()
    environment.prepare("test")
    seconds["set up"] = time.perf_counter() - start
    for name, stage in stages.items():
        print(f"\n== {name} ==", flush=True)
        start = time.perf_counter()
        if stage():
            failed.append(name)
        seconds[name] = time.perf_counter() - start
    print()
    for name, duration in seconds.items():
        print(f"{name:<8}{duration:6.0f} s   {'FAILED' if name in failed else 'ok'}")
    print(f"{'total':<8}{sum(seconds.values()):6.0f} s   {'FAILED' if failed else 'ok'}")
    return bool(failed)


def lint() -> int:
    """Check style (ruff), format (ruff) and types (mypy)."""
    python = environment.prepare("test")
    checks = ["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]
    return max([call(python, "-m", *check) for check in checks])


def wheel(*arguments: str) -> int:
    """Run the chapters against their stored outputs, outside the checkout, with the built wheel."""
    return call(environment.prepare("test"), "tools/wheel_chapters.py", *arguments)


def book() -> int:
    """Render the book into build/book; any Sphinx warning is an error."""
    python = environment.prepare("test")
    # --all: a page that is not read again does not repeat its warnings.
    options = ["--path-output", "build/book", "--all", "-W", "-n", "--keep-going"]
    return call(script(python, "jupyter-book"), "build", ".", *options)


def pdf(*arguments: str) -> int:
    """Render the book and print it: build/editions/mini_gpt.pdf."""
    return book() or call(environment.prepare("test"), "tools/pdf_edition.py", *arguments)


def epub(*arguments: str) -> int:
    """Render the book and bind it as an EPUB: build/editions/mini_gpt.epub."""
    return book() or call(environment.prepare("test"), "tools/epub_edition.py", *arguments)


def book_zh() -> int:
    """Render the book in English and in Chinese, each page with a switch."""
    return call(environment.prepare("test"), "tools/translation.py", "build")


def translations(*arguments: str) -> int:
    """How far the translations are; `update PAGE` to begin or go on, `check` for faults."""
    return call(environment.prepare("test"), "tools/translation.py", *arguments)


def pytest(*arguments: str) -> int:
    """The tests proper, slow ones too: units, chapter contract, package, rendered pages."""
    python = environment.prepare("test")
    return call(python, "-m", "pytest", "--durations=10", *environment.SIDE_BY_SIDE, *arguments)


def quick(*arguments: str) -> int:
    """The tests that answer within seconds each: no chapter is run, no page is built."""
    return pytest("-m", "not slow and not browser", *arguments)


def export() -> int:
    """Write mini_gpt's generated modules from the chapters."""
    return call(environment.prepare("test"), "tools/export.py")


def notebooks(*arguments: str) -> int:
    """Execute the chapters in place and store their outputs."""
    return call(environment.prepare("test"), "tools/notebooks.py", *arguments)


def gpt2_outputs() -> int:
    """Fetch GPT-2's released weights, and store what they say in their chapter."""
    return call(environment.prepare("test"), "tools/gpt2_outputs.py")


def readers(*arguments: str) -> int:
    """Write the notebooks that readers open outside the site into build/notebooks."""
    python = environment.prepare("test")
    return call(python, "tools/reader_notebooks.py", "build/notebooks", *arguments)


def workbook(*arguments: str) -> int:
    """Write the workbook, in which the reader writes the package, into build/workbook."""
    python = environment.prepare("test")
    return call(python, "tools/workbook.py", *(arguments or ["build/workbook"]))


def gpu(*arguments: str) -> int:
    """All that a CUDA card can show, its tests too; results go to bench/results/gpu.json."""
    return call(environment.prepare("test"), "-m", "bench", "gpu", *arguments)


def bench(*arguments: str) -> int:
    """Time training steps against other packages' GPT-2; results go to bench/results."""
    return call(environment.prepare("bench"), "-m", "bench", *arguments)


def speedrun(*arguments: str) -> int:
    """The race to a loss: the record on this machine, or an entry beside it, in turns."""
    return call(environment.prepare("demo"), "-m", "bench", "records", *arguments)


def pretrain(*arguments: str) -> int:
    """Train the model that comes with the package, by tools/pretrain.toml: most of an hour."""
    return call(environment.prepare("demo"), "tools/pretrain.py", *arguments)


def release(*arguments: str) -> int:
    """Build the wheel and the source archive into dist, and look at both."""
    return call(environment.prepare("release"), "tools/check_release.py", *arguments)


def constraints(*arguments: str) -> int:
    """Resolve constraints.txt anew, moving only what must move; `--upgrade` moves everything."""
    python = environment.make_venv(ROOT / "build" / "uv")
    environment.pip(python, "install", "uv")
    command = [script(python, "uv"), "pip", "compile", "pyproject.toml", "-", "--all-extras"]
    command += ["--universal", "--python-version", "3.10", "--no-header", "--no-annotate"]
    command += ["--quiet", "--output-file", environment.CONSTRAINTS, *arguments]
    subprocess.run(command, cwd=ROOT, input="pip\nsetuptools\n", text=True, check=True)
    pins = environment.CONSTRAINTS.read_text(encoding="utf-8")
    environment.CONSTRAINTS.write_text(PINS_HEADER + pins, encoding="utf-8")
    return 0


def clean() -> int:
    """Remove what the other jobs built; .venv, runs/ and a reader's build/workbook stay."""
    built = [path for path in ROOT.glob("build/*") if path.name != "workbook"]
    for folder in [*built, *CLEANED, *ROOT.glob("*.egg-info"), *ROOT.glob("[!.]*/**/__pycache__")]:
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    for file in [path for path in built if path.is_file()]:
        file.unlink()
    return 0


def distclean() -> int:
    """Remove what clean removes, and .venv too."""
    shutil.rmtree(environment.VENV, ignore_errors=True)
    return clean()


def script(python: Path, name: str) -> Path:
    """The command that a package installed beside `python`."""
    return python.with_name(f"{name}.exe" if os.name == "nt" else name)


def call(*command: str | Path) -> int:
    """Run a command in the repository's root, without the caller's PYTHONPATH."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # On Linux torch's threads spin for long while they wait for each other. Spinning briefly is
    # as fast on a quiet machine, and twice as fast where anything else wants a core.
    variables.setdefault("GOMP_SPINCOUNT", "10000")
    if "pytest" in command or "tools/wheel_chapters.py" in command:
        # Tests run side by side, a process for each core: two threads each would only wait.
        variables.setdefault("OMP_NUM_THREADS", "1")
    return subprocess.call(command, cwd=ROOT, env=variables)


FUNCTIONS = (
    *(demo, test, quick, lint, wheel, book, book_zh, pdf, epub, pytest, export, notebooks),
    *(gpt2_outputs, translations, readers, workbook, gpu, bench, speedrun, pretrain, release),
    *(constraints, clean, distclean),
)
JOBS: dict[str, Callable[..., int]] = {
    function.__name__.replace("_", "-"): function for function in FUNCTIONS
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in JOBS:
        print(__doc__, *(f"  {name:<12} {job.__doc__}" for name, job in JOBS.items()), sep="\n")
        return 2
    try:
        return JOBS[sys.argv[1]](*sys.argv[2:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
