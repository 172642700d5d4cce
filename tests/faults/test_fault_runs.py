"""Runs: nothing of them is lost, and nothing in them is silently wrong."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from learning import QUICK, RUN, TOKENIZER, TRAINING, VALIDATION, fresh, small
from mini_gpt import CharTokenizer, evaluate, from_pretrained, save_pretrained
from mini_gpt.commands.cli import main
from mini_gpt.run import TrainResult, load_training_state, train, training_state
from mini_gpt.support.checkpoint import newest_state, saved_steps
from mini_gpt.support.metrics import Metrics
from mini_gpt.support.run_folder import RUN_FILE
from mini_gpt.support.signals import TrainingStopped, stop_on_signals
from mini_gpt.trainer import Trainer
from training_command import SHORT, SMALL, TEXT, complaint, metrics, quick_run, write_corpus

pytestmark = pytest.mark.slow  # each trains through the command

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus, in a folder of its own that is also the working directory."""
    monkeypatch.chdir(tmp_path)
    return write_corpus(tmp_path)


@pytest.fixture
def run(corpus: Path, tmp_path: Path, capsys: Capture) -> Path:
    """A run of six steps."""
    return quick_run(corpus, tmp_path / "run", "--sample-every", "3")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, by its path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def quick(model: Any = None, **options: Any) -> TrainResult:
    config = options.pop("config", QUICK)
    model = small() if model is None else model
    return train(model, TRAINING, VALIDATION, TOKENIZER, config, **{"progress": False, **options})


def new(corpus: Path, *options: str) -> list[str]:
    """The words that start a quick run."""
    return ["train", "--corpus", str(corpus), *SMALL, *SHORT, *options]


class TestStatesAreGone:
    """Resuming a run of which only the weights are left trained from scratch over them."""

    def test_it_is_refused_and_the_way_out_is_told(self, run: Path, capsys: Capture) -> None:
        shutil.rmtree(run / "checkpoints")
        before = contents(run)
        said = complaint(["train", "--resume", str(run)], capsys)
        assert "there is a model in" in said
        assert f"--initialize-from {run}" in said
        assert contents(run) == before

    def test_also_where_the_folders_of_the_states_are_left(self, run: Path) -> None:
        for path in (run / "checkpoints").glob("*/*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        with pytest.raises(ValueError, match="no state to go on from"):
            quick(out=run, resume=True)

    def test_a_run_starts_from_the_weights_on_purpose(
        self, run: Path, corpus: Path, tmp_path: Path
    ) -> None:
        shutil.rmtree(run / "checkpoints")
        old, _ = from_pretrained(run / "checkpoint")
        rates = ["--learning-rate", "1e-30", "--muon-learning-rate", "1e-30"]
        out = tmp_path / "tuned"
        options = ["--initialize-from", str(run), "--out", str(out), *rates]
        assert main(["train", "--corpus", str(corpus), *SHORT, *options]) == 0
        tuned, _ = from_pretrained(out / "checkpoint")
        for name, weight in old.state_dict().items():
            torch.testing.assert_close(tuned.state_dict()[name], weight)
        shutil.rmtree(run)  # to go on, the first run is not needed
        assert main(["train", "--resume", str(out), "--steps", "8"]) == 0
        assert metrics(out)[-2]["step"] == 8

    def test_what_does_not_fit_the_weights_is_named(
        self, run: Path, corpus: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        start = ["train", "--initialize-from", str(run), "--out", str(tmp_path / "no"), *SHORT]
        here = ["--corpus", str(corpus)]
        assert "layers 3 (2)" in complaint([*start, *here, "--layers", "3"], capsys)
        assert "--tokenizer bpe" in complaint([*start, *here, "--tokenizer", "bpe"], capsys)
        other = tmp_path / "other.txt"
        other.write_text(TEXT.replace("J", "Ω"), encoding="utf-8")
        assert "Ω" in complaint([*start, "--corpus", str(other)], capsys)
        nowhere = ["train", "--initialize-from", str(tmp_path / "nowhere"), *here]
        assert "there is no folder" in complaint(nowhere, capsys)
        assert not (tmp_path / "no").exists()


class TestAnotherShape:
    """Both shapes were printed whole, and a new field of them ended every older run."""

    def test_a_run_of_before_a_field_was_there_goes_on(self) -> None:
        trainer = Trainer(small(), TRAINING, VALIDATION, QUICK)
        state = training_state(trainer)
        del state["shape"]["embedding_dropout"], state["shape"]["attention_dropout"]
        load_training_state(Trainer(small(), TRAINING, VALIDATION, QUICK), state)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"layers": 9}, r"\(in brackets\): layers 9 \(2\)$"),
            ({"attention_dropout": 0.5, "width": None}, r"width None \(\d+\), attention_dropout 0"),
            ({"newer": 1}, r"newer 1 \(not known\)$"),
        ],
    )
    def test_what_differs_is_named(self, changes: dict[str, Any], words: str) -> None:
        trainer = Trainer(small(), TRAINING, VALIDATION, QUICK)
        state = training_state(trainer)
        state["shape"] |= changes
        with pytest.raises(ValueError, match=words):
            load_training_state(trainer, state)
        with pytest.raises(ValueError, match="names no shape"):
            load_training_state(trainer, state | {"shape": []})


class TestAFreshRunInAnOldFolder:
    """It deleted the checkpoints that were there without a word."""

    def test_is_refused_with_both_ways_out(self, run: Path, corpus: Path, capsys: Capture) -> None:
        before = contents(run)
        said = complaint(new(corpus, "--out", str(run)), capsys)
        for words in ("holds a run, saved after step 6", f"--resume {run}", "--overwrite"):
            assert words in said
        assert contents(run) == before

    def test_is_refused_before_any_work(self, run: Path, capsys: Capture) -> None:
        assert "holds a run" in complaint(["train", "--corpus", "no", "--out", str(run)], capsys)

    def test_replaces_it_when_told_to(self, run: Path, corpus: Path) -> None:
        assert main(new(corpus, "--out", str(run), "--overwrite", "--steps", "4")) == 0
        assert saved_steps(run) == [3, 4]
        assert [found.get("step") for found in metrics(run)] == [3, 4, None]
        assert not (run / "samples.txt").exists()

    def test_by_default_each_run_has_a_folder_of_its_own(
        self, corpus: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        for seed in ("1", "2"):
            assert main(new(corpus, "--seed", seed)) == 0
        runs = sorted((tmp_path / "runs").iterdir())
        assert len(runs) == 2
        first, newest = sorted(runs, key=lambda path: (path / RUN_FILE).stat().st_mtime_ns)
        assert main(["train", "--resume", "--steps", "7"]) == 0
        assert [saved_steps(path)[-1] for path in (first, newest)] == [6, 7]
        capsys.readouterr()
        assert main(["plot"]) == 0
        assert newest.name in capsys.readouterr().out
        assert main(["sample", "--max-new-tokens", "3"]) == 0
        assert newest.name in capsys.readouterr().err
        assert main(["train", "--resume", "--steps=8"]) == 0
        assert saved_steps(newest)[-1] == 8

    def test_where_there_is_no_run_none_is_the_newest(self, corpus: Path, capsys: Capture) -> None:
        assert "no run in runs" in complaint(["train", "--resume"], capsys)
        assert "no run in runs" in complaint(["plot"], capsys)

    def test_resuming_one_run_in_the_folder_of_another(
        self, run: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        arguments = ["train", "--resume", str(run), "--out", str(tmp_path / "other")]
        assert "leave --out out" in complaint(arguments, capsys)
        assert "only one of" in complaint(["train", "--resume", str(run), "--overwrite"], capsys)


class TestARefusedCommand:
    """It had rewritten the settings by the time it was refused."""

    @pytest.mark.parametrize(
        "options",
        [
            ["--layers", "3"],
            ["--width", "24"],
            ["--batch-size", "4"],
            ["--optimizer", "adamw"],
            ["--seed", "3"],
            ["--device", "abacus"],
            ["--keep-checkpoints", "0"],
            ["--checkpoint-every", "0"],
            ["--sample-every", "-1"],
            ["--corpus", "nowhere.txt"],
            ["--tokenizer", "bpe"],
            ["--context-length", "6"],
        ],
    )
    def test_leaves_a_run_as_it_was(self, options: list[str], run: Path, capsys: Capture) -> None:
        before = contents(run)
        complaint(["train", "--resume", str(run), *options], capsys)
        complaint(["train", "--resume", str(run), *options], capsys)
        assert contents(run) == before

    @pytest.mark.parametrize("name", ["state.json", "state.safetensors", "model/config.json"])
    def test_leaves_a_damaged_run_as_it_was(self, name: str, run: Path, capsys: Capture) -> None:
        path = run / "checkpoints" / "step-6" / name
        path.write_bytes(path.read_bytes()[:-9])
        before = contents(run)
        assert "step-6" in complaint(["train", "--resume", str(run)], capsys)
        assert contents(run) == before

    @pytest.mark.parametrize(
        "options",
        [["--corpus", "no.txt"], ["--vocab-size", "3"], ["--context-length", "9000"]],
    )
    def test_makes_no_folder(
        self, options: list[str], corpus: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        complaint([*new(corpus), "--out", str(tmp_path / "new"), *options], capsys)
        complaint([*new(corpus), *options], capsys)
        assert [path.name for path in tmp_path.iterdir()] == [corpus.name]


class TestTheBestModel:
    """The model that was kept was the last one, however far it was overfitted."""

    LOSSES = (3.0, 1.0, 2.0, 2.5)

    def spoil(self, monkeypatch: pytest.MonkeyPatch, keep: list[Any]) -> None:
        """Measurements by the list above, and the true one on the whole split."""
        real, losses = Trainer.evaluate, iter(self.LOSSES)

        def pretend(trainer: Trainer, tokens: Any) -> float:
            if len(tokens) == len(VALIDATION):
                return real(trainer, tokens)
            keep.append({k: w.clone() for k, w in trainer.model.state_dict().items()})
            return next(losses)

        monkeypatch.setattr(Trainer, "evaluate", pretend)

    @pytest.mark.parametrize("every", [None, 6, 99])
    def test_is_the_one_that_is_kept(
        self, every: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []
        self.spoil(monkeypatch, seen)
        model, config = small(), replace(RUN, eval_tokens=50)
        result = quick(model, config=config, out=tmp_path / "run", checkpoint_every=every)
        kept, _ = from_pretrained(tmp_path / "run" / "checkpoint")
        last, _ = from_pretrained(tmp_path / "run" / "checkpoints" / "step-14" / "model")
        assert result.best_step == 8
        for name, weight in seen[1].items():
            assert torch.equal(kept.state_dict()[name], weight)
            assert torch.equal(model.state_dict()[name], weight)
            assert torch.equal(last.state_dict()[name], seen[3][name])
        for loss, whose in ((result.validation_loss, kept), (result.last_validation_loss, last)):
            assert loss == pytest.approx(evaluate(whose, VALIDATION, context_length=6), rel=1e-5)

    def test_is_kept_in_memory_where_nothing_is_written(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []
        self.spoil(monkeypatch, seen)
        model = small()
        assert quick(model, config=replace(RUN, eval_tokens=50)).best_step == 8
        assert all(torch.equal(model.state_dict()[name], seen[1][name]) for name in seen[1])

    def test_survives_a_pause(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(found: dict[str, Any]) -> None:
            if found["step"] == 12:
                signal.raise_signal(signal.SIGINT)

        seen: list[Any] = []
        self.spoil(monkeypatch, seen)
        options: dict[str, Any] = {"config": replace(RUN, eval_tokens=50), "out": tmp_path / "run"}
        with pytest.raises(TrainingStopped):
            quick(small(), on_eval=stop, keep_checkpoints=1, **options)
        assert saved_steps(tmp_path / "run") == [8, 13]
        result = quick(small(1), resume=True, **options)
        kept, _ = from_pretrained(tmp_path / "run" / "checkpoint")
        assert result.best_step == 8
        assert all(torch.equal(kept.state_dict()[name], seen[1][name]) for name in seen[1])

    def test_both_are_reported(
        self, corpus: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, calls = Trainer.evaluate, iter([1.0, 2.0])
        monkeypatch.setattr(
            Trainer, "evaluate", lambda self, tokens: next(calls, None) or real(self, tokens)
        )
        quick_run(corpus, tmp_path / "run")
        said = capsys.readouterr().out
        final = metrics(tmp_path / "run")[-1]
        assert f"{final['validation_loss']:.4f} nats per character" in said
        assert "after step 3" in said
        assert f"the last one has {final['last_validation_loss']:.4f} nats" in said
        last = tmp_path / "run" / "checkpoints" / "step-6" / "model"
        assert str(last) in said
        assert main(["sample", str(last.parent), "--max-new-tokens", "3"]) == 0


class TestSettingsOnResume:
    """All but the learning rate were written down, and ignored by the optimizer."""

    @pytest.mark.parametrize("optimizer", ["adamw", "muon"])
    def test_are_used(self, optimizer: str) -> None:
        before = replace(RUN, optimizer=optimizer)
        first = Trainer(small(), TRAINING, VALIDATION, before)
        for _ in range(3):
            first.step()
        state = training_state(first)
        changes = {"weight_decay": 0.7, "beta1": 0.5, "beta2": 0.6, "max_grad_norm": 1e-3}
        second = Trainer(small(), TRAINING, VALIDATION, replace(before, **changes))
        load_training_state(second, state)
        *muon, adamw = second.optimizers
        decays = [group["weight_decay"] for group in adamw.param_groups]
        assert set(decays) == {0.7, 0.0}  # vectors do not decay
        assert all(group["betas"] == (0.5, 0.6) for group in adamw.param_groups)
        for other in muon:
            assert other.param_groups[0]["momentum"] == 0.5
            assert other.param_groups[0]["weight_decay"] == 0.7
        assert second.config.max_grad_norm == 1e-3
        second.step()

    def test_are_told(self, run: Path, capsys: Capture) -> None:
        capsys.readouterr()
        assert main(["train", "--resume", str(run), "--steps", "8", "--beta2", "0.5"]) == 0
        said = capsys.readouterr().out
        assert "steps 8 (it was 6)" in said
        assert "beta2 0.5 (it was 0.99)" in said
        assert "weight_decay" not in said
        assert main(["train", "--resume", str(run)]) == 0
        assert "other settings" not in capsys.readouterr().out

    def test_another_seed_is_refused(self, tmp_path: Path) -> None:
        quick(out=tmp_path / "run")
        with pytest.raises(ValueError, match="seed 1337, here it is 3"):
            quick(out=tmp_path / "run", resume=True, config=replace(QUICK, seed=3))


HOLDER = """
import sys, time
from pathlib import Path
from mini_gpt.support.run_folder import begin_run, lock_run
with lock_run(Path(sys.argv[1]), resume=True):
    begin_run(Path(sys.argv[1]), [], None)
    print("locked", flush=True)
    time.sleep(60)
"""


class TestTwoRunsInOneFolder:
    """The second one deleted the checkpoints of the first, or mixed with it."""

    def test_the_second_is_refused_and_the_owner_named(
        self, run: Path, corpus: Path, capsys: Capture
    ) -> None:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        with holder:
            assert holder.stdout.readline() == "locked\n"
            before = contents(run)
            for options in (["--resume", str(run)], [*new(corpus)[1:], "--out", str(run)]):
                overwrite = [] if "--resume" in options else ["--overwrite"]
                said = complaint(["train", *options, *overwrite], capsys)
                assert f"process {holder.pid} on " in said
                assert "is training in" in said
            assert contents(run) == before
            holder.kill()
        assert main(["train", "--resume", str(run)]) == 0  # its lock died with it

    def test_in_one_process_too(self, tmp_path: Path) -> None:
        with pytest.raises(FileExistsError, match=f"process {os.getpid()} .* is training"):
            quick(
                out=tmp_path / "run",
                on_eval=lambda found: quick(out=tmp_path / "run", resume=True),
            )


class TestFilesOfOthers:
    """They were replaced or deleted where their names were those of a run's files."""

    @pytest.mark.parametrize(
        "name",
        [
            *("settings.toml", "samples.txt", "metrics.jsonl", "loss.png", "notes.txt"),
            *("checkpoint/mine.pt", "checkpoints/step-5/other.pt", "tensorboard/mine"),
        ],
    )
    @pytest.mark.parametrize("options", [[], ["--overwrite"]])
    def test_a_folder_that_is_no_run_is_refused(
        self, name: str, options: list[str], corpus: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        said = complaint([*new(corpus), "--out", str(tmp_path / "out"), *options], capsys)
        assert "is not the folder of a run" in said
        assert contents(tmp_path / "out") == {name: b"mine"}
        with pytest.raises((ValueError, FileExistsError)):
            quick(out=tmp_path / "out", resume=True)
        assert contents(tmp_path / "out") == {name: b"mine"}

    def test_what_others_put_into_a_run_stays(self, run: Path, corpus: Path) -> None:
        theirs = ["notes.txt", "checkpoints/step-3/other.pt", "checkpoints/step-9/other.pt"]
        for name in theirs:
            (run / name).parent.mkdir(exist_ok=True)
            (run / name).write_text("mine")
        assert main(["train", "--resume", str(run), "--steps", "20"]) == 0
        assert main(new(corpus, "--out", str(run), "--overwrite")) == 0
        for name in theirs:
            assert (run / name).read_text() == "mine"

    def test_a_note_in_the_models_folder_does_not_end_the_run(self, run: Path) -> None:
        (run / "checkpoint" / "notes.txt").write_text("mine")
        with pytest.warns(RuntimeWarning, match=r"notes\.txt"):
            assert main(["train", "--resume", str(run), "--steps", "9"]) == 0
        assert saved_steps(run)[-1] == 9
        assert (run / "checkpoint" / "notes.txt").read_text() == "mine"

    def test_a_model_that_is_edited_in_place_is_not_in_the_state(self, run: Path) -> None:
        path = run / "checkpoint" / "model.safetensors"
        with path.open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"\0\0\0\0")
        state = run / "checkpoints" / "step-6" / "model" / "model.safetensors"
        assert path.read_bytes() != state.read_bytes()
        assert not os.path.samefile(path, state)
        assert main(["train", "--resume", str(run)]) == 0  # and it is made good
        assert path.read_bytes() == state.read_bytes()


class TestOtherExits:
    """A closed terminal, an error in a callback, a full disk: 90 to 230 steps were lost."""

    @pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
    def test_a_closed_terminal_saves(self, tmp_path: Path) -> None:
        def hang_up(found: dict[str, Any]) -> None:
            if found["step"] == 4:
                signal.raise_signal(signal.SIGHUP)

        before = signal.getsignal(signal.SIGHUP)
        with pytest.raises(TrainingStopped, match="SIGHUP after step 5"):
            quick(config=RUN, out=tmp_path / "run", on_eval=hang_up, checkpoint_every=99)
        assert saved_steps(tmp_path / "run")[-1] == 5
        assert signal.getsignal(signal.SIGHUP) == before

    @pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
    def test_what_nohup_ignores_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with stop_on_signals(True) as stop:
                signal.raise_signal(signal.SIGHUP)
                assert stop.asked is None
        finally:
            signal.signal(signal.SIGHUP, before)

    @pytest.mark.parametrize("fault", [RuntimeError, MemoryError, OSError, SystemExit])
    def test_an_error_in_a_callback_saves(
        self, fault: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where the last measurement was not the best, after which all is saved."""
        losses = iter([1.0, 2.0, 3.0])
        monkeypatch.setattr(Trainer, "evaluate", lambda self, tokens: next(losses))

        def fail(found: dict[str, Any]) -> None:
            if found["step"] == 8:
                raise fault("mine")

        with pytest.raises(fault, match="mine"):
            quick(config=RUN, out=tmp_path / "run", on_eval=fail, checkpoint_every=99)
        assert saved_steps(tmp_path / "run") == [4, 8]

    def test_no_memory_to_measure_with_saves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(trainer: Trainer, tokens: Any) -> float:
            raise torch.OutOfMemoryError("no memory")

        monkeypatch.setattr(Trainer, "evaluate", fail)
        with pytest.raises(torch.OutOfMemoryError):
            quick(config=RUN, out=tmp_path / "run")
        assert saved_steps(tmp_path / "run") == [4]

    def test_a_line_of_metrics_that_cannot_be_written_is_a_warning(self, tmp_path: Path) -> None:
        def block(found: dict[str, Any]) -> None:
            if found["step"] == 3:
                (tmp_path / "run" / "metrics.jsonl").unlink()
                (tmp_path / "run" / "metrics.jsonl").mkdir()

        with pytest.warns(RuntimeWarning, match="a line of .* is lost"):
            quick(out=tmp_path / "run", on_eval=block)
        assert saved_steps(tmp_path / "run")[-1] == 7

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
    def test_a_full_disk_costs_a_line_only(self, tmp_path: Path) -> None:
        lines = Metrics(tmp_path, [])
        lines.path = Path("/dev/full")
        with pytest.warns(RuntimeWarning, match="is lost"):
            lines.add({"step": 1})


class TestSamplesOfAResumedRun:
    """The counter started at 0, so that they came at wrong steps, or twice."""

    @pytest.mark.parametrize("stop_after", [2, 4, 6])
    def test_come_at_the_same_steps(self, stop_after: int, corpus: Path, tmp_path: Path) -> None:
        options = ["--steps", "12", "--eval-every", "2", "--sample-every", "4"]
        whole = quick_run(corpus, tmp_path / "whole", *options)
        early = ["--steps", str(stop_after), "--schedule", "wsd", "--decay-steps", "1"]
        paused = quick_run(corpus, tmp_path / "paused", *options, *early)
        assert main(["train", "--resume", str(paused), "--steps", "12"]) == 0

        def steps(run: Path) -> list[str]:
            lines = (run / "samples.txt").read_text(encoding="utf-8").splitlines()
            return [line for line in lines if line.startswith("--- step")]

        assert steps(paused) == steps(whole) == [f"--- step {n} ---" for n in (4, 8, 12)]
        # Killed, and gone on with from an earlier step: none is written twice.
        shutil.rmtree(paused / "checkpoints" / "step-12")
        assert main(["train", "--resume", str(paused)]) == 0
        assert steps(paused) == steps(whole)


class TestASampleNeverEndsARun:
    """A tokenizer that does not know a line break ended it at the first sample."""

    def test_a_corpus_without_a_line_break(self, tmp_path: Path, capsys: Capture) -> None:
        path = tmp_path / "line.txt"
        path.write_text("to be or not to be " * 40)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            out = quick_run(path, tmp_path / "run", "--sample-every", "3", "--sample-tokens", "9")
        assert "--- step 3 ---" in (out / "samples.txt").read_text()
        assert "9 characters written by the model" in capsys.readouterr().out
        assert main(["sample", str(out), "--max-new-tokens", "5"]) == 0

    def test_whatever_goes_wrong(
        self, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: object) -> None:
            raise RuntimeError("no kernel image")

        monkeypatch.setattr("mini_gpt.commands.train.generate_rows", fail)
        monkeypatch.setattr("mini_gpt.commands.train.write", fail)
        with pytest.warns(RuntimeWarning, match="a sample is left out: no kernel image"):
            out = quick_run(corpus, tmp_path / "run", "--sample-every", "3")
        assert metrics(out)[-1]["final"]

    def test_a_model_starts_from_a_token_that_it_knows(
        self, tmp_path: Path, capsys: Capture
    ) -> None:
        save_pretrained(small(vocab_size=3), CharTokenizer("abc"), tmp_path / "model")
        assert main(["sample", str(tmp_path / "model"), "--max-new-tokens", "2"]) == 0
        assert len(capsys.readouterr().out) == 1 + 2 + 1


class TestMetricsThatWereCutOff:
    """Half a last line, as a kill leaves it, and `plot` refused the run."""

    @pytest.mark.parametrize("rest", ['{"step": 9, "val', "{", '{"step": 9}'[:-1], "nu"])
    def test_are_drawn_without_it(self, rest: str, run: Path, capsys: Capture) -> None:
        with (run / "metrics.jsonl").open("a") as file:
            file.write(rest)
        picture = run / "curve.png"
        assert main(["plot", str(run), "--out", str(picture)]) == 0
        assert picture.exists()

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("{broken", "line 2 of .* is not JSON"),
            ("[1]", "line 2 .* no measurement"),
            ('{"step": 5}', "line 2 .* has no number validation_loss"),
            ('{"step": 5, "validation_loss": null}', "no number validation_loss"),
            ('{"step": "x"}', "no number step"),
        ],
    )
    def test_damage_elsewhere_is_named(
        self, line: str, words: str, run: Path, capsys: Capture
    ) -> None:
        path = run / "metrics.jsonl"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
        assert re.search(words, complaint(["plot", str(run)], capsys))


COMMAND = [sys.executable, "-m", "mini_gpt"]


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
class TestStreamsThatAreClosed:
    """`mini-gpt train | head -1` ended at once with exit status 0; `2>&-` with a traceback."""

    @pytest.mark.parametrize(
        "streams",
        [
            "| head -1; exit ${PIPESTATUS[0]}",
            "2>&1 | true; exit ${PIPESTATUS[0]}",
            *(">&-", "2>&-", "<&-", ">&- 2>&- <&-"),
            *([">/dev/full"] if Path("/dev/full").exists() else []),
        ],
    )
    def test_training_goes_on(self, streams: str, corpus: Path, tmp_path: Path) -> None:
        words = [*COMMAND, *new(corpus, "--out", str(tmp_path / "run"), "--sample-tokens", "9")]
        line = " ".join(map(str, words))
        done = subprocess.run(
            ["bash", "-c", f"{line} {streams}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert saved_steps(tmp_path / "run")[-1] == 6
        assert metrics(tmp_path / "run")[-1]["final"]

    @pytest.mark.parametrize("streams", ["2>&-", "<&-", ">&-"])
    @pytest.mark.parametrize("command", ["sample nowhere", "sample --interactive", "plot nowhere"])
    def test_other_commands_end_as_always(self, command: str, streams: str, run: Path) -> None:
        line = " ".join([*COMMAND, command.replace("sample --", f"sample {run} --"), streams])
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, check=False, input=""
        )
        assert done.returncode == (0 if "--interactive" in command else 2), done.stderr
        assert "Traceback" not in done.stderr


class TestADamagedState:
    """198 of 2,644 mutated values of state.json came out as other kinds of error."""

    def test_is_named_with_its_file(self, tmp_path: Path) -> None:
        quick(fresh(), out=tmp_path / "run")
        path = tmp_path / "run" / "checkpoints" / "step-7" / "state.json"
        whole = path.read_text(encoding="utf-8")
        chance = random.Random(0)
        for _ in range(200):
            path.write_text(mutated(json.loads(whole), chance), encoding="utf-8")
            with pytest.raises(ValueError, match="step-7"):
                newest_state(tmp_path / "run")

    def test_a_part_that_does_not_fit_is_named(self) -> None:
        """Where somebody has made the digests fit, too."""
        first = Trainer(small(), TRAINING, VALIDATION, QUICK)
        first.step()
        chance = random.Random(1)
        for part in ("batches", "optimizers", "random", "skipped", "meter"):
            for _ in range(20):
                state = training_state(first)
                wrong = chance.choice([None, 1, "x", [], {}, [None], {"seed": 1337}, [[]]])
                second = Trainer(small(), TRAINING, VALIDATION, QUICK)
                with pytest.raises(ValueError):
                    load_training_state(second, {**state, part: wrong})

    def test_nested_too_deeply(self, tmp_path: Path) -> None:
        quick(out=tmp_path / "run")
        path = tmp_path / "run" / "checkpoints" / "step-7" / "state.json"
        path.write_text("[" * 100_000)
        with pytest.raises(ValueError, match="step-7"):
            newest_state(tmp_path / "run")


def mutated(content: Any, chance: random.Random) -> str:
    """A JSON value, with something in it replaced, removed or doubled."""
    other = [None, True, -1, 1.5, 10**30, "x", [], {}, {"tensor": "999"}, {"pairs": 3}]
    place = content
    while True:
        keys = list(place if isinstance(place, dict) else range(len(place)))
        key = chance.choice([k for k in keys if k not in ("format", "version")] or keys)
        inner = place[key]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.85:
            place = inner
            continue
        if chance.random() < 0.2:
            del place[key]
        else:
            place[key] = chance.choice([value for value in other if value != inner])
        return json.dumps(content)
