"""Tokens, tokenizers and ids that do not fit a model: one clear error before the first step."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.cli import main
from mini_gpt.data import BatchLoader, evaluation_batches
from mini_gpt.generation import generate_ids
from mini_gpt.loss import evaluate
from mini_gpt.model import GPT
from mini_gpt.run import train
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.model_folder import save_pretrained
from mini_gpt.tokenizer import BPETokenizer
from mini_gpt.trainer import TrainConfig
from tiny import tiny_config, tiny_gpt

TOKENIZER = CharTokenizer("abcdefghijklmnopq")
TOKENS = np.arange(60, dtype=np.uint8) % 17
CONFIG = TrainConfig(steps=2, batch_size=2, device="cpu")


@pytest.fixture(autouse=True)
def as_users_run_it() -> Iterator[None]:
    """Without the tests' own checks of annotations, which would refuse first."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.mark.parametrize(
    ("tokens", "kind", "words"),
    [
        (np.where(np.arange(60) == 41, 17, TOKENS), ValueError, "id 17 at position 41 of {}"),
        (np.where(np.arange(60) == 5, -1, TOKENS.astype(int)), ValueError, "id -1 at position 5"),
        (TOKENS.tolist(), TypeError, "{} must be a NumPy array, not list; np.asarray"),
        (torch.tensor(TOKENS), TypeError, "{} must be a NumPy array, not torch.Tensor"),
        (TOKENS.astype(float), TypeError, "{} must have one axis and hold whole numbers"),
        (TOKENS.reshape(6, 10), TypeError, "{} must have one axis"),
    ],
)
@pytest.mark.parametrize("which", ["training_tokens", "validation_tokens"])
def test_wrong_tokens_failed_in_the_middle(
    tokens: Any, kind: type[Exception], words: str, which: str, tmp_path: Path
) -> None:
    splits = {"training_tokens": TOKENS, "validation_tokens": TOKENS, which: tokens}
    with pytest.raises(kind, match=words.format(which)):
        train(tiny_gpt(), **splits, tokenizer=TOKENIZER, config=CONFIG, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tokens", "kind", "words"),
    [
        (np.where(np.arange(60) == 41, 17, TOKENS), ValueError, "id 17 at position 41 of tokens"),
        (TOKENS.tolist(), TypeError, "tokens must be a NumPy array, not list; np.asarray"),
        (torch.tensor(TOKENS), TypeError, "tokens must be a NumPy array, not torch.Tensor"),
        (TOKENS.reshape(6, 10), TypeError, "tokens must have one axis"),
    ],
)
def test_wrong_tokens_to_measure_on_or_to_load_failed_inside(
    tokens: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        evaluate(tiny_gpt(), tokens, context_length=8)
    if kind is TypeError:  # what does not know the model cannot know its ids
        with pytest.raises(kind, match=words):
            next(evaluation_batches(tokens, batch_size=2, context_length=8))
        with pytest.raises(kind, match=words):
            BatchLoader(tokens, batch_size=2, context_length=8)


@pytest.mark.parametrize("name", ["batch_size", "context_length"])
@pytest.mark.parametrize("size", [2.5, 2.0, True, "2"])
def test_sizes_of_batches_that_are_no_counts(name: str, size: Any) -> None:
    sizes = {"batch_size": 2, "context_length": 8, name: size}
    with pytest.raises(TypeError, match=f"{name} {size!r} must be a whole number"):
        BatchLoader(TOKENS, **sizes)
    with pytest.raises(TypeError, match=f"{name} {size!r} must be a whole number"):
        evaluate(tiny_gpt(), TOKENS, **sizes)


@pytest.mark.parametrize("wrong", [1.0, True, "a", None, [1], torch.tensor(1.0)])
def test_a_prompt_of_other_things_than_ids_failed_in_the_kernel(wrong: Any) -> None:
    with pytest.raises(TypeError, match="whole numbers, but at position 1 of the prompt stands"):
        generate_ids(tiny_gpt(), [2, wrong])
    for ids in (np.array([2, 3]), torch.tensor([2, 3])):
        next(generate_ids(tiny_gpt(), ids))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [262.5, 262.0, True])
def test_a_fraction_of_a_token_was_rounded_up(size: Any) -> None:
    with pytest.raises(TypeError, match=f"vocab_size {size} must be a whole number"):
        BPETokenizer.train("to be or not to be " * 9, size)
    learned = BPETokenizer.train("to be or not to be " * 9, np.int64(262))  # type: ignore[arg-type]
    assert learned.vocab_size == 262


def test_a_tokenizer_larger_than_the_model_failed_at_the_first_save(tmp_path: Path) -> None:
    tokenizer = CharTokenizer("abcdefghijklmnopqr")
    with pytest.raises(ValueError, match=r"has 18 tokens, the model 17; .*vocab_size=18"):
        train(tiny_gpt(), TOKENS, TOKENS, tokenizer, CONFIG, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["checkpoint_every", "keep_checkpoints", "validation_bytes"])
def test_fractions_as_counts_were_endless_or_failed_at_the_end(name: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {name: 2.0}
    with pytest.raises(TypeError, match=rf"{name} 2.0 must be a whole number"):
        train(tiny_gpt(), TOKENS, TOKENS, TOKENIZER, CONFIG, out=tmp_path / "run", **arguments)
    with pytest.raises(ValueError, match=rf"{name} 0 must be at least 1"):
        train(tiny_gpt(), TOKENS, TOKENS, TOKENIZER, CONFIG, **{name: 0})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_one_row_of_ids_had_no_remedy() -> None:
    model = GPT(tiny_config())
    with pytest.raises(ValueError, match=r"ids of shape \(3,\) .* ids\[None\] is a batch of one"):
        model(torch.tensor([1, 2, 3]))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.slow
def test_a_console_that_cannot_show_a_character_ended_the_command(
    encoding: str, tmp_path: Path
) -> None:
    tokenizer = CharTokenizer("猫🌹é\n")
    save_pretrained(tiny_gpt(vocab_size=4), tokenizer, tmp_path / "model")
    options = ["--prompt", "é猫", "--max-new-tokens", "30", "--past-context", "slide"]
    result = subprocess.run(
        [sys.executable, "-m", "mini_gpt", "sample", str(tmp_path / "model"), *options],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode(encoding)
    assert text.startswith({"ascii": "??", "cp1252": "é?", "utf-8": "é猫"}[encoding])
    assert len(text.replace(os.linesep, "\n")) == 33


@pytest.mark.parametrize(
    ("words", "seed"),
    [(["sample", "--seed"], 2**64), (["sample", "--seed"], 2**63), (["train", "--seed"], 2**64)],
)
def test_a_seed_that_no_generator_takes_was_a_traceback(
    words: list[str], seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*words, str(seed)])
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"seed {seed} must be at least " in said
    assert f"less than {2**63}" in said
    assert SampleConfig(seed=2**63 - 1).seed == TrainConfig(seed=2**63 - 1).seed
