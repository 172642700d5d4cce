"""The page that leads from a laptop to serving: its commands, in order, at minuscule sizes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import tyro

from mini_gpt.commands.cli import main
from mini_gpt.commands.export import Export
from mini_gpt.commands.prepare import Prepare, run_prepare
from mini_gpt.config import GPTConfig
from mini_gpt.support.model_folder import load_config
from mini_gpt.support.recipes import GPT2_TRAINING
from mini_gpt.support.settings_file import read_settings

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "book" / "larger.md").read_text(encoding="utf-8")
TYPED = [
    shlex.split(line)
    for block in re.findall(r"```text\n((?:mini-gpt|torchrun) .*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
]
TINY = [
    *("--steps", "2", "--eval-every", "2", "--eval-tokens", "64", "--warmup-steps", "1"),
    *("--layers", "1", "--heads", "2", "--width", "16", "--context-length", "8"),
    *("--batch-size", "4", "--accumulation-steps", "2", "--sample-tokens", "5"),
    *("--device", "cpu"),
]


def lines(command: str) -> list[list[str]]:
    """What the page types after `mini-gpt` with this command."""
    return [words[1:] for words in TYPED if words[:2] == ["mini-gpt", command]]


def test_every_command_of_the_page_is_looked_at_here() -> None:
    kinds = [words[1] for words in TYPED if words[0] == "mini-gpt"]
    assert sorted(set(kinds)) == ["export", "plan", "prepare", "train"]
    assert [words[0] for words in TYPED if words[0] != "mini-gpt"] == ["torchrun"]


@pytest.mark.slow
def test_plans_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for words in lines("plan"):
        assert main(words) == 0
        printed.append(capsys.readouterr().out)
        assert "NVIDIA H200" in printed[-1]
    (shown,) = re.findall(r"The second of these prints:\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert printed[1] == shown, "other speeds are known: put what it prints into the page"


@pytest.mark.slow
def test_from_a_text_to_a_folder_for_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (prepare,), (train,), exports = lines("prepare"), lines("train"), lines("export")
    asked = tyro.cli(Prepare, args=prepare[1:])
    assert asked.tokenizer == "gpt2"
    source = tmp_path / "texts"
    source.mkdir()
    for number in range(30):
        words = f"The owl number {number} looked up to the stars above. " * 5
        (source / f"{number}.txt").write_text(words, encoding="utf-8")
    where = ["--out", str(asked.out), "--processes", "1", "--validation-fraction", "0.2"]
    run_prepare(tyro.cli(Prepare, args=[str(source), *where]))
    assert main([*train, *TINY]) == 0
    settings = read_settings(tmp_path / "runs" / "gpt2" / "settings.toml")
    told = capsys.readouterr().out
    assert "accumulation_steps" not in told, "the recipe is no change of settings"
    assert settings["training"]["learning_rate"] == GPT2_TRAINING.learning_rate
    assert settings["training"]["beta2"] == 0.95
    assert "preset" not in settings, "its numbers are there, one by one"
    to_huggingface = next(words for words in exports if "--to" not in words)
    assert main(to_huggingface) == 0
    assert "llama.cpp's converter makes a GGUF file of it" in capsys.readouterr().out
    config = load_config(tmp_path / to_huggingface[2])
    assert config == GPTConfig(50_257, 8, 1, 2, 16)
    for words in exports:
        assert tyro.cli(Export, args=words[1:]).to in (*words, "huggingface")


def test_several_processes_get_the_words_of_one() -> None:
    (torchrun,) = [words for words in TYPED if words[0] == "torchrun"]
    assert torchrun[1:5] == ["--nproc-per-node", "8", "-m", "mini_gpt"]
    assert torchrun[5:] == lines("train")[0]


def test_numbers_of_the_recipe_are_those_of_the_package() -> None:
    said = " ".join(PAGE.split())
    rows, parts = GPT2_TRAINING.batch_size, GPT2_TRAINING.accumulation_steps
    assert f"{rows * 1024:,} tokens in each step; {GPT2_TRAINING.steps:,} steps of AdamW" in said
    assert f"over {GPT2_TRAINING.warmup_steps} steps to 6 · 10⁻⁴" in said
    assert f"takes {rows} sequences in parts of {rows // parts} " in said
    assert GPT2_TRAINING.learning_rate == 6e-4
    assert GPT2_TRAINING.min_lr == pytest.approx(6e-5)
