"""The command line as a whole: words that it cannot use, help, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mini_gpt.commands import cli
from mini_gpt.support.signals import TrainingStopped


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
    return text


def test_an_unknown_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--speed" in usage(["train", "--speed", "11"], capsys)


def test_a_shape_that_does_not_fit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "heads 5" in usage(["train", "--heads", "5", "--width", "12"], capsys)


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (ValueError("no such\nthing"), 2, "mini-gpt: no such thing\n"),
        (OSError("full"), 2, "mini-gpt: full\n"),
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

    monkeypatch.setattr(cli, "run_info", fail)
    assert cli.main(["info", "gpt2"]) == status
    assert capsys.readouterr().err == (said or f"mini-gpt: {fault}\n")


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
