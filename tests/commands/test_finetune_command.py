"""`mini-gpt finetune`: what it leaves behind, and that bad input ends with one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_sample_command import complaint

from mini_gpt import CharTokenizer, from_pretrained, save_pretrained
from mini_gpt.commands.cli import main
from mini_gpt.commands.finetune import read_exchanges, split
from mini_gpt.support.adapter_file import base_of, load_adapter
from mini_gpt.support.instructions import SPECIAL_TOKENS, Exchange
from mini_gpt.tokenizer import BPETokenizer
from tiny import tiny_gpt

QUICK = ["--steps", "2", "--batch-size", "3", "--rank", "2", "--device", "cpu"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of a small model whose tokens are bytes."""
    tokenizer = BPETokenizer([bytes([byte]) for byte in range(256)])
    model = tiny_gpt(vocab_size=tokenizer.vocab_size, context_length=60, position="rotary")
    save_pretrained(model, tokenizer, tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file with eleven commands."""
    lines = [json.dumps({"command": f"say {n}", "answer": str(n)}) for n in range(11)]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([*lines[:5], "", *lines[5:]]) + "\n", encoding="utf-8")
    return path


class TestFinetune:
    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["lora", "full"])
    def test_leaves_a_model_and_an_adapter_that_fit_each_other(
        self,
        base: Path,
        data: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        method: str,
    ) -> None:
        out = tmp_path / "out"
        words = ["finetune", str(base), "--data", str(data), "--out", str(out), *QUICK]
        assert main([*words, "--method", method]) == 0
        said = capsys.readouterr().out
        assert "10 commands to learn from, 1 others to test on" in said
        assert "right answers to unseen commands, from the file: 0%" in said
        assert f"talk to the model with: mini-gpt chat {out}" in said
        model, tokenizer = from_pretrained(out / "checkpoint")
        assert isinstance(tokenizer, BPETokenizer)
        assert set(tokenizer.special_tokens) == set(SPECIAL_TOKENS)
        before, _ = from_pretrained(base)
        ids = torch.tensor([[3, 1, 16, 4, 0]])
        assert not torch.allclose(model(ids)[..., :257], before(ids), atol=1e-6)
        assert (out / "adapter.safetensors").exists() == (method == "lora")
        if method == "lora":
            assert base_of(out / "adapter.safetensors") == str(base)
            adapted = load_adapter(before, out / "adapter.safetensors").eval()
            torch.testing.assert_close(model(ids), adapted(ids), atol=1e-5, rtol=1e-4)

    @pytest.mark.slow
    def test_the_same_seed_gives_the_same_model(
        self, base: Path, data: Path, tmp_path: Path
    ) -> None:
        tables = []
        for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
            words = ["--data", str(data), "--out", str(tmp_path / name), "--seed", seed]
            assert main(["finetune", str(base), *words, *QUICK]) == 0
            model, _ = from_pretrained(tmp_path / name / "checkpoint")
            tables.append(model.state_dict()["decoder.blocks.1.attention.output.weight"])
        assert torch.equal(tables[0], tables[1])
        assert not torch.equal(tables[0], tables[2])

    def test_bad_input_ends_with_one_line(
        self, base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["finetune", str(base), "--data", str(data), *QUICK]
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "x").touch()
        taken = complaint([*words, "--out", str(tmp_path / "full")], capsys)
        assert "is there already; choose another --out" in taken
        out = ["--out", str(tmp_path / "out")]
        assert "rank 99 must be from 1 to 12" in complaint([*words, *out, "--rank", "99"], capsys)
        letters = CharTokenizer.train("say 0123456789")
        small = tiny_gpt(vocab_size=letters.vocab_size, context_length=60)
        save_pretrained(small, letters, tmp_path / "letters")
        said = complaint(["finetune", str(tmp_path / "letters"), *words[2:], *out], capsys)
        assert "are characters, which have no special tokens" in said
        lines = [json.dumps({"command": f"say {'x' * n}", "answer": "x"}) for n in (70, 1)]
        data.write_text("\n".join(lines), encoding="utf-8")
        assert "the model takes 60; shorten them" in complaint([*words, *out], capsys)
        assert not (tmp_path / "out").exists()


class TestExchangesOfAFile:
    @pytest.mark.parametrize(
        "line", ['{"command": "a"}', '["a", "b"]', '{"command": " ", "answer": "b"}', "17"]
    )
    def test_a_line_of_another_kind_is_named(self, tmp_path: Path, line: str) -> None:
        path = tmp_path / "data.jsonl"
        path.write_text(f'{{"command": "a", "answer": "b"}}\n{line}\n', encoding="utf-8")
        with pytest.raises(ValueError, match=r"line 2 of .* must be an object with the texts"):
            read_exchanges(path)

    def test_no_command_is_in_both_parts(self) -> None:
        made = [Exchange("k", f"say {number % 25}", "x") for number in range(60)]
        training, test = split(made)
        assert len(training) + len(test) == 60
        assert not {one.command for one in training} & {one.command for one in test}
        assert {one.command for one in test} == {"say 9", "say 19"}
        with pytest.raises(ValueError, match="at least two different commands"):
            split(made[:1] * 3)
