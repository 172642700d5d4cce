"""Files that are saved and read: what kills, links, pipes, marks and threads did to them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_gpt import from_pretrained
from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.cli import main
from mini_gpt.support import files, workspace
from mini_gpt.support.corpus import corpus_name, load_corpus
from mini_gpt.support.files import atomic_file, atomic_folder, parse_json, read_json, read_text
from mini_gpt.support.gpt2_vocabulary import gpt2_byte_characters
from mini_gpt.support.model_folder import save_pretrained
from mini_gpt.support.workspace import finish_replacement, remove_fragments
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer
from tiny import tiny_gpt

TESTS = Path(__file__).parents[1]
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
MARK = b"\xef\xbb\xbf"  # the byte-order mark that some editors put before a text
LETTERS = CharTokenizer("abcdefghijklmnopq")


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files as well."""
    return sorted(path.name for path in folder.iterdir())


def kills(folder: Path, every: int, swap: int, *savings: str) -> int:
    """How many savings were killed; none of them may have lost anything."""
    script = TESTS / "faults" / "killing.py"
    done = subprocess.run(
        [sys.executable, script, folder, str(every), str(swap), *savings],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["faults"] == []
    return report["kills"]


@LINUX  # elsewhere, torch does not bear a fork
@pytest.mark.parametrize("swap", [1, 0], ids=["swapped", "renamed"])
class TestAKillWhileSaving:
    """It left the old folder under a hidden name and nothing in its place, and fragments."""

    @pytest.mark.slow
    def test_leaves_the_old_or_the_new(self, swap: int, tmp_path: Path) -> None:
        assert kills(tmp_path, 61, swap, "checkpoint", "export", "tokens", "tokenizer") >= 10

    @pytest.mark.slow
    def test_of_a_model_leaves_the_old_or_the_new(self, swap: int, tmp_path: Path) -> None:
        assert kills(tmp_path, 1, swap, "checkpoint") > 150

    @pytest.mark.slow
    def test_of_anything_else_leaves_the_old_or_the_new(self, swap: int, tmp_path: Path) -> None:
        assert kills(tmp_path, 4, swap, "export", "tokens", "tokenizer") > 80


@pytest.fixture
def killed_between_renames(tmp_path: Path) -> Path:
    """A place in which nothing stands, since the second of two renames did not happen."""
    fragment = tmp_path / ".model.0123456789ab.partial"
    for name in ("old", "new"):
        (fragment / name).mkdir(parents=True)
        save_pretrained(tiny_gpt(), LETTERS, fragment / name)
    return tmp_path / "model"


class TestAKillBetweenTwoRenames:
    def test_the_next_read_finds_the_model(self, killed_between_renames: Path) -> None:
        from_pretrained(killed_between_renames)
        assert "model" in names(killed_between_renames.parent)

    def test_the_next_write_removes_what_is_left(self, killed_between_renames: Path) -> None:
        save_pretrained(tiny_gpt(), LETTERS, killed_between_renames)
        assert names(killed_between_renames.parent) == ["model"]

    def test_what_was_removed_since_does_not_come_back(self, tmp_path: Path) -> None:
        """A kill after the second rename leaves the old one; then the user removes the new."""
        (tmp_path / ".model.0123456789ab.partial" / "old").mkdir(parents=True)
        finish_replacement(tmp_path / "model")
        remove_fragments(tmp_path)
        assert names(tmp_path) == []

    def test_a_reader_that_finishes_it_does_not_disturb_the_writer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "model"
        rename = Path.rename

        def with_reader(path: Path, to: Path) -> Path:
            moved = rename(path, to)
            if path == target:
                finish_replacement(target)
                assert names(target) == ["2"]
            return moved

        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
        monkeypatch.setattr(Path, "rename", with_reader)
        for name in ("1", "2"):
            with atomic_folder(target) as partial:
                (partial / name).touch()
        assert names(target) == ["2"]
        assert names(tmp_path) == ["model"]


class TestFragments:
    """Of 270 kills, 192 left a fragment that nothing ever removed."""

    def leave_fragment(self, folder: Path, name: str) -> Path:
        fragment = folder / f".{name}.0123456789ab.partial"
        fragment.mkdir()
        (fragment / "new").write_text("half")
        return fragment

    def test_are_removed_by_the_next_writer_of_the_name(self, tmp_path: Path) -> None:
        kept = self.leave_fragment(tmp_path, "other")
        self.leave_fragment(tmp_path, "a.txt")
        with atomic_file(tmp_path / "a.txt"):
            pass
        assert names(tmp_path) == [kept.name, "a.txt"]
        remove_fragments(tmp_path)
        assert names(tmp_path) == ["a.txt"]

    @pytest.mark.skipif(os.name != "posix", reason="needs locks that a thread can hold")
    def test_of_a_living_process_stay(self, tmp_path: Path) -> None:
        with atomic_file(tmp_path / "a.txt") as first:
            first.write_text("first")
            with atomic_file(tmp_path / "a.txt") as second:
                second.write_text("second")
            remove_fragments(tmp_path)
            assert first.read_text() == "first"
            assert (tmp_path / "a.txt").read_text() == "second"
        assert (tmp_path / "a.txt").read_text() == "first"
        assert names(tmp_path) == ["a.txt"]

    def test_with_names_of_others_stay(self, tmp_path: Path) -> None:
        for name in (".a.txt.partial", ".a.txt.swp", "a.txt.0123456789ab.partial"):
            (tmp_path / name).mkdir()
        (tmp_path / ".a.txt.0123456789ab.partial").touch()  # a file, which is none of ours
        before = names(tmp_path)
        remove_fragments(tmp_path)
        assert names(tmp_path) == before

    @POSIX
    def test_that_strangers_made_lead_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / ".a.0123456789ab.partial").symlink_to(tmp_path / "mine")
        linked, piped = tmp_path / ".b.0123456789ab.partial", tmp_path / ".c.0123456789ab.partial"
        linked.mkdir()
        (linked / "lock").symlink_to(tmp_path / "made")
        piped.mkdir()
        os.mkfifo(piped / "lock")
        remove_fragments(tmp_path)
        assert names(tmp_path / "mine") == []
        assert not (tmp_path / "made").exists()

    def test_a_workspace_that_is_taken_for_one_is_made_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the making of the folder and its lock, another process may come."""
        opened, calls = workspace.open_lock, []

        def interrupted(folder: Path) -> int:
            calls.append(folder)
            if len(calls) == 1:
                folder.rmdir()
            return opened(folder)

        monkeypatch.setattr(workspace, "open_lock", interrupted)
        with atomic_file(tmp_path / "a.txt") as partial:
            partial.write_text("whole")
        assert (tmp_path / "a.txt").read_text() == "whole"
        assert len(calls) == 2


@pytest.mark.slow
@POSIX
def test_the_umask_stays_while_threads_write(tmp_path: Path) -> None:
    """It was set to 0 for a moment, for the whole process, and could get stuck there."""
    seen, done = set(), threading.Event()

    def watch() -> None:
        for number in range(10**9):
            if done.is_set():
                return
            path = tmp_path / f"watched-{number}"
            path.touch()
            seen.add(stat.S_IMODE(path.stat().st_mode))
            path.unlink()

    def write(number: int) -> None:
        for _ in range(30):
            with atomic_file(tmp_path / "file" / str(number)) as partial:
                partial.touch()
            with atomic_folder(tmp_path / "folder" / str(number)) as folder:
                (folder / "a").touch()

    before = os.umask(0o027)
    try:
        watcher = threading.Thread(target=watch)
        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        watcher.start()
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        watcher.join()
    finally:
        assert os.umask(before) == 0o027
    assert seen == {0o640}
    made = [tmp_path / "file" / "3", tmp_path / "folder" / "3" / "a", tmp_path / "folder" / "3"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o640, 0o640, 0o750]


@POSIX
class TestALinkAsTarget:
    """It was replaced by what was written; it is followed, as by any program that writes."""

    @pytest.mark.parametrize("there", [True, False])
    def test_to_a_folder(self, there: bool, tmp_path: Path) -> None:
        link, target = tmp_path / "link", tmp_path / "disk" / "model"
        if there:
            save_pretrained(tiny_gpt(1), LETTERS, target)
        link.symlink_to(target)
        save_pretrained(tiny_gpt(), LETTERS, link)
        assert link.is_symlink()
        assert not target.is_symlink()
        assert from_pretrained(link)[0].config == tiny_gpt().config
        assert names(tmp_path) == ["disk", "link"]

    @pytest.mark.parametrize("there", [True, False])
    def test_to_a_file(self, there: bool, tmp_path: Path) -> None:
        link, target = tmp_path / "link", tmp_path / "disk" / "tokenizer"
        target.parent.mkdir()
        if there:
            target.write_text("old")
        link.symlink_to(Path("disk", "tokenizer"))  # relative to the link
        LETTERS.save(link)
        assert link.is_symlink()
        assert CharTokenizer.load(target).alphabet == LETTERS.alphabet


@POSIX
class TestWhatIsNoFile:
    def test_a_device_is_not_replaced(self, tmp_path: Path) -> None:
        with pytest.raises(FileExistsError, match="/dev/null is not a file"):
            LETTERS.save("/dev/null")
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    def test_a_folder_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        with (
            pytest.raises(FileExistsError, match="is not a file; choose another name"),
            atomic_file(tmp_path),
        ):
            pytest.fail("the block must not begin")

    @pytest.mark.parametrize("name", ["config.json", "mini_gpt_tokenizer.json"])
    def test_a_pipe_in_a_model_s_folder_does_not_keep_us_waiting(
        self, name: str, tmp_path: Path
    ) -> None:
        save_pretrained(tiny_gpt(), LETTERS, tmp_path / "model")
        (tmp_path / "model" / name).unlink()
        os.mkfifo(tmp_path / "model" / name)
        with pytest.raises(ValueError, match=f"has no {name}"):
            from_pretrained(tmp_path / "model")


def with_mark(path: Path) -> Path:
    """Put a byte-order mark before what stands in a file."""
    path.write_bytes(MARK + path.read_bytes())
    return path


class TestAByteOrderMark:
    """Windows' editors write it; it is no part of the text."""

    def test_in_a_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(MARK + "é\r\n".encode())
        assert read_text(tmp_path / "a.txt") == load_corpus(tmp_path) == "é\n"

    def test_in_the_json_files_of_a_model(self, tmp_path: Path) -> None:
        save_pretrained(tiny_gpt(), LETTERS, tmp_path)
        with_mark(tmp_path / "mini_gpt_tokenizer.json")
        with_mark(tmp_path / "config.json")
        assert read_json(tmp_path / "config.json")["layers"] == 2
        assert from_pretrained(tmp_path)[1].vocab_size == LETTERS.vocab_size

    def test_in_gpt2s_vocabulary(self, tmp_path: Path) -> None:
        written = [*gpt2_byte_characters(), "<|endoftext|>"]
        written.sort(key=lambda token: gpt2_byte_characters().get(token, 256))
        ids = {token: id for id, token in enumerate(written)}
        (tmp_path / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
        (tmp_path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        both = with_mark(tmp_path / "vocab.json"), with_mark(tmp_path / "merges.txt")
        assert BPETokenizer.gpt2(*both).vocab_size == 257


class TestJSON:
    def test_a_name_that_stands_twice(self, tmp_path: Path) -> None:
        """The last one won, without a word."""
        (tmp_path / "config.json").write_text('{"a": {"layers": 2, "heads": 1, "layers": 3}}')
        message = r"config\.json is not JSON \(the name 'layers' stands twice in one object\)"
        with pytest.raises(ValueError, match=message):
            read_json(tmp_path / "config.json")
        LETTERS.save(tmp_path / "t")
        text = (tmp_path / "t").read_text().replace("{", '{"kind": "bpe",', 1)
        (tmp_path / "t").write_text(text)
        with pytest.raises(ValueError, match="'kind' stands twice"):
            load_tokenizer(tmp_path / "t")

    @pytest.mark.parametrize("opening", ["[", '{"a":'])
    def test_nested_without_end(self, opening: str, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(opening * 200_000)
        with pytest.raises(ValueError, match=r"config\.json is (nested too deeply|not JSON)"):
            read_json(tmp_path / "config.json")

    @given(st.binary(max_size=60) | st.text("[]{}:,\"'0189.eE-\\u nulltrefas", max_size=60))
    def test_whatever_stands_there(self, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        with suppress(ValueError):
            parse_json(files.decode_text(data, "it"), "it")


@pytest.fixture
def unnameable(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes paths in a folder whose name, and whose own, are not UTF-8."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    return lambda name: Path(os.fsdecode(folder + b"/\xff" + name.encode()))


@LINUX
class TestNamesThatAreNotUTF8:
    """Old archives and other systems leave them; Linux does not mind, nor should we."""

    def test_a_corpus(self, unnameable: Callable[[str], Path]) -> None:
        path = unnameable("a.txt")
        path.write_text("text")
        assert load_corpus(path) == load_corpus(path.parent) == "text"

    def test_a_corpus_has_a_name_that_a_file_of_settings_can_keep(
        self, unnameable: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = unnameable("a b%.txt")
        path.write_text("text")
        name = corpus_name(path)
        assert name.isascii()
        assert name.startswith("file:///")
        assert load_corpus(name) == "text"
        assert corpus_name(name) == name
        assert corpus_name("shakespeare") == "shakespeare"
        monkeypatch.chdir(path.parents[1])
        assert corpus_name("é.txt") == str(path.parents[1] / "é.txt")

    def test_a_model(self, unnameable: Callable[[str], Path]) -> None:
        save_pretrained(tiny_gpt(), LETTERS, unnameable("model"))
        assert from_pretrained(unnameable("model"))[0].config == tiny_gpt().config
        assert names(unnameable("").parent) == [os.fsdecode(b"\xffmodel")]

    @pytest.mark.slow
    def test_the_command_line(self, unnameable: Callable[[str], Path]) -> None:
        save_pretrained(tiny_gpt(), LETTERS, unnameable("model"))
        unnameable("prompt").write_text("ab")
        command = [sys.executable, "-c", "from mini_gpt.commands.cli import main; main()"]
        command += ["sample", str(unnameable("model")), "--max-new-tokens", "3"]
        command += ["--prompt-file", str(unnameable("prompt"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("ab")

    def test_a_plot(self, unnameable: Callable[[str], Path]) -> None:
        runs = [unnameable("one"), unnameable("two")]
        for run in runs:
            run.mkdir()
            entry = {"step": 1, "tokens_per_second": 1.0, "learning_rate": 0.1}
            entry |= {"training_loss": 1.0, "validation_loss": 1.0}
            (run / "metrics.jsonl").write_bytes(MARK + json.dumps(entry).encode())
        assert main(["plot", *map(str, runs), "--out", str(unnameable("losses.png"))]) == 0
        assert unnameable("losses.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.slow
    def test_a_run(self, unnameable: Callable[[str], Path]) -> None:
        unnameable("a.txt").write_text("to be or not to be\n" * 200)
        out, size = str(unnameable("run")), "--layers 1 --heads 1 --width 8 --context-length 8"
        train = f"--batch-size 2 --steps 4 --eval-every 2 --sample-tokens 5 {size}".split()
        assert main(["train", "--corpus", str(unnameable("a.txt")), "--out", out, *train]) == 0
        assert main(["train", "--resume", out, "--steps", "6"]) == 0
        assert main(["sample", out, "--max-new-tokens", "3"]) == 0
