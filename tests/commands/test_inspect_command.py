"""`mini-gpt inspect`: the lens, the heads, and the picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mini_gpt.characters import CharTokenizer
from mini_gpt.commands.cli import main
from mini_gpt.support.model_folder import from_pretrained, save_pretrained
from tiny import tiny_gpt


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = CharTokenizer("abcdefg ")
    folder = tmp_path / "model"
    save_pretrained(tiny_gpt(vocab_size=tokenizer.vocab_size), tokenizer, folder)
    return folder


def test_the_last_layers_opinion_is_the_models(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "maps.png"
    assert main(["inspect", str(model), "bad fade", "--top", "2", "--out", str(picture)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "after 'e', the last of 8 tokens:"
    assert [line.split()[0] for line in said[1:4]] == ["before", "layer", "layer"]
    gpt, tokenizer = from_pretrained(model)
    shares = gpt(torch.tensor([tokenizer.encode("bad fade")]))[0, -1].softmax(-1)
    best = shares.topk(2)
    for share, id in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        assert f"{tokenizer.decode([id])!r} {share:.2f}" in said[3]
    assert said[4] == "weight of each head one token back:"
    numbers = [float(word) for line in said[5:7] for word in line.split()[2:]]
    assert len(numbers) == 6
    assert all(0 < number < 1 for number in numbers)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert said[-1] == f"the attention maps are in {picture}"


def test_one_token_has_no_token_before_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(model), "a", "--out", str(tmp_path / "maps.png")]) == 0
    assert "one token back" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bad", "--top", "0"], "--top 0 must be from 1 to 8"),
        (["bad face bad face"], "17 tokens do not fit the context of 8"),
        ([""], "the prompt is empty"),
        (["xyz"], "'x'"),
    ],
)
def test_bad_input_is_one_line(
    model: Path, words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maps.png"
    assert main(["inspect", str(model), *words, "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert said in message
    assert not out.exists()
