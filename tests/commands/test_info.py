"""`mini-gpt info`: exact numbers of a large model, with no memory for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.cli import main
from mini_gpt.config import PRESETS, GPTConfig
from mini_gpt.diagnostics import count_parameters, training_bytes
from mini_gpt.gpt2 import to_huggingface
from mini_gpt.model import GPT
from mini_gpt.support.model_folder import from_pretrained, save_pretrained
from tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = CharTokenizer("abcdefg")
TINY = tiny_config(vocab_size=11)
BOUNDED = """
import sys
from pathlib import Path
from mini_gpt.commands.cli import main
status = main(["info", "gpt2-xl"])
lines = Path("/proc/self/status").read_text().splitlines()
print("peak", next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024)
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_the_largest_gpt2_takes_no_memory() -> None:
    """Its weights alone would be 6.2 GB; a torch that does nothing is below 1 GB."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.rsplit("peak", 1)[1]) < 1e9
    for number in (
        "1,557,611,200",  # parameters
        "491,827,200",  # of which attention
        "10,273,545,600",  # FLOPs per token, forward and backward
        "24,921,779,200",  # bytes to train
        "6,859,590,400",  # bytes to decode
    ):
        assert number in done.stdout


@pytest.mark.slow
def test_as_a_module() -> None:
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mini_gpt", "info", "gpt2"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "124,439,808" in done.stdout


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", name]) == 0
    said = capsys.readouterr().out
    assert f"{name}: {GPTConfig.preset(name).layers} layers" in said
    assert f"{training_bytes(GPTConfig.preset(name)):,}" in said


@pytest.mark.parametrize("kind", ["ours", "run", "huggingface"])
def test_a_folder_without_its_weights(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write = to_huggingface if kind == "huggingface" else save_pretrained
    folder = tmp_path / "checkpoint" if kind == "run" else tmp_path / "model"
    write(GPT(TINY), TOKENIZER, folder)
    (folder / "model.safetensors").unlink()
    assert main(["info", str(tmp_path if kind == "run" else folder)]) == 0
    total = 11 * 12 + 8 * 12 + 2 * (12 * 12**2 + 13 * 12) + 2 * 12
    assert f"{total:,}\n" in capsys.readouterr().out


def test_bad_input_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "gpt3"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for name in PRESETS:
        assert name in message
    assert main(["info", "gpt2", "--batch-size", "0"]) == 2
    assert "batch_size 0 must be at least 1" in capsys.readouterr().err


def test_the_model_that_comes_with_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """Its name is that of no preset, whose shape would be another."""
    assert main(["info", "shakespeare"]) == 0
    model, _ = from_pretrained("shakespeare")
    assert f"{count_parameters(model):,}" in capsys.readouterr().out
    assert "shakespeare" not in PRESETS
