"""`mini-gpt train`: what it writes, its settings, and that bad input ends with one clear line."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from learning import recheck
from mini_gpt import (
    BPETokenizer,
    GPTConfig,
    TrainConfig,
    bits_per_byte,
    evaluate,
    from_pretrained,
    train_val_split,
)
from mini_gpt.commands.cli import main
from mini_gpt.commands.train_options import CPU_MODEL, Shape, Train, default_train
from mini_gpt.support.settings_file import read_settings, to_toml
from mini_gpt.trainer import Trainer
from training_command import SHORT, SMALL, TEXT, complaint, metrics, quick_run, write_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path)


@pytest.fixture
def run(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    quick_run(corpus, tmp_path / "run")
    capsys.readouterr()
    return tmp_path / "run"


class TestTrain:
    @pytest.mark.slow
    def test_reports_the_loss_and_samples(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = quick_run(corpus, tmp_path / "run", "--sample-tokens", "31")
        captured = capsys.readouterr()
        final = metrics(out)[-1]
        assert f"{final['validation_loss']:.4f} nats per character" in captured.out
        assert f"{final['bits_per_byte']:.4f} bits per byte" in captured.out
        written = captured.out.split("written by the model:\n\n")[1].split("\nNext:")[0]
        assert len(written) == 31 + 1
        assert captured.err == ""  # no progress bar where there is no terminal

    def test_writes_checkpoint_metrics_and_curve(self, run: Path) -> None:
        assert [entry.get("step") for entry in metrics(run)] == [3, 6, None]
        assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
        assert not (run / "samples.txt").exists()
        model, tokenizer = from_pretrained(run / "checkpoint")
        assert model.config.width == 12
        assert tokenizer.vocab_size == model.config.vocab_size == len(set(TEXT))

    @pytest.mark.slow
    def test_samples_along_the_way_are_text(self, corpus: Path, tmp_path: Path) -> None:
        """They once were the description of an object."""
        out = quick_run(corpus, tmp_path / "run", "--sample-every", "3")
        written = (out / "samples.txt").read_text(encoding="utf-8")
        headings = re.findall(r"^--- step (\d+) ---$", written, re.MULTILINE)
        assert headings == ["3", "6"]
        samples = re.split(r"--- step \d+ ---\n", written)[1:]
        assert [len(sample) for sample in samples] == [200 + 2, 200 + 2]
        assert set("".join(samples)) <= set(TEXT)

    def test_learned_tokens(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The text is cut where characters would be, and tokens come from before the cut."""
        options = ["--tokenizer", "bpe", "--vocab-size", "270"]
        out = quick_run(corpus, tmp_path / "run", *options)
        said = capsys.readouterr().out
        model, tokenizer = from_pretrained(out / "checkpoint")
        training, validation_text = train_val_split(TEXT)
        learned = BPETokenizer.train(training, 270, special_tokens=())
        assert isinstance(tokenizer, BPETokenizer)
        assert tokenizer.tokens == learned.tokens
        assert model.config.vocab_size == 270
        validation = np.array(tokenizer.encode(validation_text))
        loss = evaluate(model, validation, context_length=7)
        final = metrics(out)[-1]
        assert loss == pytest.approx(final["validation_loss"], rel=1e-5)
        predicted = tokenizer.decode(validation[1:].tolist())  # the first token has no context
        bits = bits_per_byte(loss, len(validation) - 1, len(predicted.encode()))
        assert final["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
        assert f"{final['validation_loss']:.4f} nats per token" in said

    @pytest.mark.slow
    def test_a_run_with_learned_tokens_goes_on(self, corpus: Path, tmp_path: Path) -> None:
        options = ["--tokenizer", "bpe", "--vocab-size", "270"]
        out = quick_run(corpus, tmp_path / "run", *options)
        before = from_pretrained(out / "checkpoint")[0].state_dict()
        assert main(["train", "--resume", str(out)]) == 0
        after = from_pretrained(out / "checkpoint")[0].state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)

    @pytest.mark.slow
    def test_the_same_seed_gives_the_same_weights(
        self, corpus: Path, run: Path, tmp_path: Path
    ) -> None:
        again = quick_run(corpus, tmp_path / "again")
        first, second = (
            from_pretrained(folder / "checkpoint")[0].state_dict() for folder in (run, again)
        )
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_the_checkpoint_is_the_model_that_was_measured(self, corpus: Path, run: Path) -> None:
        model, tokenizer = from_pretrained(run / "checkpoint")
        _, validation = train_val_split(np.array(tokenizer.encode(TEXT)))
        loss = evaluate(model, validation, context_length=model.config.context_length)
        assert loss == pytest.approx(metrics(run)[-1]["validation_loss"], rel=1e-5)

    @pytest.mark.slow
    def test_checkpoints_are_kept_as_often_and_as_long_as_asked(
        self, corpus: Path, tmp_path: Path
    ) -> None:
        options = ["--checkpoint-every", "2", "--keep-checkpoints", "3"]
        out = quick_run(corpus, tmp_path / "run", *options)
        assert {path.name for path in (out / "checkpoints").iterdir()} == {
            *("step-3", "step-4", "step-6")  # at step 3 the loss was the lowest so far
        }


class TestShape:
    """The shape of a model whose vocabulary is left open until there is a tokenizer."""

    def test_is_closed_by_a_tokenizer(self) -> None:
        assert CPU_MODEL.vocab_size is None
        closed = dataclasses.replace(CPU_MODEL, layers=3).closed(99)
        assert type(closed) is GPTConfig
        assert (closed.vocab_size, closed.layers) == (99, 3)
        assert closed == dataclasses.replace(
            GPTConfig.preset("shakespeare-small"), vocab_size=99, layers=3
        )

    def test_is_checked_like_a_shape(self) -> None:
        with pytest.raises(ValueError, match="heads 5 must divide width 128"):
            dataclasses.replace(CPU_MODEL, heads=5)
        with pytest.raises(ValueError, match="vocab_size 0 must be at least 1"):
            dataclasses.replace(CPU_MODEL, vocab_size=0)
        with pytest.raises(TypeError, match=r"vocab_size 9\.5 must be a whole number"):
            recheck(Shape(), vocab_size=9.5)

    def test_has_every_field_that_a_model_has(self) -> None:
        names = [[field.name for field in dataclasses.fields(kind)] for kind in (Shape, GPTConfig)]
        assert names[0] == names[1]


class TestSettings:
    @pytest.mark.slow
    def test_a_run_is_resumed_with_its_settings(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Stop after half the steps by a signal, resume by name alone: as if never stopped."""
        whole, paused = tmp_path / "whole", tmp_path / "paused"
        quick_run(corpus, whole, "--dropout", "0.2")
        before = Trainer.step

        def step(trainer: Trainer) -> torch.Tensor:
            if trainer.steps_done == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return before(trainer)

        options = ["--corpus", str(corpus), *SMALL, *SHORT, "--dropout", "0.2"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "step", step)
            capsys.readouterr()
            assert main(["train", "--out", str(paused), *options]) == 130
        said = capsys.readouterr().err.strip()
        assert said.startswith("mini-gpt: stopped by SIGINT after step 4 of 6, and saved; go on")
        assert said.endswith(f"mini-gpt train --resume {paused}")
        assert main(["train", "--resume", str(paused)]) == 0
        ends = [from_pretrained(run / "checkpoint")[0].state_dict() for run in (whole, paused)]
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
        assert (whole / "settings.toml").read_text() == (paused / "settings.toml").read_text()

    @pytest.mark.slow
    def test_a_resumed_run_may_be_prolonged(self, run: Path) -> None:
        assert main(["train", f"--resume={run}", "--steps", "9"]) == 0
        assert [entry.get("step") for entry in metrics(run)] == [3, 6, 9, None]
        assert "steps = 9\n" in (run / "settings.toml").read_text()

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["toml", "yaml"])
    def test_settings_come_from_a_file_and_options_go_before_it(
        self, kind: str, corpus: Path, tmp_path: Path
    ) -> None:
        shape = {"context_length": 7, "layers": 1, "heads": 3, "width": 6, "bias": False}
        how = {"steps": 4, "batch_size": 3, "learning_rate": 1, "optimizer": "muon"}
        content = {"corpus": str(corpus), "model": shape, "training": {**how, "device": "cpu"}}
        path = tmp_path / f"mine.{kind}"
        path.write_text(to_toml(content) if kind == "toml" else json.dumps(content))
        out = tmp_path / "run"
        assert main(["train", "--config", str(path), "--steps", "2", "--out", str(out)]) == 0
        model, _ = from_pretrained(out / "checkpoint")
        assert (model.config.layers, model.config.width, model.config.bias) == (1, 6, False)
        kept = read_settings(out / "settings.toml")
        assert kept["training"]["steps"] == 2
        assert kept["training"]["learning_rate"] == 1.0
        assert kept["training"]["optimizer"] == "muon"
        # What was kept starts the same run again.
        again = tmp_path / "again"
        assert main(["train", "--config", str(out / "settings.toml"), "--out", str(again)]) == 0
        assert read_settings(again / "settings.toml") == kept

    @pytest.mark.slow
    def test_what_is_not_set_is_not_set_again(self, corpus: Path, tmp_path: Path) -> None:
        """TOML cannot say None; a run's settings come back whole all the same."""
        out = quick_run(corpus, tmp_path / "run", "--decay-steps", "None")
        kept = read_settings(out / "settings.toml")
        assert "vocab_size" not in kept["model"]  # follows from the corpus
        assert "decay_steps" not in kept["training"]  # though the default is a number
        for option, value in (("--resume", out), ("--config", out / "settings.toml")):
            found = default_train(["train", option, str(value)])
            assert found.model.vocab_size is None
            assert (found.model.layers, found.model.width) == (2, 12)
            assert found.training.decay_steps is None
            assert found.training.steps == 6
        assert Train().training.decay_steps is not None
        assert main(["train", "--resume", str(out), "--steps", "7"]) == 0

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("a.toml", "corpsu = 3", "did you mean corpus?"),
            ("a.toml", "[training]\nlearning_rat = 3", "did you mean learning_rate?"),
            ("a.toml", "[training]\nsteps = 2.5", "steps in .* cannot be 2.5; .* a whole number"),
            ("a.toml", "[training]\noptimizer = 'sgd'", "'adamw' or 'muon'"),
            ("a.toml", "[training]\nsteps = 0", "steps 0 must be at least 1"),
            ("a.toml", "run_version = 1", "a.toml was made by another version of mini_gpt"),
            ("a.toml", "[training", "is not TOML"),
            ("a.yaml", "a: [", "is not YAML"),
            ("a.yaml", "- 1", "not a list"),
            ("a.ini", "", "must be named .toml"),
        ],
    )
    def test_a_bad_file_is_named_with_its_fault(
        self,
        name: str,
        content: str,
        words: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        path = tmp_path / name
        path.write_text(content)
        assert re.search(words, complaint(["train", "--config", str(path)], capsys))

    def test_what_is_no_run_cannot_be_resumed(
        self, corpus: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "no settings.toml" in complaint(["train", "--resume", str(tmp_path)], capsys)
        corpus.write_text(TEXT.replace("Juliet", "Julius"))
        assert "no longer the text" in complaint(["train", "--resume", str(run)], capsys)

    @pytest.mark.parametrize(("before", "after"), [("run_version = 2\n", ""), ("= 2\n", "= 3\n")])
    def test_a_run_of_another_version_cannot_be_resumed(
        self, before: str, after: str, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The oldest ones wrote no version, and named their settings otherwise."""
        path = run / "settings.toml"
        text = path.read_text()
        assert text.startswith("run_version = 2\n")
        path.write_text(text.replace(before, after, 1).replace("batch_size", "batch"))
        line = complaint(["train", "--resume", str(run)], capsys)
        assert f"{run} was made by another version of mini_gpt" in line
        assert "start a new run" in line

    def test_every_field_is_an_option_and_is_explained(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "300")  # so that no explanation is broken into lines
        assert main(["train", "--help-all"]) == 0
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        own = {"model", "training"}
        for kind in (Train, TrainConfig, GPTConfig):
            for field in dataclasses.fields(kind):
                if field.name in own:
                    continue
                option = f"--{field.name.replace('_', '-')}"
                said: Any = re.search(rf"{option}\b[^(]*?([A-Z\"].*?\. )\(default", shown)
                assert said, f"{option} is not explained"
        for words in (
            "--vocab-size {None}|INT Number of tokens (V).",
            "--learning-rate FLOAT Highest learning rate of AdamW",
            "--batch-size INT Sequences in each step (B)",
            "--width INT Size of the residual stream (D).",
        ):
            assert words in shown


class TestBadInput:
    def test_missing_corpus(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = complaint(["train", "--corpus", "nowhere.txt"], capsys)
        assert "nowhere.txt" in line
        assert "text file" in line

    @pytest.mark.parametrize("content", ["", " \n"])
    def test_empty_corpus(
        self, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "empty.txt"
        path.write_text(content)
        assert "no text" in complaint(["train", "--corpus", str(path)], capsys)

    def test_folder_without_text(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no text" in complaint(["train", "--corpus", str(tmp_path)], capsys)

    def test_text_shorter_than_the_context(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "short.txt"
        path.write_text("to be or not to be")
        line = complaint(["train", "--corpus", str(path), "--context-length", "64"], capsys)
        assert "64" in line
        assert "context" in line

    def test_text_that_is_not_utf8(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "latin1.txt"
        path.write_bytes("café".encode("latin-1"))
        line = complaint(["train", "--corpus", str(path)], capsys)
        assert "latin1.txt" in line
        assert "offset 3" in line

    def test_vocabulary_that_is_not_the_corpus(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = complaint(["train", "--corpus", str(corpus), "--vocab-size", "99"], capsys)
        assert "leave --vocab-size out" in line

    def test_unknown_device(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["train", "--corpus", str(corpus), "--device", "abacus"]
        assert "'abacus'" in complaint(arguments, capsys)

    def test_samples_of_less_than_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = complaint(["train", "--sample-every", "-1"], capsys)
        assert "sample_every and sample_tokens must be at least 0" in line

    def test_fewer_checkpoints_than_one(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        where = ["--corpus", str(corpus), "--out", str(tmp_path / "run")]
        for option in ("checkpoint", "keep"):
            name = {"checkpoint": "--checkpoint-every", "keep": "--keep-checkpoints"}[option]
            line = complaint(["train", *where, *SMALL, *SHORT, name, "0"], capsys)
            assert f"{name[2:].replace('-', '_')} 0 must be at least 1" in line
