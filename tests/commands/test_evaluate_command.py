"""`mini-gpt evaluate`: the ladder of a model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mini_gpt.characters import CharTokenizer
from mini_gpt.commands import evaluate as command
from mini_gpt.commands.cli import main
from mini_gpt.support.model_folder import save_pretrained
from tiny import tiny_gpt
from token_folders import write_folder
from training_command import complaint, quick_run, write_corpus

TEXT = "the quick brown fox jumps over the lazy dog. " * 60


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = CharTokenizer.train(TEXT)
    folder = tmp_path / "model"
    save_pretrained(tiny_gpt(vocab_size=tokenizer.vocab_size), tokenizer, folder)
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def rows(said: str) -> dict[str, list[str]]:
    """The numbers of each rung."""
    found = {}
    for line in said.splitlines():
        name, numbers = line[:18].strip(), line[18:].split()
        if numbers and numbers[0].replace(".", "").isdigit() and "." in numbers[0]:
            found[name] = numbers
    return found


@pytest.mark.slow
def test_a_model_on_a_file_is_placed_beside_compressors(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "here.png"
    assert main(["evaluate", str(model), "--on", str(text), "--out", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "2,700 characters of" in said
    assert "is not known" in said
    found = rows(said)
    assert list(found) == ["uniform", "gzip", "bzip2", "xz", "PPM's idea", "the model"]
    assert found["uniform"] == ["8.00"]
    assert float(found["gzip"][0]) < 0.4  # the same line sixty times
    assert 4 < float(found["the model"][0]) < 6  # of 28 characters, not trained
    assert len(found["the model"]) == 4  # with an interval: low "to" high
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in said


def test_without_matplotlib_it_says_what_to_install(
    model: Path,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "none.png"
    assert main(["evaluate", str(model), "--on", str(text), "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("pip install matplotlib") == 1
    assert not out.exists()


@pytest.mark.slow
def test_a_run_knows_its_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = quick_run(write_corpus(tmp_path), tmp_path / "run")
    training, held_out = command.texts_of(str(run))
    assert training
    assert held_out
    again = command.texts_of(str(run / "checkpoint"))
    assert again == (training, held_out)
    capsys.readouterr()


def test_a_run_whose_corpus_is_gone_is_measured_alone(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "settings.toml"
    gone.write_text('corpus = "no/such/file.txt"\n', encoding="utf-8")
    out = str(tmp_path / "a.png")
    assert main(["evaluate", str(model), "--on", str(text), "--out", out]) == 0
    said = capsys.readouterr().out
    assert "cannot be read" in said
    assert "unigram" not in rows(said)


def test_a_text_that_was_trained_on_is_told(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f"corpus = {str(text)!r}\n", encoding="utf-8")
    out = str(tmp_path / "a.png")
    assert main(["evaluate", str(model), "--on", str(text), "--out", out]) == 0
    said = capsys.readouterr().out
    assert "100.0% of its runs of 8 words stand in the training text: what is" in said
    assert float(rows(said)["6-gram of bytes"][0]) < 0.5  # it has counted in it


def test_what_the_model_cannot_read_is_said_at_once(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("ÄÖÜ" * 400, encoding="utf-8")
    assert "'Ä'" in complaint(["evaluate", str(model), "--on", str(other)], capsys)


def test_what_cannot_be_measured_is_refused(
    model: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "with --on FILE" in complaint(["evaluate", str(model)], capsys)
    small = ["evaluate", str(model), "--on", str(text), "--characters", "10"]
    assert "--characters 10 must be at least 1000" in complaint(small, capsys)
    short = tmp_path / "short.txt"
    short.write_text("too short", encoding="utf-8")
    said = complaint(["evaluate", str(model), "--on", str(short)], capsys)
    assert "short.txt has 9 characters" in said


@pytest.mark.slow
def test_a_run_on_prepared_tokens_is_measured_on_what_they_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tmp_path / "tokens"
    write_folder(tokens, CharTokenizer.train(TEXT + "\n"), [TEXT], [TEXT[9:], TEXT])
    run = quick_run(tokens, tmp_path / "run", "--validation-tokens", "50", "--sample-tokens", "0")
    capsys.readouterr()
    words = ["evaluate", str(run), "--out", str(tmp_path / "ladder.png")]
    assert main([*words, "--characters", "1000"]) == 0
    said = capsys.readouterr().out
    assert "1,000 characters of text that its training held out" in said
    assert "was trained on prepared tokens; compressors do not read them" in said
    assert "the model" in rows(said)
