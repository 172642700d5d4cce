"""Where a file or folder lies while it is written, and what a kill leaves of that."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# A workspace is a hidden folder beside the place of what is written, so that the last
# step is a rename within one file system. It is named `.NAME.HEX.partial` and holds
#
#     lock    locked while its writer lives; the system unlocks it at any death
#     new     what is being written
#     old     what it replaces, for the moment between two renames (see files.py)
#
# A kill can leave one. The next writer of NAME finds it unlocked, finishes what had
# been begun, and removes it.
_WORKSPACE = re.compile(r"\.(.+)\.[0-9a-f]{12}\.partial", re.DOTALL)


@contextmanager
def workspace_for(target: Path) -> Iterator[Path]:
    """A locked workspace beside `target`, removed when the block ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_fragments(target.parent, target.name)
    workspace, lock = _locked_workspace(target)
    try:
        yield workspace
    finally:
        os.close(lock)  # first, since Windows does not delete an open file
        shutil.rmtree(workspace, ignore_errors=True)


def finish_replacement(path: str | os.PathLike[str]) -> None:
    """Bring a folder into its place where a kill came between the two renames.

    Whoever reads a folder that `atomic_folder` writes calls this first. It is needed
    only where the system cannot swap two folders in one step.
    """
    target = destination(path)
    if not target.exists():
        for workspace, _ in _workspaces(target.parent, target.name):
            _finish(workspace, target)


def remove_fragments(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left half written in a folder.

    What a living process is writing stays, and so does whatever has other names.

    Args:
        name: What was being written; None means anything.
    """
    for workspace, target in _workspaces(folder, name):
        try:
            lock = open_lock(workspace / "lock")
        except OSError:  # it is gone, or we may not
            continue
        try:
            lock_file(lock, wait=False)
            _finish(workspace, target)
        except OSError:  # its owner lives, or this file system has no locks
            continue
        finally:
            os.close(lock)
        shutil.rmtree(workspace, ignore_errors=True)


def destination(path: str | os.PathLike[str]) -> Path:
    """Where a path leads: a link is followed, as by a plain open, not replaced."""
    return Path(os.path.realpath(path))


def _locked_workspace(target: Path) -> tuple[Path, int]:
    """A new workspace, and its lock, which is held until it is closed."""
    while True:
        name = f".{target.name}.{secrets.token_hex(6)}.partial"
        workspace = target.with_name(name)
        workspace.mkdir()
        # Until the lock is held, another process may take this for a fragment and
        # remove it. Then we make another one.
        try:
            lock = open_lock(workspace / "lock")
        except FileNotFoundError:
            continue
        with suppress(OSError):  # some network file systems have no locks
            lock_file(lock, wait=True)
        if (workspace / "lock").exists():
            return workspace, lock
        os.close(lock)


def open_lock(path: Path) -> int:
    """A file to lock, as a handle; no link or pipe of others is followed."""
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.open(path, os.O_RDWR | os.O_CREAT | careful, 0o666)


def lock_file(handle: int, *, wait: bool) -> None:
    """Lock a file until it is closed, or its process ends in whatever way.

    Raises:
        OSError: if another one has the lock, or there are no locks here.
    """
    if sys.platform == "win32":
        msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _workspaces(folder: Path, name: str | None) -> list[tuple[Path, Path]]:
    """The workspaces in a folder, each with the place of what was written there."""
    try:
        entries = [entry for entry in os.scandir(folder) if _is_folder(entry)]
    except OSError:  # no such folder, or one that may not be listed
        return []
    matches = [_WORKSPACE.fullmatch(entry.name) for entry in entries]
    return [
        (folder / match[0], folder / match[1])
        for match in matches
        if match and name in (None, match[1])
    ]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder itself, not a link to one."""
    return entry.is_dir(follow_symlinks=False)


def _finish(workspace: Path, target: Path) -> None:
    """The second of the two renames, where a kill came before it."""
    if (workspace / "old").exists() and not target.exists():
        # Where there is no new one, it was reached, and the target was removed since.
        with suppress(OSError):
            (workspace / "new").rename(target)
