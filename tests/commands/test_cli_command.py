"""The command line as a whole: words that it cannot use, help, and how it ends."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mini_gpt
from mini_gpt.commands import cli
from mini_gpt.commands.help_texts import count_options, explanations, print_help
from mini_gpt.commands.info import Info
from mini_gpt.commands.plot import Plot
from mini_gpt.commands.train_options import ESSENTIALS, Train
from mini_gpt.support.console import in_words
from mini_gpt.support.signals import TrainingStopped
from training_command import complaint


def usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the parser of the command line says about words that it cannot use."""
    capsys.readouterr()
    try:
        status = cli.main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert "dummy" not in text  # tyro's own name for what has none
    return text


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed for words that ask for help, in one line."""
    capsys.readouterr()
    assert cli.main(arguments) == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


class TestWrongWords:
    def test_an_unknown_option_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--speed" in usage(["train", "--speed", "11"], capsys)

    def test_a_shape_that_does_not_fit_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "heads 5" in usage(["train", "--heads", "5", "--width", "12"], capsys)

    def test_a_misspelled_option_is_found(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--learning-rate" in usage(["train", "--learnig-rate", "1"], capsys)

    @pytest.mark.parametrize(
        ("words", "command"),
        [
            (["train", "--layers", "x"], "train"),
            (["train", "--speed", "11"], "train"),
            (["sample", "--top-k", "x"], "sample"),
            (["info"], "info"),
        ],
    )
    def test_more_help_is_that_of_the_command(
        self, words: list[str], command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert f"mini-gpt {command} --help" in usage(words, capsys)

    def test_what_is_missing_is_called_by_a_name(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "MODEL" in usage(["info"], capsys)

    @pytest.mark.parametrize(
        ("words", "meant"),
        [
            (["trian"], "did you mean mini-gpt train?"),
            (["smaple", "--num", "3"], "did you mean mini-gpt sample?"),
            (["train", "my text.txt"], 'mini-gpt train --corpus "my text.txt"'),
            (["sample", "ROMEO."], 'mini-gpt sample --prompt "ROMEO."'),
            (["sample", "gtp2"], "did you mean mini-gpt sample gpt2?"),
            (["sample", "shakespear"], "did you mean mini-gpt sample shakespeare?"),
            (["sample", "letter.txt"], 'mini-gpt sample --prompt-file "letter.txt"'),
            (["sample", "runs/spring"], "did you mean mini-gpt sample runs/sprung?"),
            (["--completion", "fish"], "mini-gpt --completion bash or zsh"),
        ],
    )
    def test_what_was_probably_meant_is_said(
        self,
        words: list[str],
        meant: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "letter.txt").write_text("Dear reader", encoding="utf-8")
        (tmp_path / "runs" / "sprung").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert meant in complaint(words, capsys)

    def test_a_word_like_no_command_gets_the_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = complaint(["xyzzy"], capsys)
        assert "did you mean" not in line
        assert all(name in line for name in cli.COMMANDS)

    @pytest.mark.parametrize("words", [["plot", "nowhere"], ["train", "--corpus", "nowhere"]])
    def test_no_number_of_the_operating_system(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "Errno" not in complaint(words, capsys)


def test_faults_of_the_operating_system_are_put_in_words() -> None:
    fault = FileNotFoundError(errno.ENOENT, "No such file or directory", "corpus.txt")
    assert in_words(fault) == "corpus.txt: No such file or directory"
    moved = OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b")
    assert in_words(moved) == "a to b: Invalid cross-device link"
    assert in_words(OSError(errno.ENOSPC, "No space left")) == "No space left"
    assert in_words(OSError("full")) == "full"
    assert in_words(ValueError("[1, 2]")) == "[1, 2]"


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (ValueError("no such\nthing"), 2, "mini-gpt: no such thing\n"),
        (OSError("full"), 2, "mini-gpt: full\n"),
        (FileNotFoundError(2, "No such file", "here"), 2, "mini-gpt: here: No such file\n"),
        (FloatingPointError("the loss is nan"), 2, "mini-gpt: the loss is nan\n"),
        (KeyboardInterrupt(), 130, "\nmini-gpt: interrupted\n"),
        (TrainingStopped(1, 2, None, "SIGINT"), 130, None),
        (TrainingStopped(1, 2, None, "SIGTERM"), 143, None),
        (TrainingStopped(1, 2, None, None), 143, None),
    ],
)
def test_each_end_has_its_status_and_one_line(
    fault: BaseException,
    status: int,
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(command: object) -> None:
        raise fault

    monkeypatch.setitem(cli.COMMANDS, "info", cli.Command(Info, fail))
    assert cli.main(["info", "gpt2"]) == status
    assert capsys.readouterr().err == (said or f"mini-gpt: {fault}\n")


class TestHelp:
    def test_of_the_command_lists_all_that_it_can_do(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = shown(["--help"], capsys)
        for name in cli.COMMANDS:
            assert f"{name} " in page
        assert "Write text with a trained model." in page
        assert 'mini-gpt sample --prompt "ROMEO."' in page
        assert cli.main([]) == 2
        assert " ".join(capsys.readouterr().err.split()) == page

    def test_the_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = shown(["--version"], capsys)
        assert said.startswith(f"mini-gpt {mini_gpt.__version__} (torch ")

    def test_shows_a_dozen_essentials_and_where_the_rest_is(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = shown(["train", "--help"], capsys)
        assert page.count(" (default:") == len(ESSENTIALS) == 12
        for name in ESSENTIALS:
            assert f"--{name.replace('_', '-')} " in page
        more = count_options(Train) - len(ESSENTIALS)
        assert f"For {more} more options: mini-gpt train --help-all" in page
        assert "--max-grad-norm" not in page

    def test_shows_all_where_all_is_asked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        page = shown(["train", "--help-all"], capsys)
        assert page.count(" (default:") == count_options(Train) > 40
        assert "--max-grad-norm" in page

    def test_shows_the_defaults_of_the_file_that_was_given(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "settings.toml"
        path.write_text("sample_tokens = 11\n[training]\nsteps = 77\n", encoding="utf-8")
        assert "(default: 77)" in shown(["train", "--config", str(path), "--help"], capsys)

    @pytest.mark.parametrize("name", list(cli.COMMANDS))
    def test_essentials_are_options(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        command = cli.COMMANDS[name]
        page = shown([name, "--help"], capsys)
        assert page.count(" (default:") + page.count("(required)") == (
            len(command.essentials) or count_options(command.options)
        )

    @pytest.mark.parametrize("name", list(cli.COMMANDS))
    def test_what_stands_alone_has_a_name_of_its_own(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Not `STR`, which is what a machine would call it."""
        first = shown([name, "--help"], capsys).split(" options ")[0]
        assert not re.search(r"\[?(STR|PATH|INT)\b", first.split("positional")[-1]), first

    def test_a_terminal_breaks_the_lines_not_the_source(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        print_help(Train, "mini-gpt train", Train(), ESSENTIALS)
        page = capsys.readouterr().out
        assert "a folder of .txt files, or a folder of tokens (mini-gpt prepare). In a file" in page

    def test_explanations_stand_below_their_fields(self) -> None:
        said = explanations(Plot)
        assert said["out"] == "The picture to write (PNG)."
        assert set(said) == {"runs", "out"}

    @pytest.mark.parametrize("shell", ["bash", "zsh"])
    def test_words_can_be_completed(self, shell: str, capsys: pytest.CaptureFixture[str]) -> None:
        script = shown(["--completion", shell], capsys)
        for word in (*cli.COMMANDS, "--learning-rate", "--prompt"):
            assert word in script

    def test_no_line_of_the_list_is_broken_by_a_terminal(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["--help"]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) < 80


@pytest.mark.slow
def test_help_explains_itself() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mini_gpt", "train", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    words = " ".join(result.stdout.replace("│", " ").split())
    assert "a text file" in words
    assert "--learning-rate" in result.stdout
