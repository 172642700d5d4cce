"""Make `.venv` and install what a job needs, at the pinned versions; instant if nothing changed.

    python3 tools/environment.py demo          (Windows: py tools/environment.py demo)

It needs Python 3.10 or newer and pip, and nothing else: a Debian whose Python comes without the
means to put pip into a virtual environment will do. The groups are in GROUPS below. What has been
installed is noted in `.venv/installed/`, so that a second call returns at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - whoever runs this has not installed the project yet
    sys.exit(
        f"Python 3.10 or newer is needed, and this is {platform.python_version()}; "
        "with another one installed, name it: make demo PYTHON=python3.12"
    )

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"

# What each group installs: requirements, then requirements to take without their own dependencies.
GROUPS: dict[str, tuple[list[str], list[str]]] = {
    "demo": (["-e", ".", "matplotlib"], []),
    "test": (["-e", ".[test]"], []),
    "release": (["-e", ".[release]"], []),
    "bench": (["-e", ".[bench]"], ["llms-from-scratch==1.0.19"]),
}

# pytest's tests in as many processes as there are cores, at most four: each of them imports torch.
# What belongs together stays in one process, in order: a file of tests, a notebook.
SIDE_BY_SIDE = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadgroup"]


def prepare(group: str) -> Path:
    """Bring `.venv` to where `group` can run; returns its Python."""
    requirements, bare = GROUPS[group]
    pinned = ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__)
    state = digest(*(path.read_bytes() for path in pinned))
    with one_at_a_time():
        python = make_venv(VENV)
        stamp = VENV / "installed" / group
        if not stamp.exists() or stamp.read_text() != state:
            install(python, requirements, bare)
            stamp.parent.mkdir(exist_ok=True)
            stamp.write_text(state)
    return python


def install(python: Path, requirements: list[str], bare: list[str] | None = None) -> None:
    """Install pinned requirements, torch first since its build depends on the machine."""
    install_torch(python)
    say(f"installing {' '.join(requirements)}")
    pip(python, "install", "-c", CONSTRAINTS, "--no-build-isolation", *requirements)
    if bare:
        pip(python, "install", "--no-deps", *bare)


def make_venv(folder: Path) -> Path:
    """Create a virtual environment with pip in it, unless it is there; returns its Python."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    made_for = folder / "made-for"
    identity = f"{folder}\n{sys.version}\n"
    if made_for.exists() and made_for.read_text() == identity:
        return python
    for module in ("venv", "pip"):
        if not importlib.util.find_spec(module):
            sys.exit(
                f"{sys.executable} has no {module}; "
                f"on Debian or Ubuntu: sudo apt install python3-{module}"
            )
    say(f"creating {folder.relative_to(ROOT)} with Python {platform.python_version()}")
    # pip comes from the Python that runs this: Debian's has pip, but not the means to pass it on.
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    with tempfile.TemporaryDirectory() as loan:
        pip(Path(sys.executable), "install", "--target", loan, "-c", CONSTRAINTS, "pip")
        tools = "pip", "setuptools", "wheel"
        pip(python, "install", "--ignore-installed", "-c", CONSTRAINTS, *tools, search_path=loan)
    made_for.write_text(identity)
    return python


def install_torch(python: Path) -> None:
    """Install the pinned torch: on Linux without a GPU its far smaller CPU build."""
    pin = re.search(r"^torch==[\w.]+", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert pin, "constraints.txt does not pin torch"
    torch = pin.group()
    attempts: list[list[str]] = [[torch]]
    if sys.platform == "linux" and not has_nvidia_gpu():
        cpu = f"{torch}+cpu"
        impatient = ["--timeout", "10", "--retries", "0"]
        attempts = [[cpu], [cpu, "--extra-index-url", CPU_WHEELS, *impatient], [torch]]
    for attempt in attempts:
        say(f"installing {' '.join(attempt[:3])}")
        if pip(python, "install", "--no-deps", *attempt, fatal=attempt is attempts[-1]):
            return


def has_nvidia_gpu() -> bool:
    return bool(shutil.which("nvidia-smi")) or Path("/dev/nvidia0").exists()


def pip(
    python: Path, *arguments: str | Path, search_path: str | None = None, fatal: bool = True
) -> bool:
    """Run pip in the repository's root; what it complains of is shown only if it fails for good."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    environment |= {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    if search_path:
        environment["PYTHONPATH"] = search_path
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command = [python, "-m", "pip", *arguments, *quiet]
    return run(command, environment, fatal)


def run(
    command: list[str | Path], environment: dict[str, str] | None = None, fatal: bool = True
) -> bool:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode and fatal:
        sys.exit(f"{done.stderr}\nenvironment: failed: {' '.join(map(str, command))}")
    return done.returncode == 0


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let two `make` calls wait for each other. Windows has no make, and no fcntl."""
    if os.name == "nt":
        yield
        return
    import fcntl

    lock = ROOT / "build" / "environment.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def say(what: str) -> None:
    print(f"environment: {what}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in GROUPS:
        sys.exit(f"usage: python3 tools/environment.py {{{','.join(GROUPS)}}}")
    prepare(sys.argv[1])
