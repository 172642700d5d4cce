"""`mini-gpt plot`: runs side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from mini_gpt.commands.cli import main
from training_command import complaint, metrics, quick_run, write_corpus


@pytest.mark.slow
def test_runs_are_compared_in_one_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, picture = write_corpus(tmp_path), tmp_path / "both.png"
    run = quick_run(corpus, tmp_path / "run")
    other = quick_run(corpus, tmp_path / "other", "--seed", "3")
    capsys.readouterr()
    assert main(["plot", str(run), str(other), "--out", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [[str(run), "6"], [str(other), "6"]]
    lowest = min(found["validation_loss"] for found in metrics(other)[:2])
    assert lines[2].split()[2] == f"{lowest:.4f}"
    assert lines[3] == f"the loss curves are in {picture}"
    assert picture.read_bytes().startswith(b"\x89PNG")
    # A run may also be named by its metrics, and alone.
    assert main(["plot", str(run / "metrics.jsonl"), "--out", str(picture)]) == 0
    assert f"the loss curve is {picture}" in capsys.readouterr().out


def test_what_is_no_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "not a run" in complaint(["plot", str(tmp_path)], capsys)
    (tmp_path / "metrics.jsonl").touch()
    assert "nothing has been measured" in complaint(["plot", str(tmp_path)], capsys)
    assert "the folder of at least one" in complaint(["plot"], capsys)
