"""Files and folders are whole or not there; mapped pages are given back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from mini_gpt.support import files
from mini_gpt.support.files import atomic_file, atomic_folder, read_json, release_pages

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files as well."""
    return sorted(path.name for path in folder.iterdir())


class Interrupted(Exception):
    """Stands for whatever ends a program in the middle."""


def write_all(*paths: Path) -> None:
    for path in paths:
        path.write_text("some text")


def write_and_fail(path: Path) -> None:
    write_all(path)
    raise Interrupted


class TestAtomicFile:
    def test_appears_when_it_is_complete(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "deep" / "file.txt"
        with atomic_file(path) as partial:
            partial.write_text("half")
            assert not path.exists()
            assert partial.parent.parent == path.parent  # so that one rename puts it there
        assert path.read_text() == "half"
        assert names(path.parent) == ["file.txt"]

    def test_a_failure_leaves_the_old_one(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        path.write_text("old")
        with pytest.raises(Interrupted), atomic_file(path) as partial:
            write_and_fail(partial)
        assert path.read_text() == "old"
        assert names(tmp_path) == ["file.txt"]

    def test_replaces(self, tmp_path: Path) -> None:
        path = tmp_path / "file.txt"
        path.write_text("old")
        with atomic_file(str(path)) as partial:
            partial.write_text("new")
        assert path.read_text() == "new"

    @POSIX
    @pytest.mark.parametrize("umask", [0o022, 0o077])
    def test_has_the_permissions_of_any_new_file(self, umask: int, tmp_path: Path) -> None:
        before = os.umask(umask)
        try:
            with atomic_file(tmp_path / "ours") as partial:
                partial.write_text("")
            (tmp_path / "usual").write_text("")
        finally:
            os.umask(before)
        ours, usual = (stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("ours", "usual"))
        assert ours == usual == 0o666 & ~umask


class TestAtomicFolder:
    @POSIX
    def test_private_files_get_the_permissions_of_any_new_file(self, tmp_path: Path) -> None:
        """safetensors writes files that only their owner can read."""
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / "inner").mkdir()
            (partial / "inner" / "private").touch(mode=0o600)
        (tmp_path / "usual").write_text("")
        ours, usual = tmp_path / "folder" / "inner" / "private", tmp_path / "usual"
        assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)

    def test_appears_when_it_is_complete(self, tmp_path: Path) -> None:
        target = tmp_path / "deep" / "folder"
        with atomic_folder(target) as partial:
            (partial / "a.txt").write_text("a")
            (partial / "inner").mkdir()
            (partial / "inner" / "b.txt").write_text("b")
            assert not target.exists()
        assert names(target) == ["a.txt", "inner"]
        assert (target / "inner" / "b.txt").read_text() == "b"
        assert names(target.parent) == ["folder"]

    def test_replaces_the_old_one_as_a_whole(self, tmp_path: Path) -> None:
        target = tmp_path / "folder"
        for name in ("old.txt", "new.txt"):
            with atomic_folder(target) as partial:
                (partial / name).write_text(name)
        assert names(target) == ["new.txt"]
        assert names(tmp_path) == ["folder"]

    def test_a_failure_leaves_the_old_one(self, tmp_path: Path) -> None:
        target = tmp_path / "folder"
        with atomic_folder(target) as partial:
            (partial / "old.txt").write_text("old")
        with pytest.raises(Interrupted), atomic_folder(target) as partial:
            write_and_fail(partial / "new.txt")
        assert names(target) == ["old.txt"]
        assert names(tmp_path) == ["folder"]

    def test_a_failure_of_the_last_step_leaves_the_old_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "folder"
        with atomic_folder(target) as partial:
            (partial / "old.txt").write_text("old")
        rename = Path.rename

        def fail(path: Path, to: Path) -> Path:
            if path.name == "new":
                raise OSError("the file system is read-only")
            return rename(path, to)

        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="read-only"), atomic_folder(target) as partial:
            (partial / "new.txt").write_text("new")
        assert names(target) == ["old.txt"]
        assert names(tmp_path) == ["folder"]

    def test_keeps_what_it_was_not_told_to_replace(self, tmp_path: Path) -> None:
        target = tmp_path / "folder"
        target.mkdir()
        for name in ("config.json", "a.txt", "b.txt", "c.txt", "d.txt"):
            (target / name).write_text("mine")
        message = r"holds other files \(a\.txt, b\.txt, c\.txt, \.\.\.\), which would be lost"
        with (
            pytest.raises(FileExistsError, match=message),
            atomic_folder(target, replaces=["config.json"]),
        ):
            pytest.fail("the block must not begin")
        assert names(target) == ["a.txt", "b.txt", "c.txt", "config.json", "d.txt"]

    def test_looks_again_before_it_replaces(self, tmp_path: Path) -> None:
        target = tmp_path / "folder"
        target.mkdir()
        with (
            pytest.raises(FileExistsError, match=r"late\.txt"),
            atomic_folder(target, replaces=["config.json"]) as partial,
        ):
            write_all(partial / "config.json", target / "late.txt")  # the second comes late
        assert names(target) == ["late.txt"]
        assert names(tmp_path) == ["folder"]

    def test_does_not_take_the_place_of_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("mine")
        with pytest.raises(FileExistsError, match="is a file"), atomic_folder(path):
            pytest.fail("the block must not begin")
        assert path.read_text() == "mine"

    def test_a_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with atomic_folder("folder") as partial:
            (partial / "a.txt").write_text("a")
        assert names(tmp_path) == ["folder"]

    @POSIX
    def test_has_the_permissions_of_any_new_folder(self, tmp_path: Path) -> None:
        with atomic_folder(tmp_path / "ours"):
            pass
        (tmp_path / "usual").mkdir()
        ours, usual = (stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("ours", "usual"))
        assert ours == usual


def resident_file_pages() -> int:
    """Kilobytes of mapped files that count as this process's memory."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("RssFile")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_pages_of_a_mapped_file_are_given_back(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    np.arange(2**23, dtype=np.int64).tofile(path)  # 64 MiB
    mapped = np.memmap(path, dtype=np.int64, mode="r")
    before = resident_file_pages()
    total = int(mapped.sum())
    read = resident_file_pages() - before
    assert read > 50_000
    release_pages(mapped[5:90][::2])  # any part of it stands for the whole file
    assert resident_file_pages() - before < read / 10
    assert int(mapped.sum()) == total  # and they can be read again


def test_arrays_in_memory_keep_their_pages() -> None:
    numbers = np.arange(12)
    release_pages(numbers[4:])
    assert numbers.sum() == 66


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"holds no model: it has no config\.json"),
        (b"{", r"config\.json is not JSON"),
        (b"\xff", r"config\.json is not UTF-8: byte 0xff at offset 0"),
        (b"[1]", r"config\.json does not hold a JSON object"),
    ],
)
def test_a_json_file_that_is_none(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(path)


def test_a_json_object_and_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"é": 1}', encoding="utf-8")
    assert read_json(tmp_path / "config.json") == {"é": 1}
    with pytest.raises(ValueError, match=r"config\.json is a file, not the folder of a model"):
        read_json(tmp_path / "config.json" / "config.json")
