"""The folder of a run: whether it is one, who trains in it, and which is the newest."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mini_gpt.support.checkpoint import (
    MODEL,
    delete_checkpoints,
    publish_best,
    remove_model,
    remove_our_fragments,
    saved_steps,
)
from mini_gpt.support.files import atomic_file
from mini_gpt.support.settings_file import to_toml
from mini_gpt.support.workspace import lock_file, open_lock

RUNS = Path("runs")  # where runs go that are given no folder
SETTINGS = "settings.toml"
# It makes a folder one of a run, so that what others keep in theirs is never taken for
# ours; it is locked while a process trains there, and says which.
RUN_FILE = "run.json"
_OURS = (SETTINGS, "metrics.jsonl", "samples.txt", "loss.png")


def is_run(folder: Path) -> bool:
    """Whether this is a folder in which `train` has kept a run."""
    return (folder / RUN_FILE).is_file()


def new_run_folder() -> Path:
    """A folder for a run that starts now, named by the time; it is not made yet."""
    name = time.strftime("%Y-%m-%d-%H%M%S")
    numbers = (f"{name}-{number}" for number in range(2, 1000))
    return next(
        RUNS / name for name in (name, *numbers) if not os.path.lexists(RUNS / name)
    )


def newest_run() -> Path | None:
    """The run in `runs` that was started or gone on with last; None where none is."""
    runs = [folder for folder in RUNS.glob("*") if is_run(folder)]
    return max(runs, key=lambda run: (run / RUN_FILE).stat().st_mtime_ns, default=None)


def check_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise unless a run may go on, or begin, in a folder without a loss.

    Raises:
        FileExistsError: if it holds a run that should neither be gone on with nor
            replaced, or what is not a run's.
        ValueError: if a run should be gone on with, but its states are gone.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose another name for the folder")
    steps = saved_steps(folder)
    if resume and not steps and (folder / MODEL).exists():
        raise ValueError(
            f"{folder} has no state to go on from: there is a model in "
            f"{folder / MODEL}, but nothing in {folder / 'checkpoints'}; to start a "
            f"new run from its weights: mini-gpt train --initialize-from {folder}"
        )
    # What is hidden, as .DS_Store is, has no name that we would use.
    found = sorted(path.name for path in folder.glob("*") if path.name[0] != ".")
    if not (others := [name for name in found if name != RUN_FILE]):
        return
    if not is_run(folder):
        named = ", ".join([*others[:3], *["..."] * (len(others) > 3)])
        raise FileExistsError(
            f"{folder} is not the folder of a run, and holds other files ({named}); "
            "choose a new folder"
        )
    if not resume and not overwrite:
        saved = (
            f"saved after step {steps[-1]:,}" if steps else "with no state saved yet"
        )
        raise FileExistsError(
            f"{folder} holds a run, {saved}; go on with it (--resume {folder}), "
            "replace it (--overwrite), or choose another folder (--out)"
        )


@contextmanager
def lock_run(
    folder: Path | None, *, resume: bool = False, overwrite: bool = False
) -> Iterator[None]:
    """Keep others from training in a folder while we do; None locks nothing.

    An older run's files are left as they are.

    Raises:
        FileExistsError: if another process trains there, or as `check_run_folder`.
        ValueError: as `check_run_folder`.
    """
    if folder is None:
        yield
        return
    check_run_folder(folder, resume=resume, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    handle = open_lock(folder / RUN_FILE)
    try:
        try:
            lock_file(handle, wait=False)
        except OSError as fault:  # other numbers mean that there are no locks here
            if fault.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise FileExistsError(
                    f"{_owner(handle)} is training in {folder}; wait for it to end, or "
                    "choose another folder"
                ) from None
        # Another run may have begun, and ended, since.
        check_run_folder(folder, resume=resume, overwrite=overwrite)
        yield
    finally:
        os.close(handle)


def begin_run(
    run: Path, history: Sequence[Mapping[str, Any]], settings: Mapping[str, Any] | None
) -> None:
    """Make a locked folder ready: the first change to it, when all has been checked.

    Args:
        history: What was measured in the run that goes on; a new one has none.
        settings: What `settings.toml` is to hold; None leaves it as it is.
    """
    owner = {
        "format": "mini_gpt run",
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    # In place, since the lock belongs to this very file.
    (run / RUN_FILE).write_text(json.dumps(owner) + "\n", encoding="utf-8")
    remove_our_fragments(run)
    if history or saved_steps(run):
        publish_best(run, history)
    if settings is not None:
        with atomic_file(run / SETTINGS) as partial:
            partial.write_text(to_toml(dict(settings)), encoding="utf-8")


def clear_run(run: Path) -> None:
    """Delete what an earlier run has left in a locked folder, and nothing of others."""
    delete_checkpoints(run)
    remove_model(run / MODEL)
    boards = (run / "tensorboard").glob("events.out.tfevents.*")
    for path in [*(run / name for name in _OURS), *boards]:
        path.unlink(missing_ok=True)


def _owner(handle: int) -> str:
    """Who has locked a run, for people."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        owner = json.loads(os.pread(handle, 4096, 0))
        return f"process {owner['process']} on {owner['host']} (since {owner['since']})"
    return "another process"
