"""`mini-gpt sample`: what it writes, and that bad input ends with one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mini_gpt import CharTokenizer, save_pretrained
from mini_gpt.commands.cli import main
from tiny import tiny_gpt

TEXT = "What light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run, with nothing in it but the model that came of it."""
    tokenizer = CharTokenizer.train(TEXT)
    model = tiny_gpt(vocab_size=tokenizer.vocab_size, context_length=7)
    save_pretrained(model, tokenizer, tmp_path / "run" / "checkpoint")
    return tmp_path / "run"


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command refuses bad input."""
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("mini-gpt: ")
    return lines[0]


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

    def test_several_texts_have_neighboring_seeds(
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

    @pytest.mark.slow
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

    @pytest.mark.slow
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


class TestBadInput:
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

    def test_a_prompt_longer_than_the_context_is_refused_before_it_is_shown(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["sample", str(run), "--prompt", "Juliet, Juliet"]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "14 tokens does not fit the context of 7" in printed.err
        assert "--past-context slide" in printed.err
