"""What a run says while it trains, and at its end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mini_gpt.commands.cli import main
from mini_gpt.commands.train_report import indented, next_steps, progress_line
from mini_gpt.trainer import Stepper
from training_command import SHORT, SMALL, complaint, metrics, quick_run, write_corpus


def entry(step: int, loss: float) -> dict[str, Any]:
    return {"step": step, "validation_loss": loss, "training_loss": loss + 0.5}


class TestProgressLine:
    def test_says_the_loss_and_that_it_is_the_best(self) -> None:
        history = [entry(250, 2.5), entry(500, 2.0)]
        assert progress_line(history[-1], history, 1000) == (
            "step 500 of 1,000: validation loss 2.0000, the best so far (training 2.5000)"
        )

    def test_says_which_one_was_better(self) -> None:
        history = [entry(250, 2.5), entry(500, 2.0), entry(750, 2.25)]
        assert progress_line(history[-1], history, 1000) == (
            "step 750 of 1,000: validation loss 2.2500; the best was 2.0000, step 500"
        )


def test_a_sample_is_set_off_and_short() -> None:
    assert indented("\nto be\n\nor not\n") == "    | to be\n    |\n    | or not"
    assert len(indented("x" * 10_000)) < 400


def test_names_with_spaces_can_be_typed_as_they_are_printed() -> None:
    lines = next_steps(Path("my run"), 1000).splitlines()
    assert [shlex.split(line, comments=True)[:3] for line in lines if "mini-gpt" in line] == [
        ["mini-gpt", "sample", "my run"],
        ["mini-gpt", "train", "--resume"],
        ["mini-gpt", "plot", "my run"],
    ]


@pytest.mark.slow
class TestARun:
    @pytest.fixture
    def said(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
        options = "--sample-every", "3", "--sample-tokens", "11"
        run = quick_run(write_corpus(tmp_path), tmp_path / "run", *options)
        return run, capsys.readouterr().out

    def test_prints_each_look_and_a_sample_now_and_then(self, said: tuple[Path, str]) -> None:
        run, printed = said
        looks = [line for line in printed.splitlines() if line.startswith("step ")]
        losses = [line["validation_loss"] for line in metrics(run)[:-1]]
        assert len(looks) == len(losses) == 2
        for look, loss in zip(looks, losses, strict=True):
            assert f"validation loss {loss:.4f}" in look
            assert "the best" in look
        # The first of the two samples; the second would stand above the one at the end.
        shown = [line for line in printed.splitlines() if line.startswith("    |")]
        first = (run / "samples.txt").read_text(encoding="utf-8").split("--- step 6")[0]
        assert shown == indented(first.split("---\n", 1)[1].rstrip("\n")).splitlines()

    def test_what_to_type_next_works(
        self, said: tuple[Path, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, printed = said
        typed = [
            shlex.split(line, comments=True)[1:]
            for line in printed.split("\nNext:")[1].splitlines()
            if line.strip()
        ]
        assert [words[0] for words in typed] == ["sample", "train", "plot"]
        typed[0].remove("--interactive")  # it would wait for somebody to type
        for words in typed:
            out = ["--out", str(said[0] / "again.png")] if words[0] == "plot" else []
            assert main([*words, *out]) == 0
        assert metrics(said[0])[-2]["step"] == 12

    def test_a_run_that_goes_on_knows_the_best_loss_of_before(
        self, said: tuple[Path, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        run, _ = said
        worse = ["--learning-rate", "0.9", "--muon-learning-rate", "0.9", "--schedule", "cosine"]
        steps = ["--steps", "9", "--warmup-steps", "0", "--min-lr", "0.9"]
        assert main(["train", "--resume", str(run), *steps, *worse]) == 0
        look = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("step 9"))
        best = min(line["validation_loss"] for line in metrics(run)[:-1])
        assert f"the best was {best:.4f}, step 6" in look


@pytest.mark.slow
def test_without_matplotlib_it_is_said_once_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "run"
    corpus = str(write_corpus(tmp_path))
    assert main(["train", "--corpus", corpus, "--out", str(out), *SMALL, *SHORT]) == 0
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("pip install matplotlib") == 1
    assert not (out / "loss.png").exists()


@pytest.mark.slow
class TestThreads:
    def test_a_run_keeps_the_number_it_began_with_and_gives_all_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A sum over more threads comes out otherwise in the last bit."""
        before, used = torch.get_num_threads(), []
        monkeypatch.setattr("mini_gpt.support.threads.choose_threads", lambda *_: 2)
        real = Stepper.step

        def step(stepper: Stepper) -> Any:
            used.append(torch.get_num_threads())
            return real(stepper)

        monkeypatch.setattr(Stepper, "step", step)
        run = quick_run(write_corpus(tmp_path), tmp_path / "run", "--sample-tokens", "0")
        assert "on cpu (2 threads)" in capsys.readouterr().out
        monkeypatch.setattr("mini_gpt.support.threads.choose_threads", lambda *_: 1)
        resume = ["train", "--resume", str(run), "--steps", "9", "--sample-tokens", "0"]
        assert main(resume) == 0
        assert used == [2] * 9
        other = ["--out", str(tmp_path / "other"), "--steps", "1"]
        assert main(["train", "--config", str(run / "settings.toml"), *other]) == 0
        assert used[9:] == [1]  # other runs take what fits there and then
        assert torch.get_num_threads() == before

    def test_fewer_than_one_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        corpus = str(write_corpus(tmp_path))
        assert "threads 0" in complaint(["train", "--corpus", corpus, "--threads", "0"], capsys)
