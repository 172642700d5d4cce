"""The command line: what it writes, and that bad input ends with one clear line."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mini_gpt import (
    BPETokenizer,
    GPTConfig,
    TrainConfig,
    bits_per_byte,
    evaluate,
    from_pretrained,
    split_tokens,
    training,
)
from mini_gpt.cli import main
from mini_gpt.settings import read_settings, to_toml

TEXT = "What light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n" * 20
SMALL = ["--context-length", "7", "--layers", "2", "--heads", "3", "--width", "12", "--batch", "5"]
SHORT = ["--steps", "6", "--evaluate-every", "3", "--warmup-steps", "2", "--device", "cpu"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def run(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "run"
    assert main(["train", "--corpus", str(corpus), "--out", str(out), *SMALL, *SHORT]) == 0
    capsys.readouterr()
    return out


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command refuses bad input."""
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("mini-gpt: ")
    return lines[0]


class TestTrain:
    def test_reports_the_loss_and_samples(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "run"
        arguments = [
            "train",
            "--corpus",
            str(corpus),
            "--out",
            str(out),
            "--sample-tokens",
            "31",
        ]
        assert main([*arguments, *SMALL, *SHORT]) == 0
        captured = capsys.readouterr()
        final = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
        assert f"{final['validation_loss']:.4f} nats per character" in captured.out
        assert f"{final['bits_per_byte']:.4f} bits per byte" in captured.out
        written = captured.out.split("written by the model:\n\n")[1]
        assert len(written) == 31 + 1
        assert captured.err == ""  # no progress bar where there is no terminal

    def test_writes_checkpoint_metrics_and_curve(self, run: Path) -> None:
        entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert [entry.get("step") for entry in entries] == [3, 6, None]
        assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
        assert not (run / "samples.txt").exists()
        model, tokenizer = from_pretrained(run / "checkpoint")
        assert model.config.width == 12
        assert tokenizer.vocab_size == model.config.vocab_size == len(set(TEXT))

    def test_samples_along_the_way_are_text(self, corpus: Path, tmp_path: Path) -> None:
        """They once were the description of an object."""
        options = ["--corpus", str(corpus), "--out", str(tmp_path / "run"), "--sample-every", "3"]
        assert main(["train", *options, *SMALL, *SHORT]) == 0
        written = (tmp_path / "run" / "samples.txt").read_text(encoding="utf-8")
        headings = re.findall(r"^--- step (\d+) ---$", written, re.MULTILINE)
        assert headings == ["3", "6"]
        samples = re.split(r"--- step \d+ ---\n", written)[1:]
        assert [len(sample) for sample in samples] == [200 + 2, 200 + 2]
        assert set("".join(samples)) <= set(TEXT)

    def test_learned_pieces_as_tokens(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The text is cut where characters would be, and pieces come from before the cut."""
        out = tmp_path / "run"
        options = ["--corpus", str(corpus), "--out", str(out), *SMALL, *SHORT]
        assert main(["train", *options, "--tokenizer", "bpe", "--vocab-size", "270"]) == 0
        said = capsys.readouterr().out
        model, tokenizer = from_pretrained(out / "checkpoint")
        cut = len(split_tokens(np.arange(len(TEXT)))[0])
        learned = BPETokenizer.train(TEXT[:cut], 270, special_tokens=())
        assert isinstance(tokenizer, BPETokenizer)
        assert tokenizer.tokens == learned.tokens
        assert model.config.vocab_size == 270
        validation = np.array(tokenizer.encode(TEXT[cut:]))
        loss = evaluate(model, validation, context_length=7)
        final = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
        assert loss == pytest.approx(final["validation_loss"], rel=1e-5)
        predicted = tokenizer.decode(validation[1:].tolist())  # the first token has no context
        bits = bits_per_byte(loss, len(validation) - 1, len(predicted.encode()))
        assert final["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
        assert f"{final['validation_loss']:.4f} nats per token" in said

    def test_a_run_with_learned_pieces_goes_on(self, corpus: Path, tmp_path: Path) -> None:
        out = tmp_path / "run"
        options = ["--corpus", str(corpus), "--out", str(out), *SMALL, *SHORT]
        assert main(["train", *options, "--tokenizer", "bpe", "--vocab-size", "270"]) == 0
        before = from_pretrained(out / "checkpoint")[0].state_dict()
        assert main(["train", "--resume", str(out)]) == 0
        after = from_pretrained(out / "checkpoint")[0].state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_the_same_seed_gives_the_same_weights(
        self, corpus: Path, run: Path, tmp_path: Path
    ) -> None:
        again = tmp_path / "again"
        assert main(["train", "--corpus", str(corpus), "--out", str(again), *SMALL, *SHORT]) == 0
        first, second = (
            from_pretrained(folder / "checkpoint")[0].state_dict() for folder in (run, again)
        )
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_the_checkpoint_is_the_model_that_was_measured(self, corpus: Path, run: Path) -> None:
        model, tokenizer = from_pretrained(run / "checkpoint")
        _, validation = split_tokens(np.array(tokenizer.encode(TEXT)))
        final = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        loss = evaluate(model, validation, context_length=model.config.context_length)
        assert loss == pytest.approx(final["validation_loss"], rel=1e-5)


class TestSettings:
    def test_a_run_is_resumed_with_its_settings(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Stop after half the steps by a signal, resume by name alone: as if never stopped."""
        whole, paused = tmp_path / "whole", tmp_path / "paused"
        options = ["--corpus", str(corpus), *SMALL, *SHORT, "--dropout", "0.2"]
        assert main(["train", "--out", str(whole), *options]) == 0
        before = training.Trainer.step

        def step(trainer: training.Trainer) -> torch.Tensor:
            if trainer.steps_done == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return before(trainer)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training.Trainer, "step", step)
            capsys.readouterr()
            assert main(["train", "--out", str(paused), *options]) == 130
        said = capsys.readouterr().err.strip()
        assert said.startswith("mini-gpt: stopped by SIGINT after step 4 of 6, and saved; go on")
        assert said.endswith(f"mini-gpt train --resume {paused}")
        assert main(["train", "--resume", str(paused)]) == 0
        ends = [from_pretrained(run / "checkpoint")[0].state_dict() for run in (whole, paused)]
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
        assert (whole / "settings.toml").read_text() == (paused / "settings.toml").read_text()

    def test_a_resumed_run_may_be_prolonged(self, run: Path) -> None:
        assert main(["train", f"--resume={run}", "--steps", "9"]) == 0
        lines = (run / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line).get("step") for line in lines] == [3, 6, 9, None]
        assert "steps = 9\n" in (run / "settings.toml").read_text()

    @pytest.mark.parametrize("kind", ["toml", "yaml"])
    def test_settings_come_from_a_file_and_options_go_before_it(
        self, kind: str, corpus: Path, tmp_path: Path
    ) -> None:
        shape = {"context_length": 7, "layers": 1, "heads": 3, "width": 6, "bias": False}
        how = {"steps": 4, "batch": 3, "learning_rate": 1, "optimiser": "muon", "device": "cpu"}
        content = {"corpus": str(corpus), "model": shape, "training": how}
        path = tmp_path / f"mine.{kind}"
        path.write_text(to_toml(content) if kind == "toml" else json.dumps(content))
        out = tmp_path / "run"
        assert main(["train", "--config", str(path), "--steps", "2", "--out", str(out)]) == 0
        model, _ = from_pretrained(out / "checkpoint")
        assert (model.config.layers, model.config.width, model.config.bias) == (1, 6, False)
        kept = read_settings(out / "settings.toml")
        assert kept["training"]["steps"] == 2
        assert kept["training"]["learning_rate"] == 1.0
        assert kept["training"]["optimiser"] == "muon"
        # What was kept starts the same run again.
        again = tmp_path / "again"
        assert main(["train", "--config", str(out / "settings.toml"), "--out", str(again)]) == 0
        assert read_settings(again / "settings.toml") == kept

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("a.toml", "corpsu = 3", "did you mean corpus?"),
            ("a.toml", "[training]\nlearning_rat = 3", "did you mean learning_rate?"),
            ("a.toml", "[training]\nsteps = 2.5", "steps in .* cannot be 2.5; .* a whole number"),
            ("a.toml", "[training]\noptimiser = 'sgd'", "'adamw' or 'muon'"),
            ("a.toml", "[training]\nsteps = 0", "steps 0 must be at least 1"),
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

    def test_every_field_is_an_option(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["train", "--help"])
        shown = capsys.readouterr().out
        for field in [*dataclasses.fields(TrainConfig), *dataclasses.fields(GPTConfig)]:
            assert f"--{field.name.replace('_', '-')}" in shown


class TestPlot:
    def test_runs_are_compared_in_one_picture(
        self, run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other, picture = tmp_path / "other", tmp_path / "both.png"
        options = ["--corpus", str(corpus), "--out", str(other), *SMALL, *SHORT, "--seed", "3"]
        assert main(["train", *options]) == 0
        capsys.readouterr()
        assert main(["plot", str(run), str(other), "--out", str(picture)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in lines[1:3]] == [[str(run), "6"], [str(other), "6"]]
        looks = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
        lowest = min(look["validation_loss"] for look in looks[:2])
        assert lines[2].split()[2] == f"{lowest:.4f}"
        assert picture.read_bytes().startswith(b"\x89PNG")

    def test_what_is_no_run_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "not a run" in complaint(["plot", str(tmp_path)], capsys)
        (tmp_path / "metrics.jsonl").touch()
        assert "nothing has been measured" in complaint(["plot", str(tmp_path)], capsys)
        assert "at least one run" in complaint(["plot"], capsys)


class TestSample:
    def test_streams_the_same_text_for_the_same_seed(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = [
            "sample",
            str(run),
            "--prompt",
            "Juliet",
            "--max-new-tokens",
            "40",
            "--past-context",
            "slide",
            "--device",
            "cpu",
        ]
        texts = []
        for seed in ("3", "3", "4"):
            assert main([*arguments, "--seed", seed]) == 0
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1] != texts[2]
        assert texts[0].startswith("Juliet")
        assert len(texts[0]) == len("Juliet") + 40 + 1

    def test_several_texts_have_neighbouring_seeds(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["sample", str(run), "--prompt", "Juliet", "--max-new-tokens", "12"]
        arguments += ["--past-context", "slide"]
        assert main([*arguments, "--seed", "3", "--num", "3"]) == 0
        together = capsys.readouterr().out
        alone = []
        for seed in ("3", "4", "5"):
            assert main([*arguments, "--seed", seed]) == 0
            alone.append(capsys.readouterr().out)
        assert together == "---\n".join(alone)
        assert len(set(alone)) == 3
        assert "--num 0 must be at least 1" in complaint([*arguments, "--num", "0"], capsys)

    def test_a_prompt_from_a_file(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "prompt.txt"
        path.write_text("Juliet\nI", encoding="utf-8")
        arguments = ["sample", str(run), "--max-new-tokens", "8", "--past-context", "slide"]
        assert main([*arguments, "--prompt-file", str(path)]) == 0
        from_file = capsys.readouterr().out
        assert main([*arguments, "--prompt", "Juliet\nI"]) == 0
        assert from_file == capsys.readouterr().out
        both = [*arguments, "--prompt-file", str(path), "--prompt", "a"]
        assert "only one of" in complaint(both, capsys)
        missing = [*arguments, "--prompt-file", str(tmp_path / "none.txt")]
        assert "none.txt" in complaint(missing, capsys)
        path.write_bytes("café".encode("latin-1"))
        assert "offset 3" in complaint([*arguments, "--prompt-file", str(path)], capsys)

    def test_a_full_context_ends_the_text_and_says_so(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["sample", str(run), "--prompt", "Juli", "--max-new-tokens", "4000"]
        assert main(arguments) == 0
        printed = capsys.readouterr()
        written = len(printed.out) - len("Juli") - 1  # a token is a character here
        context = len("Juli") + written - 1
        assert f"stopped after {written} tokens" in printed.err
        assert f"the context of {context} is full; --past-context slide" in printed.err
        assert main([*arguments[:-1], "3"]) == 0
        assert capsys.readouterr().err == ""

    def test_interactive_answers_each_line_and_ends_with_its_input(self, run: Path) -> None:
        command = [sys.executable, "-m", "mini_gpt", "sample", str(run), "--interactive"]
        process = subprocess.Popen(
            [*command, "--max-new-tokens", "3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("Juli\n")
        process.stdin.flush()
        # The first answer comes before a second line has been written.
        first = process.stdout.read(len("Juli") + 3)
        assert first.startswith("Juli")
        rest, faults = process.communicate("\u20ac\nJuli\n", timeout=60)
        assert process.returncode == 0
        assert "'\u20ac'" in faults
        assert "Traceback" not in faults
        assert rest.endswith(first + "\n")


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

    def test_shape_that_does_not_fit(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = complaint_or_usage(["train", "--heads", "5", "--width", "12"], capsys)
        assert "heads 5" in line

    def test_vocabulary_that_is_not_the_corpus(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = complaint(["train", "--corpus", str(corpus), "--vocab-size", "99"], capsys)
        assert "leave --vocab-size out" in line

    def test_missing_checkpoint(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "mini-gpt train" in complaint(["sample", "nowhere"], capsys)

    def test_folder_that_is_no_checkpoint(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "holds no model" in complaint(["sample", str(tmp_path)], capsys)

    def test_checkpoint_with_damaged_weights(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        weights = run / "checkpoint" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        assert "model.safetensors" in complaint(["sample", str(run)], capsys)

    def test_prompt_with_an_unknown_character(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = complaint(["sample", str(run), "--prompt", "Zoë"], capsys)
        assert "'ë'" in line or "'Z'" in line

    def test_empty_prompt(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "prompt is empty" in complaint(["sample", str(run), "--prompt", ""], capsys)

    def test_unknown_device(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "'abacus'" in complaint(
            ["train", "--corpus", str(corpus), "--device", "abacus"], capsys
        )

    def test_unknown_option(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--speed" in complaint_or_usage(["train", "--speed", "11"], capsys)


def complaint_or_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the parser of the command line says about words that it cannot use."""
    capsys.readouterr()
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


class TestProcess:
    def test_help_explains_itself(self) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "mini_gpt", "train", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        words = " ".join(result.stdout.replace("│", " ").split())
        assert "a text file" in words
        assert "--learning-rate" in result.stdout

    def test_ends_quietly_when_nobody_reads_on(self, run: Path) -> None:
        command = [sys.executable, "-m", "mini_gpt", "sample", str(run), "--max-new-tokens", "4000"]
        command += ["--past-context", "slide"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0
